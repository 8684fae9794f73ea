using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Support;

/// <summary>
/// A client of one room with history, through a proxy, that comes back whenever its connection ends and resumes where
/// it was: over <c>/ws</c> with <c>since</c>, or over <c>/events</c> with <c>Last-Event-ID</c>.
/// </summary>
public sealed class ComingBack : IAsyncDisposable
{
    private static readonly TimeSpan Again = TimeSpan.FromMilliseconds(100);

    private readonly TlsProxy _proxy;
    private readonly string _room;
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _joined = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _running;
    private string? _place;

    /// <param name="proxy">Where it connects.</param>
    /// <param name="room">The room that it listens to.</param>
    /// <param name="isStream">Server-sent events instead of a WebSocket.</param>
    public ComingBack(TlsProxy proxy, string room, bool isStream)
    {
        (_proxy, _room) = (proxy, room);
        _running = RunAsync(isStream ? StreamAsync : SocketAsync);
    }

    /// <summary>Completes when it is in the room for the first time.</summary>
    public Task Joined => _joined.Task;

    /// <summary>The numbers of the messages that came, in their order.</summary>
    public ConcurrentQueue<int> Received { get; } = new();

    /// <summary>When it was told to go, of each time: the clock's milliseconds.</summary>
    public ConcurrentQueue<long> Closed { get; } = new();

    /// <summary>What it was told that must not be: a gap, or a place from which it could not resume.</summary>
    public ConcurrentQueue<string> Missed { get; } = new();

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running;
        _stop.Dispose();
    }

    private async Task RunAsync(Func<string?, Task> connectAsync)
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await connectAsync(_place);
            }
            catch (Exception e)
                when (e is HttpRequestException or WebSocketException or IOException or OperationCanceledException)
            {
                // Refused, or cut: again.
            }

            await Task.Delay(Again, TimeProvider.System, CancellationToken.None);
        }
    }

    private async Task SocketAsync(string? since)
    {
        using var socket = new ClientWebSocket();
        socket.Options.RemoteCertificateValidationCallback = (_, shown, _, _) => _proxy.IsOurs(shown);
        await socket.ConnectAsync(new UriBuilder(_proxy.Url) { Scheme = "wss", Path = "/ws" }.Uri, _stop.Token);
        var join = since is null ? JsonSerializer.Serialize(_room) : $$"""{"room":"{{_room}}","since":"{{since}}"}""";
        await socket.SendAsync(
            Encoding.UTF8.GetBytes($$"""{"event":"subscribe","data":{{join}},"ack":1}"""),
            WebSocketMessageType.Text,
            endOfMessage: true,
            _stop.Token
        );
        var buffer = new byte[65_536];
        while (true)
        {
            var length = 0;
            ValueWebSocketReceiveResult result;
            do
            {
                result = await socket.ReceiveAsync(buffer.AsMemory(length), _stop.Token);
                length += result.Count;
            } while (!result.EndOfMessage);

            if (result.MessageType == WebSocketMessageType.Close)
            {
                Assert.Equal(1012, (int)socket.CloseStatus!.Value);
                Closed.Enqueue(Environment.TickCount64);
                await socket.CloseOutputAsync(socket.CloseStatus.Value, null, _stop.Token);
                return;
            }

            var frame = JsonElement.Parse(buffer.AsSpan(0, length));
            if (frame.TryGetProperty("ack", out _))
            {
                var data = frame.GetProperty("data");
                _place ??= data.GetProperty("pos").GetString();
                if (since is not null && !data.GetProperty("recovered").GetBoolean())
                {
                    Missed.Enqueue(data.ToString());
                }

                _joined.TrySetResult();
            }
            else if (frame.TryGetProperty("pos", out var position))
            {
                Received.Enqueue(frame.GetProperty("data").GetProperty("n").GetInt32());
                _place = position.GetString();
            }
            else if (frame.GetProperty("event").GetString() == "gap")
            {
                Missed.Enqueue(frame.ToString());
            }
        }
    }

    private async Task StreamAsync(string? since)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(_proxy.Url, "/events?room=" + _room));
        if (since is not null)
        {
            request.Headers.Add("Last-Event-ID", since);
        }

        using var response = await _proxy.Http.SendAsync(
            request,
            HttpCompletionOption.ResponseHeadersRead,
            _stop.Token
        );
        response.EnsureSuccessStatusCode();
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(_stop.Token));
        var (name, data) = ("", "");
        while (await reader.ReadLineAsync(_stop.Token) is { } line)
        {
            switch (line.Split(": ", 2))
            {
                case ["event", var value]:
                    name = value;
                    break;
                case ["data", var value]:
                    data = value;
                    break;
                case ["id", var value]:
                    _place = value;
                    _joined.TrySetResult();
                    break;
                case [""] when name == "call":
                    Received.Enqueue(JsonElement.Parse(data).GetProperty("n").GetInt32());
                    name = "";
                    break;
                case [""] when name == "bye":
                    Closed.Enqueue(Environment.TickCount64);
                    name = "";
                    break;
                case [""] when name == "gap":
                    Missed.Enqueue(data);
                    name = "";
                    break;
            }
        }
    }
}
