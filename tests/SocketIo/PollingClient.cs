using System.Globalization;
using System.Text.Json;

namespace Dmb.Tests.SocketIo;

/// <summary>A client of Engine.IO that polls, one request a connection, so that it can also misbehave.</summary>
internal sealed class PollingClient : IAsyncDisposable
{
    private readonly Node _node;
    private readonly int _version;
    private readonly string[] _headers;
    private readonly Queue<string> _packets = new();

    private PollingClient(Node node, int version, string[] headers, RawAnswer opening)
    {
        (_node, _version, _headers) = (node, version, headers);
        Assert.True(opening.Status == 200, $"{opening.Status} {opening.Body}");
        Opening = opening;
        Keep(opening.Body);
        Open = JsonElement.Parse(_packets.Dequeue()[1..]);
        Sid = Open.GetProperty("sid").GetString()!;
    }

    /// <summary>The answer to the handshake.</summary>
    public RawAnswer Opening { get; }

    /// <summary>The content of the open packet.</summary>
    public JsonElement Open { get; }

    public string Sid { get; }

    /// <summary>What its requests ask for.</summary>
    public string Target => Path(_version, "polling") + "&sid=" + Sid;

    /// <summary>Opens a session, of protocol 4 without its CONNECT.</summary>
    public static async Task<PollingClient> OpenAsync(Node node, int version, params string[] headers) =>
        new(node, version, headers, await RawHttp.AskAsync(node, "GET " + Path(version, "polling"), "", headers));

    /// <summary>Opens a session, connects, and reads the welcome.</summary>
    public static async Task<PollingClient> ConnectAsync(Node node, int version, params string[] headers)
    {
        var client = await OpenAsync(node, version, headers);
        if (version == 4)
        {
            await client.SendAsync("40");
            Assert.StartsWith("40{\"sid\":", await client.ReadAsync(), StringComparison.Ordinal);
        }
        else
        {
            Assert.Equal("40", await client.ReadAsync());
        }

        Assert.StartsWith("""42["welcome",{"id":""", await client.ReadAsync(), StringComparison.Ordinal);
        return client;
    }

    public static string Path(int version, string transport) =>
        string.Create(CultureInfo.InvariantCulture, $"/socket.io/?EIO={version}&transport={transport}");

    /// <summary>One GET.</summary>
    public Task<RawAnswer> GetAsync() => RawHttp.AskAsync(_node, "GET " + Target, "", _headers);

    /// <summary>One POST.</summary>
    public Task<RawAnswer> PostAsync(string body, params string[] headers) =>
        RawHttp.AskAsync(_node, "POST " + Target, body, [.. _headers, .. headers]);

    /// <summary>A GET that is sent, and whose answer is still to be read.</summary>
    public Task<RawHttp> BeginGetAsync() => BeginAsync("GET", "");

    /// <summary>A POST of which the head and this part of a body of 10 bytes is sent, and is being read.</summary>
    public async Task<RawHttp> BeginPostAsync(string part)
    {
        var http = await BeginAsync("POST", part);
        Assert.Equal(100, (await http.ReadAsync()).Status);
        return http;
    }

    /// <summary>Posts packets, which are taken.</summary>
    public async Task SendAsync(params string[] packets)
    {
        var answer = await PostAsync(Encode(packets));
        Assert.Equal((200, "ok"), (answer.Status, answer.Body));
    }

    /// <summary>The next packet; polls if none is left.</summary>
    public async Task<string> ReadAsync()
    {
        while (_packets.Count == 0)
        {
            var answer = await GetAsync();
            Assert.True(answer.Status == 200, $"{answer.Status} {answer.Body}");
            Keep(answer.Body);
        }

        return _packets.Dequeue();
    }

    /// <summary>A payload of these packets.</summary>
    public string Encode(params string[] packets) =>
        _version == 4
            ? string.Join('\x1e', packets)
            : string.Concat(
                packets.Select(packet => packet.Length.ToString(CultureInfo.InvariantCulture) + ":" + packet)
            );

    /// <summary>The packets of a payload.</summary>
    public IEnumerable<string> Decode(string payload)
    {
        if (_version == 4)
        {
            return payload.Split('\x1e');
        }

        var packets = new List<string>();
        while (payload.Length > 0)
        {
            var colon = payload.IndexOf(':', StringComparison.Ordinal);
            var end = colon + 1 + int.Parse(payload[..colon], CultureInfo.InvariantCulture);
            packets.Add(payload[(colon + 1)..end]);
            payload = payload[end..];
        }

        return packets;
    }

    /// <summary>Closes the session, if there is one: a node that stops would wait for the next GET.</summary>
    public async ValueTask DisposeAsync() => await PostAsync(Encode("1"));

    private void Keep(string payload)
    {
        foreach (var packet in Decode(payload))
        {
            _packets.Enqueue(packet);
        }
    }

    private async Task<RawHttp> BeginAsync(string method, string part)
    {
        var http = await RawHttp.ConnectAsync(_node);
        var length = method == "POST" ? "\nExpect: 100-continue\nContent-Length: 10" : "";
        await http.SendAsync(
            $"{method} {Target} HTTP/1.1\nHost: localhost:{_node.Port}{length}",
            System.Text.Encoding.UTF8.GetBytes(part)
        );
        return http;
    }
}
