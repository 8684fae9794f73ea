using System.Net.Sockets;
using System.Threading.Tasks.Sources;
using Dmb.Transport;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Sockets;

/// <summary>
/// Stands in for the server's upgrade, so that the framework's WebSocket does the handshake and reads over a stream of
/// ours, and all that leaves goes through the session's one writer. Over HTTP/1.1 it is an upgrade, over HTTP/2 an
/// extended
/// CONNECT (RFC 8441).
/// </summary>
internal sealed class SharedUpgrade : IHttpUpgradeFeature, IHttpExtendedConnectFeature
{
    private readonly IHttpUpgradeFeature? _upgrade;
    private readonly IHttpExtendedConnectFeature? _connect;
    private readonly SocketConnection? _connection;

    private SharedUpgrade(IFeatureCollection features)
    {
        (_upgrade, _connect) = (features.Get<IHttpUpgradeFeature>(), features.Get<IHttpExtendedConnectFeature>());

        // With TLS the socket's bytes are not the connection's.
        _connection = features.Get<ITlsHandshakeFeature>() is null ? features.Get<SocketConnection>() : null;
    }

    /// <summary>The upgraded connection, once the handshake is done.</summary>
    public SharedStream? Stream { get; private set; }

    public bool IsUpgradableRequest => _upgrade?.IsUpgradableRequest ?? false;

    public bool IsExtendedConnect => _connect?.IsExtendedConnect ?? false;

    public string? Protocol => _connect?.Protocol;

    /// <summary>Puts it in the place of what the server offers.</summary>
    public static void Install(IFeatureCollection features)
    {
        var upgrade = new SharedUpgrade(features);
        features.Set<IHttpUpgradeFeature>(upgrade);
        features.Set<IHttpExtendedConnectFeature>(upgrade);
    }

    /// <summary>A plain connection's socket leaves the server here.</summary>
    public async Task<Stream> UpgradeAsync()
    {
        var stream = await _upgrade!.UpgradeAsync();
        return Stream = _connection is null
            ? new SharedStream(stream)
            : new SharedStream(_connection.Socket, _connection.DetachSocket(), _connection.Lease);
    }

    public async ValueTask<Stream> AcceptAsync() => Stream = new SharedStream(await _connect!.AcceptAsync());
}

/// <summary>
/// An upgraded connection: reads pass through, writes (pongs, close frames) take their turn among the session's frames.
/// </summary>
internal sealed class SharedStream : Stream
{
    private const byte OpcodeMask = 0x0F;
    private const byte CloseOpcode = 0x8;

    /// <summary>What came before the socket left the server.</summary>
    private ReadOnlyMemory<byte> _early;

    private readonly Receiving? _receiving;
    private readonly IDisposable? _lease;
    private int _received;

    /// <summary>A connection that stays the server's.</summary>
    public SharedStream(Stream inner) => Inner = inner;

    /// <summary>A socket of its own, of which some bytes have been read.</summary>
    public SharedStream(Socket socket, ReadOnlyMemory<byte> early, IDisposable? lease) =>
        (Socket, _early, _receiving, _lease) = (socket, early, new Receiving(this, socket), lease);

    /// <summary>The server's connection, for the session to write to; null if it has left the server.</summary>
    public Stream? Inner { get; }

    /// <summary>The socket that has left the server; the owner of the stream closes it.</summary>
    public Socket? Socket { get; }

    /// <summary>
    /// Whose connection it is. Null until a session takes it over: then what is written goes to the connection at once.
    /// </summary>
    public Session? Session { get; set; }

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_receiving is null)
        {
            return ReadInnerAsync(buffer, cancellationToken);
        }

        if (_early.Length > 0)
        {
            var early = _early[..Math.Min(buffer.Length, _early.Length)];
            early.CopyTo(buffer);
            _early = _early[early.Length..];
            return new ValueTask<int>(early.Length);
        }

        return InlineReadBudget.IsSpent(this, ref _received)
            ? ReceiveLaterAsync(_receiving, buffer)
            : _receiving.ReceiveAsync(buffer);
    }

    private async ValueTask<int> ReadInnerAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        var read = await Inner!.ReadAsync(buffer, cancellationToken);
        Session?.RecordActivity();
        return read;
    }

    private static async ValueTask<int> ReceiveLaterAsync(Receiving receiving, Memory<byte> buffer)
    {
        await Task.Yield();
        return await receiving.ReceiveAsync(buffer);
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (Session is null)
        {
            return Inner?.WriteAsync(buffer, cancellationToken) ?? SendAsync(Socket!, buffer, cancellationToken);
        }

        if ((buffer.Span[0] & OpcodeMask) == CloseOpcode)
        {
            // The last frame there is (RFC 6455 §5.5.1).
            Session.Finish(buffer.ToArray());
        }
        else
        {
            Session.Send(buffer.ToArray());
        }

        return ValueTask.CompletedTask;
    }

    private static async ValueTask SendAsync(
        Socket socket,
        ReadOnlyMemory<byte> buffer,
        CancellationToken cancellationToken
    )
    {
        while (buffer.Length > 0)
        {
            buffer = buffer[await socket.SendAsync(buffer, SocketFlags.None, cancellationToken)..];
        }
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override void Flush()
    {
        // Written is queued already, and the session flushes by itself.
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>Closes the socket, if it has left the server: gracefully unless the connection is lost.</summary>
    public void CloseSocket()
    {
        if (_receiving is { IsLost: false })
        {
            SocketConnection.Close(Socket!);
        }
        else
        {
            Socket?.Dispose();
        }

        _lease?.Dispose();
    }

    protected override void Dispose(bool disposing)
    {
        _receiving?.Dispose();
        base.Dispose(disposing);
    }

    /// <summary>
    /// One receive, used again for the next. A connection that is lost ends like any other: that is no exception, which
    /// would cost more than the session.
    /// </summary>
    private sealed class Receiving(SharedStream stream, Socket socket)
        : SocketAsyncEventArgs(true),
            IValueTaskSource<int>
    {
        private ManualResetValueTaskSourceCore<int> _source;

        /// <summary>Whether the connection is lost.</summary>
        public bool IsLost { get; private set; }

        public ValueTask<int> ReceiveAsync(Memory<byte> buffer)
        {
            _source.Reset();
            try
            {
                SetBuffer(buffer);
                return socket.ReceiveAsync(this)
                    ? new ValueTask<int>(this, _source.Version)
                    : new ValueTask<int>(Received());
            }
            catch (ObjectDisposedException)
            {
                return new ValueTask<int>(0);
            }
        }

        protected override void OnCompleted(SocketAsyncEventArgs e) => _source.SetResult(Received());

        int IValueTaskSource<int>.GetResult(short token) => _source.GetResult(token);

        ValueTaskSourceStatus IValueTaskSource<int>.GetStatus(short token) => _source.GetStatus(token);

        void IValueTaskSource<int>.OnCompleted(
            Action<object?> continuation,
            object? state,
            short token,
            ValueTaskSourceOnCompletedFlags flags
        ) => _source.OnCompleted(continuation, state, token, flags);

        private int Received()
        {
            if (SocketError != SocketError.Success)
            {
                IsLost = true;
                return 0;
            }

            stream.Session?.RecordActivity();
            return stream._received = BytesTransferred;
        }
    }
}
