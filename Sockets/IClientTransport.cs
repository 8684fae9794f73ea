using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>How a session was opened.</summary>
/// <param name="IsOpen">Whether it goes on; else it is closing.</param>
/// <param name="MustFlush">Whether a frame was queued that the caller has to flush.</param>
/// <param name="Recovered">The rooms that a client came back to, which has not been sent yet what it missed.</param>
internal readonly record struct ClientOpening(bool IsOpen, bool MustFlush = false, JoinOperation? Recovered = null);

/// <summary>The receiving side of one client: the connection, and the protocol that its frames arrive in.</summary>
internal interface IClientTransport
{
    /// <summary>Whether the client is welcomed only when it has said something first.</summary>
    bool IsOpenedByClient => false;

    /// <summary>
    /// Completes when the client may be welcomed. A session that is not open then is closed. Called first, once.
    /// </summary>
    ValueTask<ClientOpening> OpenAsync() => new(new ClientOpening(IsOpen: true));

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
