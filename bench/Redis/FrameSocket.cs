using System.Net;
using System.Net.WebSockets;
using System.Text;

namespace Dmb.Bench.Redis;

/// <summary>A WebSocket that is read a whole frame at a time.</summary>
internal sealed class FrameSocket : IDisposable
{
    private readonly ClientWebSocket _socket = new();
    private byte[] _buffer = new byte[2 * 1024];

    public FrameSocket() => _socket.Options.KeepAliveInterval = TimeSpan.Zero;

    public Task ConnectAsync(IPEndPoint node) =>
        _socket.ConnectAsync(new Uri($"ws://{node}/ws"), CancellationToken.None);

    public Task SendAsync(string frame) =>
        _socket.SendAsync(Encoding.ASCII.GetBytes(frame), WebSocketMessageType.Text, true, CancellationToken.None);

    /// <summary>The next frame, which is there until the one after it is read.</summary>
    /// <exception cref="IOException">The server closed it.</exception>
    public async ValueTask<ReadOnlyMemory<byte>> ReceiveAsync()
    {
        for (var length = 0; ; )
        {
            var read = await _socket.ReceiveAsync(_buffer.AsMemory(length), CancellationToken.None);
            length += read.Count;
            if (read.MessageType == WebSocketMessageType.Close)
            {
                throw new IOException(
                    $"A socket was closed: {(int?)_socket.CloseStatus} {_socket.CloseStatusDescription}"
                );
            }

            if (read.EndOfMessage)
            {
                return _buffer.AsMemory(0, length);
            }

            if (length == _buffer.Length)
            {
                Array.Resize(ref _buffer, 2 * length);
            }
        }
    }

    /// <summary>The next frame that begins as the answer to an ack.</summary>
    /// <exception cref="IOException">It says that something was refused.</exception>
    public async Task<string> AckAsync()
    {
        while (true)
        {
            var frame = await ReceiveAsync();
            if (frame.Span.StartsWith("{\"ack\":"u8))
            {
                return Accepted(frame.Span);
            }
        }
    }

    /// <summary>Whether it is an answer that says to try again: Redis was away.</summary>
    public static bool IsAway(ReadOnlySpan<byte> frame) =>
        frame.StartsWith("{\"ack\":"u8) && frame.IndexOf("\"backplane_down\""u8) >= 0;

    /// <summary>The text of an ack.</summary>
    /// <exception cref="IOException">It says that something was refused.</exception>
    public static string Accepted(ReadOnlySpan<byte> frame)
    {
        var ack = Encoding.UTF8.GetString(frame);
        return ack.Contains("\"ok\":true", StringComparison.Ordinal) ? ack : throw new IOException($"Refused: {ack}");
    }

    public void Dispose() => _socket.Dispose();
}
