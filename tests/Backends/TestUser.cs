using System.Text.Json;

namespace Dmb.Tests.Backends;

/// <summary>One session of a backend's user that was let in: a socket, or a stream of events.</summary>
public sealed class TestUser : IAsyncDisposable
{
    private static readonly HttpClient Http = new() { Timeout = Node.Patience };
    private readonly EventReader? _stream;
    private readonly TestClient? _client;

    private TestUser(string bkid, string name, string session, EventReader? stream, TestClient? client) =>
        (Bkid, Name, Session, _stream, _client) = (bkid, name, session, stream, client);

    public string Bkid { get; }

    public string Name { get; }

    /// <summary>The session's id; a stream learns its own from what its backend hears.</summary>
    public string Session { get; set; }

    /// <summary>Its socket.</summary>
    public TestClient Client => _client!;

    /// <summary>Joins over a socket. All that was said about it has been read.</summary>
    public static async Task<TestUser> JoinAsync(Uri node, string bkid, string name)
    {
        var user = await OpenAsync(node, bkid, name);
        var data = $$"""{"service":"{{bkid}}","user":{{TestBackend.Quote(name)}}}""";
        Assert.EndsWith(
            $$""","ok":true,"data":{{data}}}""",
            await user.Client.AckAsync("dmb:connect", data),
            StringComparison.Ordinal
        );
        await user.GetsAsync("dmb:connected", data);
        return user;
    }

    /// <summary>A socket that has not joined yet.</summary>
    public static async Task<TestUser> OpenAsync(Uri node, string bkid, string name)
    {
        var client = await TestClient.ConnectAsync(new Uri(node, "/ws"));
        var session = JsonElement.Parse(await client.ReadAsync()).GetProperty("data").GetProperty("id").GetString()!;
        return new TestUser(bkid, name, session, null, client);
    }

    /// <summary>Joins as a stream of events. All that was said about it has been read.</summary>
    public static async Task<TestUser> StreamAsync(Uri node, string bkid, string name)
    {
        var stream = await EventReader.OpenAsync(
            Http,
            new Uri(node, $"/events?service={bkid}&user={Uri.EscapeDataString(name)}")
        );
        var user = new TestUser(bkid, name, "", stream, null);
        await user.GetsAsync("dmb:connected", $$"""{"service":"{{bkid}}","user":{{TestBackend.Quote(name)}}}""");
        return user;
    }

    /// <summary>Checks that this is the next that it gets.</summary>
    public async Task GetsAsync(string @event, string data) => Assert.Equal((@event, data), await ReadAsync());

    /// <summary>The next that it gets, besides what it is told of Redis.</summary>
    public async Task<(string Event, string Data)> ReadAsync()
    {
        while (true)
        {
            var (@event, data) = _stream is null ? Split(await Client.ReadAsync()) : Lines(await _stream.ReadAsync());
            if (@event is not ("backplane" or ""))
            {
                return (@event, data);
            }
        }
    }

    /// <summary>Says something to its backend, and gives the ack.</summary>
    public Task<string> SayAsync(string data) =>
        Client.AckAsync("dmb:message", $$"""{"service":"{{Bkid}}","data":{{data}}}""");

    public async ValueTask DisposeAsync()
    {
        _stream?.Dispose();
        if (_client is not null)
        {
            await _client.DisposeAsync();
        }
    }

    private static (string Event, string Data) Split(string frame)
    {
        var (name, start) = (
            JsonElement.Parse(frame).GetProperty("event").GetString()!,
            frame.IndexOf(",\"data\":", StringComparison.Ordinal) + 8
        );
        var end = frame.LastIndexOf(",\"id\":\"", StringComparison.Ordinal);
        return (name, frame[start..(name is "dmb:direct" or "dmb:broadcast" ? end : frame.Length - 1)]);
    }

    private static (string Event, string Data) Lines(string message)
    {
        var lines = message.Split('\n');
        return lines.Length == 1 ? ("", "") : (lines[0]["event: ".Length..], lines[1]["data: ".Length..]);
    }
}
