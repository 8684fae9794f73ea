using System.Buffers;
using System.Net.WebSockets;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Reads a client's WebSocket to its end: puts fragments together, and hands each text to <see cref="SocketClient"/>.</summary>
internal static class WebSocketTransport
{
    private const int FirstBufferBytes = 4_096;

    /// <summary>Completes when the client is gone or has said goodbye. Never throws for what a client does.</summary>
    public static async Task RunAsync(WebSocket socket, Session session, SocketClient client, BrokerOptions options)
    {
        try
        {
            while (await ReadMessageAsync(socket, session, options.MaxMessageBytes) is { } message)
            {
                try
                {
                    if (!session.IsClosing)
                    {
                        await client.HandleAsync(message.Text);
                    }
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(message.Rented);
                }
            }

            // The other side's close is answered with its own code (RFC 6455 §5.5.1), one without a code with 1000.
            session.Finish(WebSocketFrames.Close((int)socket.CloseStatus!.Value, ""));
        }
        catch (Exception e) when (e is WebSocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            // Gone without a goodbye, or broke the protocol: then the framework has sent its close frame already.
            session.Finish([]);
        }
    }

    /// <summary>The next text message in a rented buffer, or null at the client's close frame.</summary>
    private static async Task<Message?> ReadMessageAsync(WebSocket socket, Session session, int maxBytes)
    {
        // No buffer is held while nothing comes.
        var result = await socket.ReceiveAsync(Memory<byte>.Empty, CancellationToken.None);
        var buffer = ArrayPool<byte>.Shared.Rent(FirstBufferBytes);
        try
        {
            var length = 0;
            while (true)
            {
                if (result.MessageType == WebSocketMessageType.Close)
                {
                    ArrayPool<byte>.Shared.Return(buffer);
                    return null;
                }

                length += result.Count;
                if (result.MessageType == WebSocketMessageType.Binary)
                {
                    session.Close(CloseReason.Binary);
                }
                else if (length > maxBytes)
                {
                    session.Close(CloseReason.TooBig);
                }

                if (session.IsClosing)
                {
                    // Whatever else comes is read and thrown away until the client has said goodbye.
                    length = 0;
                }
                else if (result.EndOfMessage)
                {
                    return new Message(buffer, buffer.AsMemory(0, length));
                }

                buffer = Grown(buffer, length, maxBytes);
                var free = Math.Min(buffer.Length, maxBytes + 1) - length;
                result = await socket.ReceiveAsync(buffer.AsMemory(length, free), CancellationToken.None);
            }
        }
        catch
        {
            ArrayPool<byte>.Shared.Return(buffer);
            throw;
        }
    }

    private static byte[] Grown(byte[] buffer, int length, int maxBytes)
    {
        if (length < buffer.Length)
        {
            return buffer;
        }

        // One byte more than the limit, so that a message past it shows.
        var larger = ArrayPool<byte>.Shared.Rent(Math.Min(buffer.Length * 2, Math.Max(maxBytes, buffer.Length) + 1));
        buffer.AsSpan(0, length).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(buffer);
        return larger;
    }

    private readonly record struct Message(byte[] Rented, ReadOnlyMemory<byte> Text);
}
