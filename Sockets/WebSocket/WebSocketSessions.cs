using System.Net.WebSockets;

namespace Dmb.Sockets;

/// <summary>Runs the sessions of /ws.</summary>
internal static class WebSocketSessions
{
    /// <summary>Runs a session over a detached socket, and closes the socket.</summary>
    /// <param name="sessions">Runs the session.</param>
    /// <param name="stream">The detached socket.</param>
    /// <param name="deflate">The negotiated compression; null for none.</param>
    /// <param name="admitted">The admitted session.</param>
    public static Task ServeDetachedAsync(
        this SocketSessions sessions,
        SharedStream stream,
        WebSocketDeflateOptions? deflate,
        in AdmittedSession admitted
    )
    {
        var webSocket = WebSocket.CreateFromStream(
            stream,
            new WebSocketCreationOptions
            {
                IsServer = true,
                KeepAliveInterval = Timeout.InfiniteTimeSpan,
                DangerousDeflateOptions = deflate,
            }
        );
        return sessions.ServeAsync(stream, webSocket, new SocketFrameOutput(stream.Socket!), admitted);
    }

    /// <summary>Runs a session over a connection that Kestrel keeps.</summary>
    /// <param name="sessions">Runs the session.</param>
    /// <param name="stream">The connection.</param>
    /// <param name="webSocket">The framework's WebSocket over it; disposed at the end.</param>
    /// <param name="abort">Cuts the connection.</param>
    /// <param name="admitted">The admitted session.</param>
    public static Task ServeAsync(
        this SocketSessions sessions,
        SharedStream stream,
        WebSocket webSocket,
        Action abort,
        in AdmittedSession admitted
    ) => sessions.ServeAsync(stream, webSocket, new StreamFrameOutput(stream.Inner!, abort), admitted);

    private static Task ServeAsync(
        this SocketSessions sessions,
        SharedStream stream,
        WebSocket webSocket,
        IFrameOutput output,
        in AdmittedSession admitted
    )
    {
        var session = sessions.Open(admitted, output);
        stream.Session = session;
        return sessions.RunAsync(
            session,
            new WebSocketTransport(webSocket, stream, session, sessions.Broker),
            admitted
        );
    }
}
