using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Dmb.Connections;

/// <summary>
/// Takes the connections for the server, in place of its own transport: what is read and written goes between the socket and the server
/// without a pipe and its tasks, and a WebSocket takes its socket along and leaves the server behind (<see cref="SocketConnection.Take"/>).
/// </summary>
internal sealed partial class SocketListenerFactory(ILogger<SocketListenerFactory> logger, TimeProvider time) : IConnectionListenerFactory
{
    /// <exception cref="AddressInUseException">Somebody else listens there.</exception>
    /// <exception cref="SocketException">The address is not this machine's, or the port not this user's.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        Socket? socket = null;
        try
        {
            socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
            socket.Listen();
            return new ValueTask<IConnectionListener>(new SocketListener(socket, logger, time));
        }
        catch (SocketException e)
        {
            socket?.Dispose();
            throw e.SocketErrorCode == SocketError.AddressAlreadyInUse ? new AddressInUseException(e.Message, e) : e;
        }
    }

    private sealed partial class SocketListener(Socket socket, ILogger logger, TimeProvider time) : IConnectionListener
    {
        /// <summary>How long to wait when the process has as many sockets as it may have.</summary>
        private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

        public EndPoint EndPoint { get; } = socket.LocalEndPoint!;

        /// <summary>The next connection; null once nobody listens any more.</summary>
        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            while (true)
            {
                try
                {
                    return new SocketConnection(await socket.AcceptAsync(cancellationToken));
                }
                catch (Exception e) when (e is ObjectDisposedException or SocketException { SocketErrorCode: SocketError.OperationAborted })
                {
                    return null;
                }
                catch (SocketException e) when (e.SocketErrorCode is SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable)
                {
                    LogNoSocket(logger, e);
                    await Task.Delay(Pause, time, cancellationToken);
                }
                catch (SocketException)
                {
                    // Gone before it was taken; there are others.
                }
            }
        }

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            socket.Dispose();
            return ValueTask.CompletedTask;
        }

        public ValueTask DisposeAsync() => UnbindAsync();

        [LoggerMessage(5001, LogLevel.Warning, "No socket for the next connection: raise the limit of open files (ulimit -n, LimitNOFILE=).")]
        private static partial void LogNoSocket(ILogger logger, Exception exception);
    }
}
