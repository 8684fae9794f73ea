using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Transport;

/// <summary>
/// A connection as Kestrel sees it: a non-blocking socket read by a <see cref="SocketReceiver"/> and written by a
/// <see cref="SocketSender"/>, until it closes or the socket is detached.
/// </summary>
internal sealed class SocketConnection : ConnectionContext, IDuplexPipe
{
    /// <summary>
    /// Reads of unread bytes before the socket is closed; without them the kernel sends a reset, which can overtake the
    /// last answer.
    /// </summary>
    private const int LastReadsMax = 16;
    private const int LastReadBytes = 65_536;

    private static long _lastId = Random.Shared.NextInt64();

    private readonly CancellationTokenSource _closed = new();
    private readonly SocketListener _listener;
    private readonly SocketReceiver _input;
    private readonly SocketSender _output;
    private IDictionary<object, object?>? _items;
    private bool _isDetached;

    /// <summary>The first error of the connection; null while it works.</summary>
    private Exception? _failure;

    /// <param name="socket">The accepted socket.</param>
    /// <param name="listener">The listener that accepted it.</param>
    /// <param name="lease">Its permit in the limit per address, disposed when it closes; null without a limit.</param>
    /// <param name="since">When it was accepted, as a timestamp of the <see cref="TimeProvider"/>.</param>
    public SocketConnection(Socket socket, SocketListener listener, IDisposable? lease, long since)
    {
        if (socket.LocalEndPoint is IPEndPoint)
        {
            socket.NoDelay = true;
        }

        socket.Blocking = false;
        (Socket, _listener, Lease, Since, SilentNode) = (
            socket,
            listener,
            lease,
            since,
            new LinkedListNode<SocketConnection>(this)
        );
        (LocalEndPoint, RemoteEndPoint) = (socket.LocalEndPoint, socket.RemoteEndPoint);
        (_input, _output) = (new SocketReceiver(this), new SocketSender(this));
        Transport = this;
        ConnectionClosed = _closed.Token;
        Features.Set(this);
    }

    /// <summary>The underlying socket, non-blocking.</summary>
    public Socket Socket { get; }

    /// <summary>Its permit in the limit per address, disposed by the caller of <see cref="DetachSocket"/>.</summary>
    public IDisposable? Lease { get; }

    /// <summary>When it was accepted, as a timestamp of the <see cref="TimeProvider"/>.</summary>
    public long Since { get; }

    /// <summary>Its node in the listener's list of silent connections.</summary>
    public LinkedListNode<SocketConnection> SilentNode { get; }

    public override string ConnectionId { get; set; } = Interlocked.Increment(ref _lastId).ToString("X", null);

    public override IFeatureCollection Features { get; } = new FeatureCollection();

    public override IDictionary<object, object?> Items
    {
        get => _items ??= new ConnectionItems();
        set => _items = value;
    }

    public override IDuplexPipe Transport { get; set; }

    public override CancellationToken ConnectionClosed { get; set; }

    PipeReader IDuplexPipe.Input => _input;

    PipeWriter IDuplexPipe.Output => _output;

    /// <summary>
    /// Maps a socket error to the exception that Kestrel expects, and records the first one, which later calls return.
    /// </summary>
    public Exception RecordFailure(SocketError error)
    {
        var cause = new SocketException((int)error);
        Exception why = error switch
        {
            SocketError.ConnectionReset or SocketError.Shutdown => new ConnectionResetException(cause.Message, cause),
            SocketError.OperationAborted or SocketError.Interrupted => new ConnectionAbortedException(
                cause.Message,
                cause
            ),
            _ => new IOException(cause.Message, cause),
        };
        return Interlocked.CompareExchange(ref _failure, why, null) ?? why;
    }

    /// <summary>Reports the first received byte to the listener.</summary>
    public void RecordActivity() => _listener.RecordActivity(SilentNode);

    /// <summary>Ends reading, as if the client had closed its sending side.</summary>
    public void End() => _input.End();

    /// <inheritdoc cref="SocketReceiver.Watch"/>
    public void Watch(Action? onHalfClosed = null) => _input.Watch(onHalfClosed);

    /// <summary>
    /// Whether output is held from now on, for <see cref="DetachSocket"/>, instead of sent when it is flushed. What was
    /// flushed before has been sent, since a flush completes only then.
    /// </summary>
    public void HoldOutput(bool isHeld) => _output.Hold(isHeld);

    /// <summary>
    /// Hands the socket to the caller, which sends the held output, closes the socket and disposes <see cref="Lease"/>.
    /// Kestrel no longer reads, writes or closes it.
    /// </summary>
    /// <returns>The bytes received after the request, and the output that was held.</returns>
    public (byte[] Received, byte[] Held) DetachSocket()
    {
        _isDetached = true;
        return (_input.Detach(), _output.Detach());
    }

    /// <summary>Cancels <see cref="ConnectionClosed"/> on the thread pool: the client has disconnected.</summary>
    public void ReportClosed() =>
        ThreadPool.UnsafeQueueUserWorkItem(static connection => connection._closed.Cancel(), this, preferLocal: false);

    public override void Abort(ConnectionAbortedException abortReason)
    {
        if (!_isDetached)
        {
            // Without lingering: the client gets a reset.
            _failure ??= abortReason;
            Socket.Close(0);
        }
    }

    public override ValueTask DisposeAsync()
    {
        _input.Dispose();
        _output.Complete();
        if (!_isDetached)
        {
            Close(Socket);
            Lease?.Dispose();
        }

        _listener.Release(SilentNode);
        _closed.Cancel();
        return base.DisposeAsync();
    }

    /// <summary>Reads unread bytes, shuts both directions down and closes the socket.</summary>
    public static void Close(Socket socket)
    {
        try
        {
            DrainReceived(socket);
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The connection is closed already.
        }

        socket.Dispose();
    }

    private static void DrainReceived(Socket socket)
    {
        if (socket.Available == 0)
        {
            return;
        }

        var rest = ArrayPool<byte>.Shared.Rent(LastReadBytes);
        try
        {
            for (
                var i = 0;
                i < LastReadsMax
                    && socket.Receive(rest, SocketFlags.None, out var error) > 0
                    && error == SocketError.Success;
                i++
            ) { }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(rest);
        }
    }
}
