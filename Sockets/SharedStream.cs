using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Sockets;

/// <summary>
/// Stands in for the server's upgrade, so that the framework's WebSocket does the handshake and reads over a stream of
/// ours, and all that leaves goes through the session's one writer.
/// </summary>
internal sealed class SharedUpgrade(IHttpUpgradeFeature inner) : IHttpUpgradeFeature
{
    /// <summary>The upgraded connection, once the handshake is done.</summary>
    public SharedStream? Stream { get; private set; }

    public bool IsUpgradableRequest => inner.IsUpgradableRequest;

    public async Task<Stream> UpgradeAsync() => Stream = new SharedStream(await inner.UpgradeAsync());
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
