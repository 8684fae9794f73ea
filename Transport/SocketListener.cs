using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Dmb.Transport;

/// <summary>
/// Takes the connections for the server, in place of its own transport: what is read and written goes between the
/// socket and the server without a pipe and its tasks, and a WebSocket takes its socket along and leaves the server
/// behind (<see cref="SocketConnection.DetachSocket"/>).
/// </summary>
internal sealed class SocketListenerFactory(
    ConnectionGate gate,
    TransportOptions options,
    TimeProvider time,
    ILogger<SocketListener> logger
) : IConnectionListenerFactory
{
    /// <exception cref="AddressInUseException">Another socket listens there.</exception>
    /// <exception cref="SocketException">The address is not this machine's, or the port not this user's.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        Socket? socket = null;
        try
        {
            socket = SocketTransportOptions.CreateDefaultBoundListenSocket(endpoint);
            socket.Listen();
            return new ValueTask<IConnectionListener>(
                new SocketListener(socket, gate, options.HeadersTimeout, time, logger)
            );
        }
        catch (SocketException e)
        {
            socket?.Dispose();
            throw e.SocketErrorCode == SocketError.AddressAlreadyInUse ? new AddressInUseException(e.Message, e) : e;
        }
    }
}

/// <summary>An address that is listened on, and the connections that come there.</summary>
internal sealed partial class SocketListener : IConnectionListener
{
    /// <summary>How long after the last new connection a request that was on its way is still read.</summary>
    public static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(500);

    /// <summary>How long to wait when the process has as many sockets as it may have.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    private readonly Socket _socket;
    private readonly ConnectionGate _gate;
    private readonly TimeSpan _firstByteMax;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ITimer _timer;
    private readonly TaskCompletionSource _empty = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Those on which nothing has come yet, the oldest first; guards what follows.</summary>
    private readonly LinkedList<SocketConnection> _silent = [];
    private bool _isTimed;
    private int _open;
    private bool _isUnbound;

    /// <param name="socket">Listens already.</param>
    /// <param name="gate">Decides which connections are kept.</param>
    /// <param name="firstByteMax">
    /// The server counts the time that headers take from their first byte; this is the time until then.
    /// </param>
    /// <param name="time">Tells it.</param>
    /// <param name="logger">Where to say that there are too many sockets.</param>
    public SocketListener(Socket socket, ConnectionGate gate, TimeSpan firstByteMax, TimeProvider time, ILogger logger)
    {
        (_socket, _gate, _firstByteMax, _time, _logger) = (socket, gate, firstByteMax, time, logger);
        EndPoint = socket.LocalEndPoint!;
        _timer = time.CreateTimer(
            static listener => ((SocketListener)listener!).EndSilent(),
            this,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan
        );
    }

    public EndPoint EndPoint { get; }

    /// <summary>The next connection; null once the listener is closed.</summary>
    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (true)
        {
            try
            {
                var socket = await _socket.AcceptAsync(cancellationToken);
                if (_gate.TryEnter(socket, out var lease))
                {
                    return Add(socket, lease);
                }

                // The client sees a connection that ends, and can come back; the descriptor is free at once.
                socket.Close(0);
            }
            catch (Exception e)
                when (e is ObjectDisposedException or SocketException { SocketErrorCode: SocketError.OperationAborted })
            {
                return null;
            }
            catch (SocketException e)
                when (e.SocketErrorCode is SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable)
            {
                // Without the exception: its text takes files that can't be had either.
                LogNoSocket(_logger);
                await Task.Delay(Pause, _time, cancellationToken);
            }
            catch (SocketException)
            {
                // Gone before it was taken; there are others.
            }
        }
    }

    /// <summary>
    /// Takes no further connections. The server asks those there are to end when this completes, so it waits a little
    /// for requests that are on their way: one that got no answer is sent again by libcurl.
    /// </summary>
    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        _socket.Dispose();
        lock (_silent)
        {
            _isUnbound = true;
            EndIfEmpty();
        }

        await Task.WhenAny(_empty.Task, Task.Delay(Linger, TimeProvider.System, cancellationToken));
        EndSilent();
    }

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _timer.DisposeAsync();
    }

    /// <summary>Takes a connection off the list of silent ones at its first byte.</summary>
    public void RecordActivity(LinkedListNode<SocketConnection> connection)
    {
        lock (_silent)
        {
            if (connection.List is not null)
            {
                _silent.Remove(connection);
            }
        }
    }

    /// <summary>Releases a connection that has ended or left the server.</summary>
    public void Left(LinkedListNode<SocketConnection> connection)
    {
        lock (_silent)
        {
            RecordActivity(connection);
            _open--;
            EndIfEmpty();
        }
    }

    private SocketConnection Add(Socket socket, IDisposable? lease)
    {
        SocketConnection connection;
        try
        {
            connection = new SocketConnection(socket, this, lease, _time.GetTimestamp());
        }
        catch
        {
            // Gone before its addresses were asked for.
            lease?.Dispose();
            socket.Dispose();
            throw;
        }

        lock (_silent)
        {
            _open++;
            _silent.AddLast(connection.SilentNode);
            if (!_isTimed)
            {
                _isTimed = true;
                _timer.Change(_firstByteMax, Timeout.InfiniteTimeSpan);
            }
        }

        return connection;
    }

    /// <summary>
    /// Closes the connections on which nothing came in time, or nothing at all. The server would keep them as long as
    /// those that wait for their next request.
    /// </summary>
    private void EndSilent()
    {
        while (NextTooLong() is { } connection)
        {
            connection.End();
        }
    }

    /// <summary>Takes out a connection that has been silent too long, or waits for the next one to be so.</summary>
    private SocketConnection? NextTooLong()
    {
        lock (_silent)
        {
            if (_silent.First?.Value is not { } connection)
            {
                _isTimed = false;
                return null;
            }

            var left = _isUnbound ? TimeSpan.Zero : _firstByteMax - _time.GetElapsedTime(connection.Since);
            if (left > TimeSpan.Zero)
            {
                _timer.Change(left, Timeout.InfiniteTimeSpan);
                return null;
            }

            _silent.RemoveFirst();
            return connection;
        }
    }

    private void EndIfEmpty()
    {
        if (_isUnbound && _open == 0)
        {
            _empty.TrySetResult();
        }
    }

    [LoggerMessage(
        5001,
        LogLevel.Warning,
        "No socket for the next connection: raise the limit of open files (ulimit -n, LimitNOFILE=)."
    )]
    private static partial void LogNoSocket(ILogger logger);
}
