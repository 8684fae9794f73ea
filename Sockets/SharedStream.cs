using System.Net.Sockets;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Sockets;

/// <summary>
/// Stands in for the server's upgrade, so that the framework's WebSocket does the handshake and reads over a stream of
/// ours, and all that leaves goes through the session's one writer. Over HTTP/1.1 it is an upgrade, over HTTP/2 an extended
/// CONNECT (RFC 8441).
/// </summary>
internal sealed class SharedUpgrade : IHttpUpgradeFeature, IHttpExtendedConnectFeature
{
    private readonly IHttpUpgradeFeature? _upgrade;
    private readonly IHttpExtendedConnectFeature? _connect;
    private readonly Socket? _socket;

    private SharedUpgrade(IFeatureCollection features)
    {
        (_upgrade, _connect) = (features.Get<IHttpUpgradeFeature>(), features.Get<IHttpExtendedConnectFeature>());

        // With TLS the socket's bytes are not the connection's.
        _socket = features.Get<ITlsHandshakeFeature>() is null ? features.Get<IConnectionSocketFeature>()?.Socket : null;
    }

    /// <summary>The upgraded connection, once the handshake is done.</summary>
    public SharedStream? Stream { get; private set; }

    /// <summary>
    /// The socket that carries nothing else from now on, where there is one: a plain connection of HTTP/1.1. The answer to the
    /// handshake has left, since the server keeps nothing back (<see cref="Services.ListenAs"/>).
    /// </summary>
    public Socket? Socket { get; private set; }

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

    public async Task<Stream> UpgradeAsync()
    {
        Stream = new SharedStream(await _upgrade!.UpgradeAsync());
        if (_socket is not null)
        {
            _socket.Blocking = false;
            Socket = _socket;
        }

        return Stream;
    }

    public async ValueTask<Stream> AcceptAsync() => Stream = new SharedStream(await _connect!.AcceptAsync());
}

/// <summary>An upgraded connection: reads pass through, writes (pongs, close frames) take their turn among the session's frames.</summary>
internal sealed class SharedStream(Stream inner) : Stream
{
    private const byte OpcodeMask = 0x0F;
    private const byte CloseOpcode = 0x8;

    /// <summary>The connection itself, for the session to write to.</summary>
    public Stream Inner => inner;

    /// <summary>Whose connection it is. Set before the first read or write.</summary>
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

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var read = await inner.ReadAsync(buffer, cancellationToken);
        Session!.Heard();
        return read;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if ((buffer.Span[0] & OpcodeMask) == CloseOpcode)
        {
            // The last frame there is (RFC 6455 §5.5.1).
            Session!.Finish(buffer.ToArray());
        }
        else
        {
            Session!.Send(buffer.ToArray());
        }

        return ValueTask.CompletedTask;
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
}
