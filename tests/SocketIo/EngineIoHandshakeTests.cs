using System.Text.Json;

namespace Dmb.Tests.SocketIo;

/// <summary>How a session of Engine.IO is opened, and what is refused (docs/protocol.md §5).</summary>
public sealed class EngineIoHandshakeTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private readonly Node _node = fixture.Node;

    [Theory]
    [InlineData(3, "sid upgrades pingInterval pingTimeout")]
    [InlineData(4, "sid upgrades pingInterval pingTimeout maxPayload")]
    public async Task A_session_is_opened_by_polling(int version, string members)
    {
        await using var client = await PollingClient.OpenAsync(_node, version);

        Assert.Equal(members, string.Join(' ', client.Open.EnumerateObject().Select(member => member.Name)));
        Assert.Equal("""["websocket"]""", client.Open.GetProperty("upgrades").GetRawText());
        Assert.Equal(25_000, client.Open.GetProperty("pingInterval").GetInt32());
        Assert.Equal(20_000, client.Open.GetProperty("pingTimeout").GetInt32());
        Assert.Equal("text/plain; charset=UTF-8", client.Opening.Headers["Content-Type"]);
        Assert.Equal("no-store", client.Opening.Headers["Cache-Control"]);
        Assert.DoesNotContain("Set-Cookie", client.Opening.Headers.Keys);
    }

    [Theory]
    [InlineData(3, "sid upgrades pingInterval pingTimeout")]
    [InlineData(4, "sid upgrades pingInterval pingTimeout maxPayload")]
    public async Task A_session_is_opened_on_a_socket(int version, string members)
    {
        await using var client = await TestClient.ConnectAsync(
            new Uri(_node.Url, PollingClient.Path(version, "websocket"))
        );
        var packet = await client.ReadAsync();

        Assert.Equal('0', packet[0]);
        var open = JsonElement.Parse(packet[1..]);
        Assert.Equal(members, string.Join(' ', open.EnumerateObject().Select(member => member.Name)));
        Assert.Equal("[]", open.GetProperty("upgrades").GetRawText());
    }

    [Theory]
    [InlineData("GET", "transport=polling", 5, "Unsupported protocol version")]
    [InlineData("GET", "EIO=abc&transport=polling", 5, "Unsupported protocol version")]
    [InlineData("GET", "EIO=5&transport=polling", 5, "Unsupported protocol version")]
    [InlineData("GET", "EIO=1&transport=polling", 5, "Unsupported protocol version")]
    [InlineData("GET", "EIO=4", 0, "Transport unknown")]
    [InlineData("GET", "EIO=4&transport=abc", 0, "Transport unknown")]
    [InlineData("GET", "EIO=4&transport=jsonp", 0, "Transport unknown")]
    [InlineData("POST", "EIO=4&transport=polling", 2, "Bad handshake method")]
    [InlineData("PUT", "EIO=4&transport=polling", 2, "Bad handshake method")]
    [InlineData("GET", "EIO=4&transport=websocket", 3, "Bad request")]
    [InlineData("GET", "EIO=4&transport=polling&sid=none", 1, "Session ID unknown")]
    [InlineData("POST", "EIO=4&transport=polling&sid=none", 1, "Session ID unknown")]
    public async Task A_bad_handshake_is_refused_with_its_code(string method, string query, int code, string message)
    {
        var answer = await RawHttp.AskAsync(_node, $"{method} /socket.io/?{query}");

        Assert.Equal((400, $$"""{"code":{{code}},"message":"{{message}}"}"""), (answer.Status, answer.Body));
        Assert.Equal("application/json", answer.Headers["Content-Type"]);
    }

    [Theory]
    [InlineData("transport=websocket")]
    [InlineData("EIO=abc&transport=websocket")]
    [InlineData("EIO=4")]
    [InlineData("EIO=4&transport=abc")]
    [InlineData("EIO=4&transport=polling")]
    [InlineData("EIO=4&transport=websocket&sid=none")]
    public async Task A_bad_handshake_of_a_socket_is_refused(string query)
    {
        var refused = await Assert.ThrowsAsync<IOException>(() =>
            TestClient.ConnectAsync(new Uri(_node.Url, "/socket.io/?" + query))
        );
        Assert.StartsWith("HTTP/1.1 400 ", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Protocol_2_is_served_as_3_and_the_path_may_end_without_its_slash()
    {
        await using var client = await PollingClient.OpenAsync(_node, 2);
        Assert.Matches("""^\d+:0\{"sid":""", client.Opening.Body);

        var answer = await RawHttp.AskAsync(_node, "GET /socket.io?EIO=5&transport=polling");
        Assert.Equal("""{"code":5,"message":"Unsupported protocol version"}""", answer.Body);
    }

    [Theory]
    [InlineData("GET")]
    [InlineData("POST")]
    [InlineData("OPTIONS")]
    public async Task A_foreign_origin_is_forbidden(string method)
    {
        var answer = await RawHttp.AskAsync(
            _node,
            $"{method} {PollingClient.Path(4, "polling")}",
            "",
            "Origin: https://evil.example"
        );

        Assert.Equal((403, """{"code":4,"message":"Forbidden"}"""), (answer.Status, answer.Body));
        Assert.DoesNotContain("Access-Control-Allow-Origin", answer.Headers.Keys);
    }

    [Fact]
    public async Task A_foreign_origin_is_forbidden_on_a_socket_and_with_a_sid()
    {
        await using var client = await PollingClient.OpenAsync(_node, 4);
        var refused = await Assert.ThrowsAsync<IOException>(() =>
            TestClient.ConnectAsync(
                new Uri(_node.Url, PollingClient.Path(4, "websocket")),
                ("Origin", "https://evil.example")
            )
        );
        Assert.StartsWith("HTTP/1.1 403 ", refused.Message, StringComparison.Ordinal);
        Assert.Equal(403, (await client.PostAsync("40", "Origin: https://evil.example")).Status);
    }

    [Fact]
    public async Task An_allowed_origin_is_echoed_with_its_credentials()
    {
        var origin = $"http://localhost:{_node.Port}";
        await using var client = await PollingClient.OpenAsync(_node, 4, "Origin: " + origin);
        RawAnswer[] answers =
        [
            client.Opening,
            await client.PostAsync("40"),
            await client.GetAsync(),
            await client.PostAsync("abc"),
            await RawHttp.AskAsync(_node, "OPTIONS " + client.Target, "", "Origin: " + origin),
        ];

        Assert.Equal([200, 200, 200, 400, 204], answers.Select(answer => answer.Status));
        foreach (var answer in answers)
        {
            Assert.Equal(origin, answer.Headers["Access-Control-Allow-Origin"]);
            Assert.Equal("true", answer.Headers["Access-Control-Allow-Credentials"]);
            Assert.Contains("Origin", answer.Headers["Vary"], StringComparison.Ordinal);
        }
    }
}
