using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Text.Json;

namespace Dmb.Client;

/// <summary>One WebSocket: frames that come, and requests that go with an ack (docs/protocol.md §4).</summary>
/// <param name="ended">Cancelled when its session ends.</param>
internal sealed class Connection(CancellationToken ended) : IDisposable
{
    /// <summary>What the broker may send at most as one frame is below this; more is a lie.</summary>
    private const int FrameBytesMax = 16 * 1024 * 1024;

    private readonly ClientWebSocket _socket = new();
    private readonly ConcurrentDictionary<long, Pending> _pending = [];
    private readonly SemaphoreSlim _sending = new(1);
    private byte[] _buffer = new byte[16 * 1024];
    private long _lastAck;
    private bool _isOver;

    /// <summary>Opens it.</summary>
    public async Task OpenAsync(Uri node, Action<ClientWebSocketOptions>? configure)
    {
        _socket.Options.KeepAliveInterval = TimeSpan.Zero;
        configure?.Invoke(_socket.Options);
        var scheme = node.Scheme is "https" or "wss" ? "wss" : "ws";
        var path = node.AbsolutePath.EndsWith("/ws", StringComparison.Ordinal)
            ? node.AbsolutePath
            : node.AbsolutePath.TrimEnd('/') + "/ws";
        var url = new UriBuilder(scheme, node.Host, node.Port, path).Uri;
        await _socket.ConnectAsync(url, ended).ConfigureAwait(false);
    }

    /// <summary>
    /// The bytes of the next text frame, valid until the next call; null: it was closed, with this code.
    /// </summary>
    public async ValueTask<(ReadOnlyMemory<byte>? Text, int Code, string Reason)> ReceiveAsync()
    {
        for (var length = 0; ; )
        {
            var received = await _socket.ReceiveAsync(_buffer.AsMemory(length), ended).ConfigureAwait(false);
            if (received.MessageType == WebSocketMessageType.Close)
            {
                return (
                    null,
                    (int)(_socket.CloseStatus ?? WebSocketCloseStatus.Empty),
                    _socket.CloseStatusDescription ?? ""
                );
            }

            length += received.Count;
            if (received.EndOfMessage)
            {
                return (_buffer.AsMemory(0, length), 0, "");
            }

            if (length == _buffer.Length)
            {
                if (length >= FrameBytesMax)
                {
                    throw new WebSocketException(WebSocketError.Faulted, "A frame is too long.");
                }

                Array.Resize(ref _buffer, length * 2);
            }
        }
    }

    /// <summary>Sends an event; gives the data of its ack.</summary>
    /// <param name="event">Its name.</param>
    /// <param name="data">Writes its data.</param>
    /// <param name="apply">Called with the data before the next frame is read.</param>
    /// <param name="cancellationToken">Ends the waiting; what was sent is not taken back.</param>
    /// <exception cref="DmbException">It was refused, or the connection was lost.</exception>
    public async Task<JsonElement> RequestAsync(
        string @event,
        Action<Utf8JsonWriter>? data,
        Action<JsonElement>? apply,
        CancellationToken cancellationToken
    )
    {
        var ack = Interlocked.Increment(ref _lastAck);
        var pending = new Pending(apply);
        _pending[ack] = pending;
        try
        {
            if (Volatile.Read(ref _isOver))
            {
                throw DmbException.ConnectionLost();
            }

            await SendAsync(Encode(@event, data, ack), cancellationToken).ConfigureAwait(false);
            return await pending.Answer.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _pending.TryRemove(ack, out _);
        }
    }

    /// <summary>Hands the answer to a request to who waits for it.</summary>
    public void Answer(Frame frame)
    {
        if (!_pending.TryRemove(frame.Ack!.Value, out var pending))
        {
            return;
        }

        if (frame.Ok)
        {
            var data = Json.Element(frame.Data);
            try
            {
                pending.Apply?.Invoke(data);
            }
            finally
            {
                pending.Answer.TrySetResult(data);
            }
        }
        else
        {
            var error = frame.Error ?? Json.Null;
            var code = error.Text("code") ?? "internal";
            var retry = error.Member("retry") is { ValueKind: JsonValueKind.True };
            pending.Answer.TrySetException(new DmbException(code, error.Text("message") ?? code, retry));
        }
    }

    /// <summary>Says goodbye, where that is possible at once.</summary>
    public async Task CloseAsync()
    {
        if (_socket.State == WebSocketState.Open)
        {
            try
            {
                await _socket
                    .CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, CancellationToken.None)
                    .WaitAsync(TimeSpan.FromSeconds(1), TimeProvider.System)
                    .ConfigureAwait(false);
            }
            catch (Exception e)
                when (e
                        is WebSocketException
                            or TimeoutException
                            or ObjectDisposedException
                            or InvalidOperationException
                )
            {
                // It is gone already.
            }
        }
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isOver, true))
        {
            return;
        }

        foreach (var (_, pending) in _pending)
        {
            pending.Answer.TrySetException(DmbException.ConnectionLost());
        }

        _socket.Dispose();
    }

    private async Task SendAsync(ReadOnlyMemory<byte> frame, CancellationToken cancellationToken)
    {
        await _sending.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            // A cancelled send would break the socket: only its end cancels it.
            await _socket.SendAsync(frame, WebSocketMessageType.Text, true, ended).ConfigureAwait(false);
        }
        catch (Exception e)
            when (e
                    is WebSocketException
                        or OperationCanceledException
                        or ObjectDisposedException
                        or InvalidOperationException
            )
        {
            throw DmbException.ConnectionLost();
        }
        finally
        {
            _sending.Release();
        }
    }

    private static ReadOnlyMemory<byte> Encode(string @event, Action<Utf8JsonWriter>? data, long ack) =>
        Json.Utf8(writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("event"u8, @event);
            if (data is not null)
            {
                writer.WritePropertyName("data"u8);
                data(writer);
            }

            writer.WriteNumber("ack"u8, ack);
            writer.WriteEndObject();
        });

    private sealed class Pending(Action<JsonElement>? apply)
    {
        public Action<JsonElement>? Apply { get; } = apply;

        public TaskCompletionSource<JsonElement> Answer { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
