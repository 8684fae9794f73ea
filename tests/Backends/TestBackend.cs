using System.Net;
using System.Text;
using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Tests.Backends;

/// <summary>The ways in which a backend may talk to the broker.</summary>
public enum By
{
    Http,
    Socket,
    Redis,
}

/// <summary>A registered backend service as a test plays it, the same whichever way it talks.</summary>
public abstract class TestBackend(string bkid) : IAsyncDisposable
{
    private int _id;

    public string Bkid { get; } = bkid;

    /// <summary>Registers a backend, or lets one come back.</summary>
    /// <param name="by">How it talks.</param>
    /// <param name="node">Where it is connected, unless it talks over Redis.</param>
    /// <param name="redis">The cluster's Redis, or null when there is none.</param>
    /// <param name="name">Its name.</param>
    /// <param name="bkid">Who it was before, or null for a new one.</param>
    public static async Task<TestBackend> RegisterAsync(
        By by,
        Uri node,
        RedisServer? redis,
        string name,
        string? bkid = null
    ) =>
        by switch
        {
            By.Http => await HttpBackend.RegisterAsync(node, name, bkid),
            By.Socket => await SocketBackend.RegisterAsync(node, name, bkid),
            _ => await RedisBackend.RegisterAsync(redis!, name, bkid),
        };

    /// <summary>Sends to one user, or to all, and gives the ack.</summary>
    public abstract Task<Ack> SendAsync(string? user, string data, string? id = null);

    /// <summary>The next that it hears of its users, as it came.</summary>
    public abstract Task<string> ReadAsync();

    /// <summary>Has its bkid freed.</summary>
    public abstract Task FreeAsync();

    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        GC.SuppressFinalize(this);
    }

    /// <summary>Checks that this is the next that it hears: a user's session came or went.</summary>
    public async Task HearsAsync(string type, TestUser user, int sessions) =>
        Assert.Equal(Presence(type, user, sessions), await ReadAsync());

    /// <summary>What it hears when a user's session came or went.</summary>
    public string Presence(string type, TestUser user, int sessions) =>
        $$"""{"type":"{{type}}","bkid":"{{Bkid}}","user":{{Quote(user.Name)}},"session":"{{user.Session}}","sessions":{{sessions}}}""";

    /// <summary>Checks that this is the next that it hears: what a user said.</summary>
    public async Task HearsAsync(TestUser user, string data)
    {
        var uplink = await ReadAsync();
        var start =
            $$"""{"type":"message","bkid":"{{Bkid}}","user":{{Quote(user.Name)}},"session":"{{user.Session}}","id":""";
        Assert.StartsWith(start, uplink, StringComparison.Ordinal);
        Assert.Matches(
            """^"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}","data":.*,"time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"}$""",
            uplink[start.Length..]
        );
        Assert.Equal(data, DataOf(uplink));
    }

    /// <summary>The data in what a user said, as it came.</summary>
    public static string DataOf(string uplink) => JsonElement.Parse(uplink).GetProperty("data").GetRawText();

    /// <summary>
    /// Sends with an id of its own and checks that all went well; gives on how many nodes somebody got it.
    /// </summary>
    public async Task<int> TellAsync(string? user, string data)
    {
        var ack = await SendAsync(user, data, $"tell-{_id++}");
        Assert.True(ack is { Error: null, IsDuplicate: false }, $"{ack}");
        return ack.Nodes;
    }

    /// <summary>Goes without a word.</summary>
    protected abstract ValueTask EndAsync();

    protected static string WithId(string? id) => id is null ? "" : $",\"id\":\"{id}\"";

    protected static string OrNull(string? text) => text is null ? "null" : $"\"{text}\"";

    protected static string To(string? user, string member) => user is null ? "" : $",\"{member}\":{Quote(user)}";

    /// <summary>A text as the broker writes it in JSON.</summary>
    public static string Quote(string text) => Encoding.UTF8.GetString(JsonText.Quote(text));

    private protected static Ack Read(string json)
    {
        var ack = JsonElement.Parse(json);
        return ack.TryGetProperty("error", out var error)
            ? new Ack(0, false, error.GetProperty("code").GetString())
            : new Ack(ack.GetProperty("nodes").GetInt32(), ack.TryGetProperty("duplicate", out _));
    }
}

