using System.Buffers;
using System.Net.WebSockets;

namespace Dmb.Sockets;

/// <summary>A socket of an Engine.IO session: each message is one packet (Engine.IO Protocol, "WebSocket").</summary>
/// <param name="webSocket">The framework's WebSocket.</param>
/// <param name="stream">The connection under it.</param>
/// <param name="output">Writes to that connection.</param>
/// <param name="maxBytes">Bytes of a message.</param>
internal sealed class EngineIoWebSocket(WebSocket webSocket, SharedStream stream, IFrameOutput output, int maxBytes)
{
    private const int FirstBufferBytes = 4_096;

    private static readonly byte[] ProbeAnswer = WebSocketFrames.Text("3probe"u8);

    /// <summary>How long a client may take from opening the socket to its upgrade.</summary>
    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(10);

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private byte[] _buffer = [];
    private bool _isTooBig;

    /// <summary>Where frames are written.</summary>
    public IFrameOutput Output => output;

    /// <summary>Whether the socket has left the server.</summary>
    public bool IsDetached => stream.Socket is not null;

    /// <inheritdoc cref="SharedStream.TakeAnswer"/>
    public byte[]? TakeAnswer() => stream.TakeAnswer();

    /// <summary>Completes when nothing more is read.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Reads the packets of a session that was opened on this socket.</summary>
    public async Task ReadAsync(EngineIoSession engine)
    {
        stream.Session = engine.Session;
        try
        {
            await ReadPacketsAsync(engine);
        }
        finally
        {
            End();
            engine.End(isClosedByClient: false);
        }
    }

    /// <summary>
    /// Reads the probe of a client that polls, and after its upgrade the session's packets. Closes the socket if there
    /// is no upgrade; the session goes on.
    /// </summary>
    public async Task ProbeAsync(EngineIoSession engine, TimeProvider time)
    {
        var isUpgraded = false;
        try
        {
            using (var timeout = new CancellationTokenSource(ProbeTimeout, time))
            await using (timeout.Token.Register(output.Abort))
            {
                isUpgraded = await UpgradeAsync(engine);
            }

            if (isUpgraded)
            {
                await ReadPacketsAsync(engine);
            }
        }
        catch (Exception e) when (IsLost(e))
        {
            // Before the upgrade.
        }
        finally
        {
            End();
            if (isUpgraded)
            {
                engine.End(isClosedByClient: false);
            }
            else
            {
                engine.EndProbe();
                Close();
            }
        }
    }

    public void Close()
    {
        stream.CloseSocket();
        webSocket.Dispose();
    }

    private async Task<bool> UpgradeAsync(EngineIoSession engine)
    {
        if (TakeAnswer() is { } answer)
        {
            await output.WriteAsync(answer);
        }

        if (await ReadMessageAsync() is not { IsBinary: false } probe || !probe.Text.Span.SequenceEqual("2probe"u8))
        {
            return false;
        }

        await output.WriteAsync(ProbeAnswer);
        if (engine.Polling is not { } polling)
        {
            return false;
        }

        polling.SetProbing(true);
        if (
            await ReadMessageAsync() is not { IsBinary: false, Type: EngineIoPacket.Upgrade }
            || engine.Session.IsClosing
        )
        {
            return false;
        }

        stream.Session = engine.Session;
        engine.Session.RecordActivity();
        engine.Upgrade(this);
        return true;
    }

    private async Task ReadPacketsAsync(EngineIoSession engine)
    {
        try
        {
            while (true)
            {
                // Waits here, so that nothing else is held meanwhile.
                ReleaseBuffer();
                var first = await webSocket.ReceiveAsync(Memory<byte>.Empty, CancellationToken.None);
                if (await ReadMessageAsync(first) is not { } packet)
                {
                    break;
                }

                if (!engine.Session.IsClosing)
                {
                    await engine.ReceiveAsync(packet);
                }
            }

            if (_isTooBig)
            {
                engine.Session.Close(CloseReason.TooBig);
                return;
            }

            engine.Session.Finish(
                stream.HasEnded
                    ? []
                    : WebSocketFrames.Close((int)(webSocket.CloseStatus ?? WebSocketCloseStatus.NormalClosure), "")
            );
        }
        catch (Exception e) when (IsLost(e))
        {
            engine.Session.Finish([]);
        }
    }

    /// <summary>
    /// The next message as a packet, in a buffer that is reused; null at the client's close frame, or when it is too
    /// big.
    /// </summary>
    private async ValueTask<EngineIoPacket?> ReadMessageAsync()
    {
        // No buffer is held while nothing arrives.
        ReleaseBuffer();
        return await ReadMessageAsync(await webSocket.ReceiveAsync(Memory<byte>.Empty, CancellationToken.None));
    }

    /// <summary>The same, from the result of a first receive of no bytes.</summary>
    private async ValueTask<EngineIoPacket?> ReadMessageAsync(ValueWebSocketReceiveResult result)
    {
        _buffer = ArrayPool<byte>.Shared.Rent(FirstBufferBytes);
        for (var length = 0; ; )
        {
            if (result.MessageType == WebSocketMessageType.Close)
            {
                return null;
            }

            length += result.Count;
            if (length > maxBytes)
            {
                _isTooBig = true;
                return null;
            }

            if (result.EndOfMessage)
            {
                return result.MessageType == WebSocketMessageType.Binary
                    ? EngineIoPacket.Binary
                    : new EngineIoPacket(IsBinary: false, _buffer.AsMemory(0, length));
            }

            if (length == _buffer.Length)
            {
                var larger = ArrayPool<byte>.Shared.Rent(_buffer.Length * 2);
                _buffer.CopyTo(larger, 0);
                ReleaseBuffer();
                _buffer = larger;
            }

            result = await webSocket.ReceiveAsync(_buffer.AsMemory(length), CancellationToken.None);
        }
    }

    private void ReleaseBuffer()
    {
        if (_buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = [];
        }
    }

    private void End()
    {
        ReleaseBuffer();
        _ended.TrySetResult();
    }

    private static bool IsLost(Exception e) =>
        e
            is WebSocketException
                or IOException
                or OperationCanceledException
                or ObjectDisposedException
                or System.Net.Sockets.SocketException;
}
