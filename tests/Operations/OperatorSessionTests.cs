using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Operations;

/// <summary>The operator's API: sessions are seen, moved and closed.</summary>
public sealed class OperatorSessionTests : IAsyncLifetime
{
    private Node _node = null!;

    public async ValueTask InitializeAsync() => _node = await Node.StartAsync(("HistorySize", "100"));

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task A_node_counts_its_sessions_by_transport_where_it_is_asked()
    {
        await using var client = await _node.ConnectAsync();
        using var stream = await EventReader.OpenAsync(_node, "calls");

        var node = Assert.Single(Items(await GetAsync("/nodes?transports=1")));

        Assert.Equal(
            ["sse 1", "websocket 1"],
            node.GetProperty("transports").EnumerateObject().Select(one => $"{one.Name} {one.Value}").Order()
        );
    }

    [Fact]
    public async Task Sessions_are_listed_newest_first_with_their_counts()
    {
        await using var client = await TestClient.ConnectAsync(new Uri(_node.Url, "/ws"), ("User-Agent", "desk/1"));
        var id = JsonElement.Parse(await client.ReadAsync()).GetProperty("data").GetProperty("id").GetString();
        await client.AckAsync("subscribe", "\"calls\"");
        await client.ReadAllAsync();
        _node.Time.Advance(TimeSpan.FromSeconds(1));
        using var stream = await EventReader.OpenAsync(_node, "calls");

        var sessions = Items(await GetAsync("/sessions?room=calls"));
        Assert.Equal(["sse", "websocket"], sessions.Select(session => Text(session, "transport")));
        var session = sessions[1];
        Assert.Equal(
            [
                "session",
                "user",
                "node",
                "address",
                "transport",
                "agent",
                "since",
                "rooms",
                "queued",
                "sent",
                "delivered",
            ],
            session.EnumerateObject().Select(member => member.Name)
        );
        Assert.Equal(
            (id, "127.0.0.1", "desk/1"),
            (Text(session, "session"), Text(session, "address"), Text(session, "agent"))
        );
        Assert.Equal(
            ["calls", "public"],
            session.GetProperty("rooms").EnumerateArray().Select(room => room.GetString())
        );
        Assert.True(session.GetProperty("sent").GetInt64() >= 1);
        Assert.True(session.GetProperty("delivered").GetInt64() >= 3);

        var first = await GetAsync("/sessions?limit=1");
        Assert.Equal("sse", Text(Assert.Single(Items(first)), "transport"));
        var next = await GetAsync("/sessions?limit=1&after=" + first.GetProperty("next").GetString());
        Assert.Equal(id, Text(Assert.Single(Items(next)), "session"));
        Assert.Empty(Items(await GetAsync("/sessions?address=10.0.0.1")));
        Assert.Equal(2, Items(await GetAsync("/rooms/calls/sessions")).Length);
    }

    [Fact]
    public async Task A_session_is_closed_with_the_operators_reason()
    {
        await using var client = await _node.JoinAsync("calls");
        var id = Text(Assert.Single(Items(await GetAsync("/sessions"))), "session");
        Assert.Equal(HttpStatusCode.BadRequest, await SendAsync("DELETE", $"/sessions/{id}?code=1000"));
        Assert.Equal(HttpStatusCode.NoContent, await SendAsync("DELETE", $"/sessions/{id}"));
        await Expect.ClosedAsync(4001, reconnect: false, client);
        await client.SendFrameAsync(Frame.Close, [0x0f, 0xa1]);
        await client.ReadEndAsync();
        await _node.UntilSessionsInAsync("calls", 0);
        Assert.Equal(HttpStatusCode.NotFound, await SendAsync("DELETE", $"/sessions/{id}"));
    }

    [Fact]
    public async Task A_session_joins_and_leaves_at_an_operators_command()
    {
        await using var client = await _node.ConnectAsync();
        var id = Text(Assert.Single(Items(await GetAsync("/sessions"))), "session");
        Assert.Equal(HttpStatusCode.NoContent, await SendAsync("PUT", $"/sessions/{id}/rooms/endpoint%3A1%2F2"));
        Assert.Equal("""{"event":"joined","data":"endpoint:1/2"}""", await client.ReadAsync());
        await _node.NotifyAsync("call", """{"_in":"endpoint:1/2"}""");
        Assert.StartsWith("""{"event":"call",""", await client.ReadAsync(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NoContent, await SendAsync("DELETE", $"/sessions/{id}/rooms/endpoint:1%2F2"));
        Assert.Equal("""{"event":"left","data":"endpoint:1/2"}""", await client.ReadAsync());
        Assert.Equal(HttpStatusCode.BadRequest, await SendAsync("PUT", $"/sessions/{id}/rooms/a%20b"));
        Assert.Equal(HttpStatusCode.NotFound, await SendAsync("PUT", "/sessions/none/rooms/support"));
    }

    private async Task<JsonElement> GetAsync(string path) =>
        await _node.Http.GetFromJsonAsync<JsonElement>(new Uri(_node.Url, path));

    private async Task<HttpStatusCode> SendAsync(string method, string path)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), new Uri(_node.Url, path));
        using var answer = await _node.Http.SendAsync(request);
        return answer.StatusCode;
    }

    private static JsonElement[] Items(JsonElement answer) => [.. answer.GetProperty("items").EnumerateArray()];

    private static string Text(JsonElement item, string member) => item.GetProperty(member).GetString()!;
}