/// <summary>What a backend is told of its message.</summary>
public sealed record Ack(int Nodes, bool IsDuplicate, string? Error = null);

internal sealed class HttpBackend : TestBackend
{
    private static readonly HttpClient Http = new() { Timeout = Node.Patience };
    private readonly Uri _node;
    private readonly EventReader _uplink;

    private HttpBackend(Uri node, string bkid, EventReader uplink)
        : base(bkid) => (_node, _uplink) = (node, uplink);

    public static async Task<HttpBackend> RegisterAsync(Uri node, string name, string? bkid)
    {
        var (status, body) = await PostAsync(
            new Uri(node, "/register/backend"),
            $$"""{"name":"{{name}}","bkid":{{OrNull(bkid)}}}"""
        );
        Assert.Equal((HttpStatusCode.Created, ""), (status, status == HttpStatusCode.Created ? "" : body));
        var own = JsonElement.Parse(body).GetProperty("bkid").GetString()!;
        var uplink = await EventReader.OpenAsync(Http, new Uri(node, $"/backend/{own}/uplink"));
        Assert.Equal(": connected", await uplink.ReadAsync());
        Assert.Equal($$"""event: dmb:connected{{'\n'}}data: {"bkid":"{{own}}"}""", await uplink.ReadAsync());
        return new HttpBackend(node, own, uplink);
    }

    public static async Task<(HttpStatusCode Status, string Body)> PostAsync(Uri url, string json)
    {
        using var response = await Http.PostAsync(url, new StringContent(json));
        return (response.StatusCode, await response.Content.ReadAsStringAsync());
    }

    public override async Task<Ack> SendAsync(string? user, string data, string? id = null)
    {
        var (status, body) = await PostAsync(
            new Uri(_node, $"/backend/{Bkid}/messages"),
            $$"""{"data":{{data}}{{To(user, "to")}}{{WithId(id)}}}"""
        );
        return status == HttpStatusCode.OK
            ? Read(body)
            : new Ack(0, false, JsonElement.Parse(body).GetProperty("code").GetString());
    }

    public override async Task<string> ReadAsync()
    {
        string message;
        do
        {
            message = await _uplink.ReadAsync();
        } while (message.StartsWith(':'));

        var lines = message.Split('\n');
        Assert.Equal("event: dmb:uplink", lines[0]);
        return lines[1]["data: ".Length..];
    }

    public override async Task FreeAsync()
    {
        using var response = await Http.DeleteAsync(new Uri(_node, $"/register/backend/{Bkid}"));
        Assert.Equal(HttpStatusCode.NoContent, response.StatusCode);
    }

    protected override ValueTask EndAsync()
    {
        _uplink.Dispose();
        return ValueTask.CompletedTask;
    }
}

internal sealed class SocketBackend : TestBackend
{
    private readonly TestClient _client;

    private SocketBackend(string bkid, TestClient client)
        : base(bkid) => _client = client;

    public static async Task<SocketBackend> RegisterAsync(Uri node, string name, string? bkid)
    {
        var client = await TestClient.ConnectAsync(new Uri(node, "/ws"));
        await client.ReadAsync();
        var ack = await client.AckAsync("dmb:reconnect", $$"""{"name":"{{name}}","bkid":{{OrNull(bkid)}}}""");
        Assert.Contains("\"ok\":true", ack, StringComparison.Ordinal);
        var own = JsonElement.Parse(ack).GetProperty("data").GetProperty("bkid").GetString()!;
        Assert.Equal($$$"""{"event":"dmb:connected","data":{"bkid":"{{{own}}}"}}""", await client.ReadAsync());
        return new SocketBackend(own, client);
    }

