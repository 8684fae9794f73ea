using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Transport;

/// <summary>One connection, as the server sees it.</summary>
internal sealed class SocketConnection : ConnectionContext, IDuplexPipe
{
    /// <summary>
    /// Received bytes that are unread are read before the socket is closed, up to so many times: a reset would overtake
    /// the last answer.
    /// </summary>
    private const int LastReadsMax = 16;
    private const int LastReadBytes = 65_536;

    private static long _lastId = Random.Shared.NextInt64();

    private readonly CancellationTokenSource _closed = new();
    private readonly SocketListener _listener;
    private readonly SocketReceiver _input;
    private readonly SocketSender _output;
    private IDictionary<object, object?>? _items;
    private bool _isTaken;

    /// <summary>Why nothing more comes or goes, once that is so.</summary>
    private Exception? _lost;

    /// <param name="socket">Where it goes.</param>
    /// <param name="listener">Where it came.</param>
    /// <param name="lease">What its address holds for it until it closes; null without a limit.</param>
    /// <param name="since">When, as the clock's timestamp.</param>
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

    /// <summary>What is under it; it doesn't block.</summary>
    public Socket Socket { get; }

    /// <summary>What its address holds for it; with the socket it becomes whose that is.</summary>
    public IDisposable? Lease { get; }

    /// <summary>When it came, as the clock's timestamp.</summary>
    public long Since { get; }

    /// <summary>Its node in the list of connections that have sent nothing.</summary>
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

    /// <summary>What an error of the socket is to the server; the first one is the cause of all that follow.</summary>
    public Exception Lose(SocketError error)
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
        return Interlocked.CompareExchange(ref _lost, why, null) ?? why;
    }

    /// <summary>Something has come for the first time.</summary>
    public void RecordActivity() => _listener.RecordActivity(SilentNode);

    /// <summary>Reads nothing more, as if the client had ended its side.</summary>
    public void End() => _input.End();

    /// <summary>Notices the client's end from now on even while the server reads nothing.</summary>
    public void Watch() => _input.Watch();

    /// <summary>
    /// The socket becomes the caller's, who closes it; the server, which goes on to end the request, does nothing to it
    /// any more. Its answer so far has left, since a flush completes when all is sent.
    /// </summary>
    /// <returns>What had come already behind the request.</returns>
    public byte[] DetachSocket()
    {
        _isTaken = true;
        _output.Complete();
        return _input.Take();
    }

    /// <summary>The client is gone: who waits for that is told, on a thread of the pool.</summary>
    public void Closed() =>
        ThreadPool.UnsafeQueueUserWorkItem(static connection => connection._closed.Cancel(), this, preferLocal: false);

    public override void Abort(ConnectionAbortedException abortReason)
    {
        if (!_isTaken)
        {
            // Without a goodbye: the client gets a reset.
            _lost ??= abortReason;
            Socket.Close(0);
        }
    }

    public override ValueTask DisposeAsync()
    {
        _input.Dispose();
        _output.Complete();
        if (!_isTaken)
        {
            Close(Socket);
            Lease?.Dispose();
        }

        _listener.Left(SilentNode);
        _closed.Cancel();
        return base.DisposeAsync();
    }

    /// <summary>Says goodbye and closes.</summary>
    public static void Close(Socket socket)
    {
        try
        {
            ReadTheRest(socket);
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Gone already.
        }

        socket.Dispose();
    }

    private static void ReadTheRest(Socket socket)
    {
        if (socket.Available == 0)
        {
            return;
        }

        var rest = new byte[LastReadBytes];
        for (
            var i = 0;
            i < LastReadsMax
                && socket.Receive(rest, SocketFlags.None, out var error) > 0
                && error == SocketError.Success;
            i++
        ) { }
    }
}
