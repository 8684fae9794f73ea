using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>The result of <see cref="IClientTransport.OpenAsync"/>.</summary>
/// <param name="IsOpen">Whether the session is open; else it is closing.</param>
/// <param name="MustFlush">Whether a frame was queued that the caller has to flush.</param>
/// <param name="Recovered">
/// The join of a recovered client's rooms, whose missed messages are not sent yet; null if nothing was recovered.
/// </param>
internal readonly record struct ClientOpening(bool IsOpen, bool MustFlush = false, JoinOperation? Recovered = null);

/// <summary>The receiving side of one client: the connection, and the protocol that its frames arrive in.</summary>
internal interface IClientTransport
{
    /// <summary>Whether the client has to send a frame before it is welcomed.</summary>
    bool IsOpenedByClient => false;

    /// <summary>Completes when the client can be welcomed. Called once, before <see cref="ReadAsync"/>.</summary>
    ValueTask<ClientOpening> OpenAsync() => new(new ClientOpening(IsOpen: true));

    /// <summary>
    /// Reads the client's frames and passes each to <see cref="SocketClient.HandleAsync"/>, one at a time. Completes
    /// when the client has closed or disconnected, after a call of <see cref="Session.Finish"/> or
    /// <see cref="Session.Close"/>.
    /// </summary>
    Task ReadAsync(SocketClient client);

    /// <summary>Closes the connection. Called once, after the session's last frame was written or lost.</summary>
    void Close();
}