    public override async Task<Ack> SendAsync(string? user, string data, string? id = null)
    {
        var ack = await _client.AckAsync(
            user is null ? "dmb:broadcast" : "dmb:direct",
            $$"""{"data":{{data}}{{To(user, "user")}}{{WithId(id)}}}"""
        );
        return Read(JsonElement.Parse(ack).TryGetProperty("data", out var done) ? done.GetRawText() : ack);
    }

    public override async Task<string> ReadAsync()
    {
        string frame;
        do
        {
            frame = await _client.ReadAsync();
        } while (frame.StartsWith("""{"event":"backplane",""", StringComparison.Ordinal));

        const string Start = """{"event":"dmb:uplink","data":""";
        Assert.StartsWith(Start, frame, StringComparison.Ordinal);
        return frame[Start.Length..frame.LastIndexOf(",\"id\":", StringComparison.Ordinal)];
    }

    public override async Task FreeAsync() =>
        Assert.Contains("\"ok\":true", await _client.AckAsync("dmb:disconnect", "null"), StringComparison.Ordinal);

    protected override ValueTask EndAsync() => _client.DisposeAsync();
}

internal sealed class RedisBackend : TestBackend
{
    private readonly RedisClient _commands;
    private readonly RedisClient _acks;
    private readonly RedisClient _uplink;

    private RedisBackend(string bkid, RedisClient commands, RedisClient acks, RedisClient uplink)
        : base(bkid) => (_commands, _acks, _uplink) = (commands, acks, uplink);

    public static async Task<RedisBackend> RegisterAsync(RedisServer redis, string name, string? bkid)
    {
        var (commands, acks, uplink) = (await redis.OpenAsync(), await redis.OpenAsync(), await redis.OpenAsync());
        await uplink.SubscribeAsync("dmb:uplink");
        var inbox = "inbox:" + Guid.NewGuid();
        await acks.SubscribeAsync(inbox);
        await commands.CommandAsync(
            "PUBLISH",
            "dmb:register",
            $$"""{"type":"bk_connect","name":"{{name}}","reply_to":"{{inbox}}","bkid":{{OrNull(bkid)}}}"""
        );
        var (_, ack) = await acks.ReadMessageAsync();
        Assert.Contains("\"ok\":true", ack, StringComparison.Ordinal);
        var own = JsonElement.Parse(ack).GetProperty("bkid").GetString()!;
        await acks.SubscribeAsync($"dmb:{own}:ack");
        return new RedisBackend(own, commands, acks, uplink);
    }

    public override async Task<Ack> SendAsync(string? user, string data, string? id = null)
    {
        await _commands.CommandAsync(
            "PUBLISH",
            "dmb:" + Bkid,
            $$"""{"type":"bk_message"{{WithId(id)}}{{To(user, "to")}},"data":{{data}}}"""
        );
        return Read((await _acks.ReadMessageAsync()).Body);
    }

    public override async Task<string> ReadAsync()
    {
        while (true)
        {
            // All backends hear of all users.
            var (_, uplink) = await _uplink.ReadMessageAsync();
            if (uplink.Contains($"\"bkid\":\"{Bkid}\"", StringComparison.Ordinal))
            {
                return uplink;
            }
        }
    }

    public override async Task FreeAsync()
    {
        await _commands.CommandAsync("PUBLISH", "dmb:register", $$"""{"type":"bk_disconnect","bkid":"{{Bkid}}"}""");
        Assert.Equal(
            $$"""{"type":"bk_disconnect_ack","bkid":"{{Bkid}}","ok":true}""",
            (await _acks.ReadMessageAsync()).Body
        );
    }

    protected override ValueTask EndAsync()
    {
        foreach (var client in (RedisClient[])[_commands, _acks, _uplink])
        {
            client.Dispose();
        }

        return ValueTask.CompletedTask;
    }
}
