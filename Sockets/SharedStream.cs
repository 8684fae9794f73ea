using System.Net.Sockets;
using Dmb.Connections;
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
        return Stream = _connection is null ? new SharedStream(stream) : new SharedStream(_connection.Socket, _connection.Take());
    }

    public async ValueTask<Stream> AcceptAsync() => Stream = new SharedStream(await _connect!.AcceptAsync());
}

/// <summary>An upgraded connection: reads pass through, writes (pongs, close frames) take their turn among the session's frames.</summary>
internal sealed class SharedStream : Stream
{
    private const byte OpcodeMask = 0x0F;
    private const byte CloseOpcode = 0x8;

    /// <summary>What came before the socket left the server.</summary>
    private ReadOnlyMemory<byte> _early;

    /// <summary>A connection that stays the server's.</summary>
    public SharedStream(Stream inner) => Inner = inner;

    /// <summary>A socket of its own, of which some bytes have been read.</summary>
    public SharedStream(Socket socket, ReadOnlyMemory<byte> early) => (Socket, _early) = (socket, early);

    /// <summary>The server's connection, for the session to write to; null if it has left the server.</summary>
    public Stream? Inner { get; }

    /// <summary>The socket that has left the server; whoever has the stream closes it.</summary>
    public Socket? Socket { get; }

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
        int read;
        if (Socket is null)
        {
            read = await Inner!.ReadAsync(buffer, cancellationToken);
        }
        else if (_early.Length > 0)
        {
            read = Math.Min(buffer.Length, _early.Length);
            _early[..read].CopyTo(buffer);
            _early = _early[read..];
        }
        else
        {
            if (Turn.IsOver(this))
            {
                await Task.Yield();
            }

            read = await Socket.ReceiveAsync(buffer, SocketFlags.None, cancellationToken);
        }

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
