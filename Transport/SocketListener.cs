using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Dmb.Transport;

/// <summary>
/// Replaces Kestrel's socket transport: bytes pass between socket and server without a pipe and its tasks, and a
/// WebSocket can detach its socket from the server (<see cref="SocketConnection.DetachSocket"/>).
/// </summary>
internal sealed class SocketListenerFactory(
    ConnectionGate gate,
    TransportOptions options,
    TimeProvider time,
    ILogger<SocketListener> logger
) : IConnectionListenerFactory
{
    /// <exception cref="AddressInUseException">The address is in use.</exception>
    /// <exception cref="SocketException">The address is not local, or the process may not bind the port.</exception>
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

/// <summary>Accepts the connections of one endpoint and closes those that send nothing in time.</summary>
internal sealed partial class SocketListener : IConnectionListener
{
    /// <summary>After the endpoint is unbound, how long requests that are in transit are still read.</summary>
    public static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(500);

    /// <summary>Delay before the next accept when the process has no free descriptor.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(50);

    private readonly Socket _socket;
    private readonly ConnectionGate _gate;
    private readonly TimeSpan _firstByteMax;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly ITimer _timer;
    private readonly TaskCompletionSource _allReleased = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>
    /// Connections that have received nothing yet, the oldest first; also the lock of the fields below.
    /// </summary>
    private readonly LinkedList<SocketConnection> _silent = [];
    private bool _isTimed;
    private int _open;
    private bool _isUnbound;

    /// <param name="socket">The listening socket.</param>
    /// <param name="gate">Admits or refuses accepted connections.</param>
    /// <param name="firstByteMax">Limit for the first byte; Kestrel's limit for headers starts only there.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">Logs that no descriptor was free.</param>
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

    /// <summary>Accepts the next connection that the gate admits; null once the listener is closed.</summary>
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

                // The client sees a closed connection and can reconnect; the descriptor is free at once.
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
                // The exception is not logged: formatting its stack trace opens files, which fails too.
                LogNoSocket(_logger);
                await Task.Delay(Pause, _time, cancellationToken);
            }
            catch (SocketException)
            {
                // The client closed the connection before it was accepted.
            }
        }
    }

    /// <summary>
    /// Stops accepting. Kestrel asks the open connections to end when this completes, so it waits for requests that are
    /// in transit: libcurl repeats a request that gets no answer.
    /// </summary>
    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        _socket.Dispose();
        lock (_silent)
        {
            _isUnbound = true;
            CompleteIfEmpty();
        }

        await Task.WhenAny(_allReleased.Task, Task.Delay(Linger, TimeProvider.System, cancellationToken));
        EndSilent();
    }

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        await _timer.DisposeAsync();
    }

    /// <summary>Removes a connection from the silent ones at its first byte.</summary>
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

    /// <summary>Removes a connection that has closed, or whose socket was detached.</summary>
    public void Release(LinkedListNode<SocketConnection> connection)
    {
        lock (_silent)
        {
            RecordActivity(connection);
            _open--;
            CompleteIfEmpty();
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
            // The client disconnected before the addresses were read.
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
    /// Ends the connections that received nothing in time; all silent ones once the endpoint is unbound. Kestrel would
    /// keep them for its keep-alive timeout.
    /// </summary>
    private void EndSilent()
    {
        while (RemoveExpired() is { } connection)
        {
            connection.End();
        }
    }

    /// <summary>
    /// Removes and returns a connection that is past the limit; null if none is, with the timer set for the next.
    /// </summary>
    private SocketConnection? RemoveExpired()
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

    private void CompleteIfEmpty()
    {
        if (_isUnbound && _open == 0)
        {
            _allReleased.TrySetResult();
        }
    }

    [LoggerMessage(
        7001,
        LogLevel.Warning,
        "No file descriptor for the next connection: raise the limit of open files (ulimit -n, LimitNOFILE=)."
    )]
    private static partial void LogNoSocket(ILogger logger);
}
