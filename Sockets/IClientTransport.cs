namespace Dmb.Sockets;

/// <summary>The receiving side of one client: the connection, and the protocol that its frames arrive in.</summary>
internal interface IClientTransport
{
    /// <summary>
    /// Reads the client's frames and hands each to <see cref="SocketClient.HandleAsync"/>, one after the other.
    /// Completes
    /// when the client is gone or has closed, having called <see cref="Session.Finish"/> or <see
    /// cref="Session.Close"/>.
    /// </summary>
    Task ReadAsync(SocketClient client);

    /// <summary>Closes the connection. Called once, after the session's last frame is out or lost.</summary>
    void Close();
}
