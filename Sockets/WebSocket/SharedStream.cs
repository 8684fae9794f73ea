using System.Net.Sockets;
using System.Threading.Tasks.Sources;
using Dmb.Transport;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Sockets;

/// <summary>
/// Replaces Kestrel's upgrade, so that the framework's WebSocket performs the handshake and reads from a
/// <see cref="SharedStream"/>, and its writes go through the session's queue. Supports the upgrade of HTTP/1.1 and the
/// extended CONNECT of HTTP/2 (RFC 8441).
/// </summary>
internal sealed class SharedUpgrade : IHttpUpgradeFeature, IHttpExtendedConnectFeature
{
    private readonly IHttpUpgradeFeature? _upgrade;
    private readonly IHttpExtendedConnectFeature? _connect;
    private readonly SocketConnection? _connection;

    private SharedUpgrade(IFeatureCollection features)
    {
        (_upgrade, _connect) = (features.Get<IHttpUpgradeFeature>(), features.Get<IHttpExtendedConnectFeature>());

        // With TLS the socket carries encrypted bytes and cannot be detached.
        _connection = features.Get<ITlsHandshakeFeature>() is null ? features.Get<SocketConnection>() : null;
    }

    /// <summary>The upgraded connection, once the handshake is done.</summary>
    public SharedStream? Stream { get; private set; }

    public bool IsUpgradableRequest => _upgrade?.IsUpgradableRequest ?? false;

    public bool IsExtendedConnect => _connect?.IsExtendedConnect ?? false;

    public string? Protocol => _connect?.Protocol;

    /// <summary>Replaces the request's upgrade features.</summary>
    public static void Install(IFeatureCollection features)
    {
        var upgrade = new SharedUpgrade(features);
        features.Set<IHttpUpgradeFeature>(upgrade);
        features.Set<IHttpExtendedConnectFeature>(upgrade);
    }

    /// <summary>
    /// Detaches the socket of a connection without TLS from Kestrel, with the answer unsent: it leaves in one write
    /// with the session's first frame.
    /// </summary>
    public async Task<Stream> UpgradeAsync()
    {
        if (_connection is null)
        {
            return Stream = new SharedStream(await _upgrade!.UpgradeAsync());
        }

        _connection.HoldOutput(true);
        try
        {
            await _upgrade!.UpgradeAsync();
        }
        catch
        {
            _connection.HoldOutput(false);
            throw;
        }

        var (received, held) = _connection.DetachSocket();
        return Stream = new SharedStream(_connection.Socket, received, held, _connection.Lease);
    }

    public async ValueTask<Stream> AcceptAsync() => Stream = new SharedStream(await _connect!.AcceptAsync());
}

/// <summary>
/// An upgraded connection: reads pass through; writes (pongs, close frames) are queued with the session's frames.
/// </summary>
internal sealed class SharedStream : Stream
{
    private const byte OpcodeMask = 0x0F;
    private const byte CloseOpcode = 0x8;

    /// <summary>A client's close frame without a status, its mask all zeros (RFC 6455 §5.2).</summary>
    private static ReadOnlySpan<byte> ClientClose => [0x80 | CloseOpcode, 0x80, 0, 0, 0, 0];

    /// <summary>Bytes that Kestrel had received before the socket was detached.</summary>
    private ReadOnlyMemory<byte> _early;

    /// <summary>The answer to the upgrade until <see cref="TakeAnswer"/>.</summary>
    private byte[]? _answer;

    private readonly Receiving? _receiving;
    private readonly IDisposable? _lease;
    private int _received;

    /// <summary>Whether the last read was of no bytes: the framework waits so only where a frame begins.</summary>
    private bool _isAtFrame;

    /// <summary>An upgraded connection that Kestrel keeps.</summary>
    public SharedStream(Stream inner) => Inner = inner;

    /// <summary>A detached socket, the bytes already read from it, and the answer to the upgrade.</summary>
    public SharedStream(Socket socket, byte[] early, byte[] answer, IDisposable? lease) =>
        (Socket, _early, _answer, _receiving, _lease) = (socket, early, answer, new Receiving(this, socket), lease);

    /// <summary>Kestrel's connection, to which the session writes; null for a detached socket.</summary>
    public Stream? Inner { get; }

    /// <summary>The detached socket, which the stream's owner closes; null if Kestrel keeps the connection.</summary>
    public Socket? Socket { get; }

    /// <summary>The session of the connection. While null, writes go to the connection directly.</summary>
    public Session? Session { get; set; }

    /// <summary>
    /// Whether a detached socket ended where a frame could begin. Its reader got a close frame instead of the end,
    /// since the framework's exception would cost more than the session.
    /// </summary>
    public bool HasEnded { get; private set; }

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>
    /// The answer to the upgrade, which the caller has to send before all else; null if it was taken, or sent by
    /// Kestrel.
    /// </summary>
    public byte[]? TakeAnswer() => Interlocked.Exchange(ref _answer, null);

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
            // No frame follows a close frame (RFC 6455 §5.5.1).
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
        // Writes are queued, and the session flushes by itself.
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>Closes a detached socket, gracefully unless the connection is lost.</summary>
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

    /// <summary>The end of the connection, as what the reader of so many bytes gets.</summary>
    private int EndIn(Span<byte> buffer)
    {
        if (!_isAtFrame || buffer.Length < ClientClose.Length)
        {
            _isAtFrame |= buffer.IsEmpty;
            return 0;
        }

        HasEnded = true;
        ClientClose.CopyTo(buffer);
        return ClientClose.Length;
    }

    /// <summary>A reusable receive operation. A lost connection reads as the end of the stream.</summary>
    private sealed class Receiving(SharedStream stream, Socket socket) : SocketReceive, IValueTaskSource<int>
    {
        private ManualResetValueTaskSourceCore<int> _source;

        /// <summary>Whether a receive has failed.</summary>
        public bool IsLost { get; private set; }

        public ValueTask<int> ReceiveAsync(Memory<byte> buffer)
        {
            _source.Reset();
            try
            {
                return Begin(socket, buffer)
                    ? new ValueTask<int>(this, _source.Version)
                    : new ValueTask<int>(Received());
            }
            catch (ObjectDisposedException)
            {
                return new ValueTask<int>(stream.EndIn(buffer.Span));
            }
        }

        protected override void Complete() => _source.SetResult(Received());

        /// <summary>The reader has its result already: the connection is cut, which ends its next read.</summary>
        protected override void Fail(Exception failure)
        {
            IsLost = true;
            socket.Dispose();
        }

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
            }

            var buffer = MemoryBuffer.Span;
            if (IsLost || (BytesTransferred == 0 && buffer.Length > 0))
            {
                return stream.EndIn(buffer);
            }

            stream._isAtFrame = buffer.IsEmpty;
            stream.Session?.RecordActivity();
            return stream._received = BytesTransferred;
        }
    }
}
