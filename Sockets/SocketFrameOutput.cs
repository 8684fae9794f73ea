using System.Net.Sockets;

namespace Dmb.Sockets;

/// <summary>Writes to a non-blocking socket: synchronously what it accepts, the rest asynchronously.</summary>
internal sealed class SocketFrameOutput(Socket socket) : IFrameOutput
{
    public ValueTask<int> WriteAsync(ReadOnlyMemory<byte> frames)
    {
        var sent = socket.Send(frames.Span, SocketFlags.None, out var error);
        return error switch
        {
            SocketError.Success when sent == frames.Length => new ValueTask<int>(sent),
            SocketError.Success => SendAsync(frames, sent),
            SocketError.WouldBlock => SendAsync(frames, 0),
            _ => throw new SocketException((int)error),
        };
    }

    /// <summary>Closes without lingering: the client gets a reset.</summary>
    public void Abort() => socket.Close(0);

    private async ValueTask<int> SendAsync(ReadOnlyMemory<byte> frames, int sent)
    {
        while (sent < frames.Length)
        {
            sent += await socket.SendAsync(frames[sent..]);
        }

        return sent;
    }
}
