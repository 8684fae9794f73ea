namespace Dmb.Sockets;

/// <summary>Writes to a Kestrel stream: a response body, or an upgraded connection with TLS.</summary>
/// <param name="stream">The stream; only this output writes to it.</param>
/// <param name="abort">Aborts the connection.</param>
internal sealed class StreamFrameOutput(Stream stream, Action abort) : IFrameOutput
{
    public ValueTask<int> WriteAsync(ReadOnlyMemory<byte> frames)
    {
        var write = stream.WriteAsync(frames);
        if (!write.IsCompletedSuccessfully)
        {
            return WaitAsync(write, frames.Length);
        }

        write.GetAwaiter().GetResult();
        return new ValueTask<int>(frames.Length);
    }

    public void Abort() => abort();

    private static async ValueTask<int> WaitAsync(ValueTask write, int length)
    {
        await write;
        return length;
    }
}
