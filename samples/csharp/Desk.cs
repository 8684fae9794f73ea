using System.Diagnostics;
using System.Net.WebSockets;
using System.Text.Json;

/// <summary>
/// The desk over the broker's socket: greets each user that connects, answers what a user says, and sends to all what
/// begins with "all: ".
/// </summary>
internal sealed class Desk(Uri broker) : IDisposable
{
    private const string BkidFile = "desk.bkid";
    private const string LastFile = "desk.last";
    private const int BufferBytes = 16 * 1024;

    // What a user sent may be nested 64 deep, and is a little deeper in an uplink.
    private static readonly JsonDocumentOptions Deep = new() { MaxDepth = 128 };
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan GoodWhile = TimeSpan.FromSeconds(10);

    private readonly HttpClient _http = new() { BaseAddress = broker };
    private ClientWebSocket _socket = new();
    private int _ack;

    public static async Task Main(string[] args)
    {
        using var desk = new Desk(new Uri(args.Length > 0 ? args[0] : "http://localhost:8082"));
        for (var attempt = 0; ; attempt++)
        {
            var started = Stopwatch.GetTimestamp();
            try
            {
                await desk.ServeAsync();
            }
            catch (Exception e) when (e is WebSocketException or HttpRequestException or IOException)
            {
                attempt = Stopwatch.GetElapsedTime(started) > GoodWhile ? 0 : attempt;
                var most = Math.Min(LongestWait.TotalSeconds, 0.5 * Math.Pow(2, attempt));
                var wait = TimeSpan.FromSeconds(Random.Shared.NextDouble() * most);
                await Console.Error.WriteLineAsync($"{e.Message} Again in {wait.TotalSeconds:0.0} s.");
                await Task.Delay(wait, TimeProvider.System);
            }
        }
    }

    public void Dispose()
    {
        _socket.Dispose();
        _http.Dispose();
    }

    /// <summary>
    /// Registers, and answers what is stored and what comes, until the connection or the broker fails.
    /// </summary>
    private async Task ServeAsync()
    {
        _socket.Dispose();
        _socket = new ClientWebSocket();
        await _socket.ConnectAsync(
            new UriBuilder(broker) { Scheme = broker.Scheme == "https" ? "wss" : "ws", Path = "ws" }.Uri,
            CancellationToken.None
        );
        var connected = await AskAsync("dmb:reconnect", new { name = "desk", bkid = Kept(BkidFile) });
        var bkid = connected.GetProperty("bkid").GetString()!;
        await File.WriteAllTextAsync(BkidFile, bkid + "\n");
        Console.WriteLine("desk " + bkid);
        while (true)
        {
            await AnswerStoredAsync(bkid);

            // An uplink that comes is in the store already: it only says that it is time to look there.
            await ReadAsync();
        }
    }

    /// <summary>Answers what users said and did since the last that was answered.</summary>
    private async Task AnswerStoredAsync(string bkid)
    {
        while (true)
        {
            var url = new Uri($"/backend/{bkid}/uplink/stored?after={Kept(LastFile)}", UriKind.Relative);
            using var stored = JsonDocument.Parse(await _http.GetStringAsync(url), Deep);
            if (stored.RootElement.GetArrayLength() == 0)
            {
                return;
            }

            foreach (var item in stored.RootElement.EnumerateArray())
            {
                var id = item.GetProperty("id").GetString()!;
                await ReplyAsync(id, item.GetProperty("uplink"));
                await File.WriteAllTextAsync(LastFile, id + "\n");
            }
        }
    }

    private async Task ReplyAsync(string id, JsonElement uplink)
    {
        var user = uplink.GetProperty("user").GetString()!;
        var type = uplink.GetProperty("type").GetString();
        var text = type == "message" ? Text(uplink.GetProperty("data")) : null;
        switch (type)
        {
            case "connect":
                await DirectAsync($"Hello {user}.");
                break;
            case "message" when text is not { Length: <= 1000 }:
                await DirectAsync("Please send a short text.");
                break;
            case "message" when text.StartsWith("all: ", StringComparison.Ordinal):
                await AskAsync("dmb:broadcast", new { id, data = $"{user}: {text[5..]}" });
                break;
            case "message":
                await DirectAsync($"At {uplink.GetProperty("time").GetString()} you said: {text}");
                break;
            default:
                break;
        }

        // One id for one answer: given twice, it is delivered once.
        Task DirectAsync(string data) =>
            AskAsync(
                "dmb:direct",
                new
                {
                    id,
                    user,
                    data,
                }
            );
    }

    /// <summary>A text; null for other data, and for a text that isn't Unicode.</summary>
    private static string? Text(JsonElement data)
    {
        try
        {
            return data.ValueKind == JsonValueKind.String ? data.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private static string? Kept(string file) => File.Exists(file) ? File.ReadAllText(file).Trim() : null;

    /// <summary>Sends a frame, and waits for the answer to it; what comes before that is left unread.</summary>
    private async Task<JsonElement> AskAsync(string @event, object data)
    {
        var ack = ++_ack;
        await _socket.SendAsync(
            JsonSerializer.SerializeToUtf8Bytes(
                new
                {
                    @event,
                    data,
                    ack,
                }
            ),
            WebSocketMessageType.Text,
            true,
            CancellationToken.None
        );
        while (true)
        {
            var frame = await ReadAsync();
            if (frame.TryGetProperty("ack", out var answered) && answered.GetInt32() == ack)
            {
                return frame.GetProperty("ok").GetBoolean()
                    ? frame.GetProperty("data")
                    : throw new IOException(frame.GetProperty("error").GetProperty("message").GetString());
            }
        }
    }

    /// <summary>The next frame.</summary>
    /// <exception cref="IOException">The connection was closed.</exception>
    private async Task<JsonElement> ReadAsync()
    {
        using var message = new MemoryStream();
        var buffer = new byte[BufferBytes];
        WebSocketReceiveResult part;
        do
        {
            part = await _socket.ReceiveAsync(buffer, CancellationToken.None);
            message.Write(buffer, 0, part.Count);
        } while (!part.EndOfMessage);

        if (part.MessageType == WebSocketMessageType.Close)
        {
            throw new IOException($"Closed with {part.CloseStatus:D}, {part.CloseStatusDescription}.");
        }

        message.Position = 0;
        using var frame = await JsonDocument.ParseAsync(message, Deep);
        return frame.RootElement.Clone();
    }
}
