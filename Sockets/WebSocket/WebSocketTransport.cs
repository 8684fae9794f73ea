using System.Buffers;
using System.Net.WebSockets;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// Reads one client of /ws: assembles fragmented messages and passes each to <see cref="SocketClient"/>.
/// </summary>
/// <param name="webSocket">The framework's WebSocket.</param>
/// <param name="stream">The connection under it.</param>
/// <param name="session">The session of the client.</param>
/// <param name="broker">Limits of frames.</param>
internal sealed class WebSocketTransport(WebSocket webSocket, SharedStream stream, Session session, SocketBroker broker)
    : IClientTransport
{
    private const int FirstBufferBytes = 4_096;

    /// <summary>Reads until the client closes or disconnects; never throws for the client's input.</summary>
    public async Task ReadAsync(SocketClient client)
    {
        try
        {
            while (true)
            {
                // A zero-byte read waits without a buffer, and here, so that nothing else is held meanwhile.
                var first = await webSocket.ReceiveAsync(Memory<byte>.Empty, CancellationToken.None);
                if (await ReadMessageAsync(first) is not { } message)
                {
                    break;
                }

                try
                {
                    if (!session.IsClosing)
                    {
                        await HandleAsync(client, message.Text);
                    }
                }
                finally
                {
                    ArrayPool<byte>.Shared.Return(message.Rented);
                }
            }

            // A close frame is answered with its own code, or 1000 if it has none (RFC 6455 §5.5.1).
            session.Finish(stream.HasEnded ? [] : WebSocketFrames.Close((int)webSocket.CloseStatus!.Value, ""));
        }
        catch (Exception e)
            when (e is WebSocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            // Disconnected within a message, or a protocol error, for which the framework has sent the close frame.
            session.Finish([]);
        }
    }

    public void Close()
    {
        stream.CloseSocket();
        webSocket.Dispose();
    }

    private ValueTask HandleAsync(SocketClient client, ReadOnlyMemory<byte> text)
    {
        ClientFrame frame;
        try
        {
            frame = ClientFrameReader.Read(text, broker.Publisher.ReaderOptions);
        }
        catch (RefusedException refused)
        {
            client.Refuse(default, refused);
            return ValueTask.CompletedTask;
        }

        return client.HandleAsync(frame);
    }

    /// <summary>Reads the rest of a text message into a rented buffer; null at the client's close frame.</summary>
    /// <param name="result">The result of the first receive, which has received no bytes of the message.</param>
    private async ValueTask<Message?> ReadMessageAsync(ValueWebSocketReceiveResult result)
    {
        var maxBytes = broker.Routing.MaxMessageBytes;
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
                    // Input after closing began is discarded until the client's close frame.
                    length = 0;
                }
                else if (result.EndOfMessage)
                {
                    return new Message(buffer, buffer.AsMemory(0, length));
                }

                buffer = Grown(buffer, length, maxBytes);
                var free = Math.Min(buffer.Length, maxBytes + 1) - length;
                result = await webSocket.ReceiveAsync(buffer.AsMemory(length, free), CancellationToken.None);
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

        // One byte more than the limit, to detect a message past it.
        var larger = ArrayPool<byte>.Shared.Rent(Math.Min(buffer.Length * 2, Math.Max(maxBytes, buffer.Length) + 1));
        buffer.AsSpan(0, length).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(buffer);
        return larger;
    }

    private readonly record struct Message(byte[] Rented, ReadOnlyMemory<byte> Text);
}
