using System.Globalization;
using System.Text.Json;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Access;

/// <summary>docs/protocol.md §10 on sockets and streams: who opens them, who they are, and until when.</summary>
public sealed class SocketAccessTests(GuardedNode guarded) : IClassFixture<GuardedNode>
{
    private const string Role = "\"roles\":[\"endpoint:1234\",\"endpoint:5678\"]";
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task A_token_among_the_subprotocols_is_the_caller_and_never_the_answer()
    {
        var token = guarded.TokenOf("ann", Role);
        await using var client = await guarded.Node.ConnectAsync(("Sec-WebSocket-Protocol", $"dmb.v1, bearer.{token}"));
        Assert.Equal("dmb.v1", client.Header("Sec-WebSocket-Protocol"));
        Expect.Accepted(await client.AckAsync("subscribe", "\"endpoint:1234\""));
        Expect.Refused("forbidden_room", await client.AckAsync("subscribe", "\"endpoint:99\""));

        await using var only = await guarded.Node.ConnectAsync(("Sec-WebSocket-Protocol", $"bearer.{token}"));
        Assert.Null(only.Header("Sec-WebSocket-Protocol"));
        Expect.Accepted(await only.AckAsync("subscribe", "\"endpoint:1234\""));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_token_in_the_query_is_taken_only_where_that_is_allowed(bool isAllowed)
    {
        await using var node = await GuardedNode.StartAsync(("TokenInQuery", isAllowed ? "true" : "false"));
        var token = Token.Of("ann", node.Time.GetUtcNow().AddHours(1), Role);
        var answer = await RawHttp.AskAsync(node, $"GET /rooms/endpoint:1234?access_token={token}");
        Assert.Equal(isAllowed ? 200 : 401, answer.Status);

        await using var client = await TestClient.ConnectAsync(new Uri(node.Url, $"/ws?access_token={token}"));
        if (isAllowed)
        {
            await client.ReadAsync();
            Expect.Accepted(await client.AckAsync("subscribe", "\"endpoint:1234\""));
        }
        else
        {
            await Expect.ClosedAsync(4000, reconnect: false, client);
        }
    }

    [Theory]
    [InlineData("Authorization", "Bearer wrong")]
    [InlineData("X-Api-Key", "wrong")]
    [InlineData("Sec-WebSocket-Protocol", "dmb.v1, bearer.a.b.c")]
    public async Task A_handshake_with_bad_credentials_is_told_so_by_its_close(string header, string value)
    {
        await using var client = await TestClient.ConnectAsync(new Uri(guarded.Node.Url, "/ws"), (header, value));
        await Expect.ClosedAsync(4000, reconnect: false, client);
    }

    [Fact]
    public async Task A_handshake_with_an_expired_token_is_told_to_get_a_new_one()
    {
        var token = Token.Of("ann", guarded.Node.Time.GetUtcNow().AddSeconds(-1));
        await using var client = await TestClient.ConnectAsync(new Uri(guarded.Node.Url, "/ws"), ("Authorization", "Bearer " + token));
        await Expect.ClosedAsync(4103, reconnect: true, client);
    }

    [Fact]
    public async Task A_socket_without_credentials_is_nobody_s_and_becomes_somebody_s()
    {
        await using var client = await TestClient.ConnectAsync(new Uri(guarded.Node.Url, "/ws"));
        Assert.True(JsonElement.Parse(await client.ReadAsync()).GetProperty("data").GetProperty("public").GetBoolean());
        Expect.Refused("unauthenticated", await client.AckAsync("subscribe", "\"endpoint:1234\""));
        Expect.Refused("unauthenticated", await client.AckAsync("call", "1"));
        await client.SendAsync("""{"event":"dmb:connect","data":{}}""");
        Expect.Failed("unauthenticated", await client.ReadAsync());

        var end = guarded.Node.Time.GetUtcNow().AddHours(1);
        var ack = await client.AckAsync("auth", Auth(Token.Of("ann", end, Role)));
        Assert.EndsWith(
            $$$""","ok":true,"data":{"name":"ann","expires":"{{{end.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture)}}}"}}""", ack, StringComparison.Ordinal);
        Expect.Accepted(await client.AckAsync("subscribe", "\"endpoint:1234\""));
        Expect.Refused("forbidden_publish", await client.AckAsync("call", "1"));

        await using var known = await guarded.ConnectAsync("user");
        await using var host = await guarded.ConnectAsync("admin key");
        Assert.EndsWith(""","data":{"name":"admin"}}""", await host.AckAsync("auth", Auth(GuardedNode.SecretOf("admin"))), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, "wrong", 4000)]
    [InlineData(false, "eyJ.e30.x", 4000)]
    [InlineData(true, null, 4103)]
    public async Task An_auth_frame_that_is_not_accepted_closes_a_socket_that_was_nobody_s(bool isExpired, string? token, int code)
    {
        await using var client = await guarded.ConnectAsync("nobody");
        token ??= Token.Of("ann", guarded.Node.Time.GetUtcNow());
        await client.SendAsync($$"""{"event":"auth","data":{{Auth(token)}}}""");
        await Expect.ClosedAsync(code, reconnect: isExpired, client);
    }

    [Fact]
    public async Task An_auth_frame_without_a_token_is_a_bad_frame()
    {
        await using var client = await guarded.ConnectAsync("nobody");
        Expect.Refused("bad_frame", await client.AckAsync("auth", "{}"));
        Expect.Refused("bad_frame", await client.AckAsync("auth", "\"token\""));
    }

    [Fact]
    public async Task A_socket_that_says_nothing_is_closed_after_its_time_and_one_that_may_stay_is_not()
    {
        await using var node = await GuardedNode.StartAsync(("AuthTimeout", "7"));
        await using var client = await node.ConnectAsync();
        node.Time.Advance(7 * Second - TimeSpan.FromMilliseconds(1));
        Expect.Refused("unauthenticated", await client.AckAsync("call", "1"));
        node.Time.Advance(Second);
        await Expect.ClosedAsync(4000, reconnect: false, client);

        await using var open = await GuardedNode.StartAsync(("AuthTimeout", "7"), ("Anonymous", "true"));
        await using var staying = await open.ConnectAsync();
        open.Time.Advance(20 * Second);
        Expect.Refused("unauthenticated", await staying.AckAsync("subscribe", "\"support\""));
        Expect.Accepted(await staying.AckAsync("subscribe", "\"public\""));
    }

    [Fact]
    public async Task Sockets_and_streams_end_with_their_token_unless_it_is_renewed()
    {
        await using var node = await GuardedNode.StartAsync();
        var end = node.Time.GetUtcNow().AddSeconds(30);
        var token = Token.Of("ann", end, Role);
        await using var ending = await node.ConnectAsync(("Authorization", "Bearer " + token));
        await using var renewed = await node.ConnectAsync(("Authorization", "Bearer " + token));
        using var stream = await EventReader.OpenAsync(node.Http, new Uri(node.Url, "/events?room=endpoint:1234"), "Authorization", "Bearer " + token);
        Assert.Equal(": connected", await stream.ReadAsync());

        node.Time.Advance(29 * Second);
        Expect.Accepted(await ending.AckAsync("subscribe", "\"endpoint:1234\""));
        Expect.Accepted(await renewed.AckAsync("auth", Auth(Token.Of("ann", end.AddSeconds(60), Role))));
        await ending.ReadAllAsync();
        node.Time.Advance(2 * Second);
        await Expect.ClosedAsync(4103, reconnect: true, ending);
        string bye;
        do
        {
            bye = await stream.ReadAsync();
        }
        while (bye.StartsWith(':'));
        Assert.Matches("""^event: bye\ndata: \{"code":4103,"reconnect":true,"after_ms":0}$""", bye);
        await Assert.ThrowsAsync<EndOfStreamException>(stream.ReadAsync);

        Expect.Accepted(await renewed.AckAsync("subscribe", "\"endpoint:1234\""));
        await renewed.ReadAllAsync();
        node.Time.Advance(40 * Second);
        Expect.Accepted(await renewed.AckAsync("unsubscribe", "\"endpoint:1234\""));
        node.Time.Advance(20 * Second);
        await Expect.ClosedAsync(4103, reconnect: true, renewed);
    }

    [Fact]
    public async Task A_session_stays_who_it_is()
    {
        await using var client = await guarded.ConnectAsync("with the role");
        Expect.Accepted(await client.AckAsync("subscribe", "\"endpoint:1234\""));
        foreach (var other in new[] { guarded.TokenOf("bob", Role), GuardedNode.SecretOf("admin"), "wrong" })
        {
            Expect.Refused("unauthenticated", await client.AckAsync("auth", Auth(other)));
        }

        Expect.Refused("token_expired", await client.AckAsync("auth", Auth(Token.Of("ann", guarded.Node.Time.GetUtcNow()))));
        await client.ReadAllAsync();
        await PushAsync("""{"_in":["endpoint:1234"]}""");
        Assert.Equal("""{"_in":["endpoint:1234"]}""", await client.ReadDataAsync("call"));
    }

    [Fact]
    public async Task A_renewal_leaves_the_rooms_that_it_does_not_give()
    {
        await using var client = await guarded.Node.ConnectAsync(("Authorization", "Bearer " + guarded.TokenOf("ann", Role)));
        await client.AckAsync("subscribe", """["endpoint:1234","endpoint:5678","everyone"]""");
        await client.ReadAllAsync();
        Expect.Accepted(await client.AckAsync("auth", Auth(guarded.TokenOf("ann", "\"roles\":[\"endpoint:5678\"]"))));
        Assert.Equal(["""{"event":"left","data":"endpoint:1234"}"""], await client.ReadAllAsync());

        await PushAsync("""{"_in":["endpoint:1234"]}""");
        await PushAsync("""{"_in":["endpoint:5678"]}""");
        Assert.Equal("""{"_in":["endpoint:5678"]}""", await client.ReadDataAsync("call"));
    }

    [Fact]
    public async Task A_renewal_that_withdraws_admin_closes()
    {
        await using var client = await guarded.Node.ConnectAsync(("Authorization", "Bearer " + guarded.TokenOf("ann", "\"admin\":true")));
        Expect.Accepted(await client.AckAsync("subscribe", "\"support\""));
        await client.SendAsync($$"""{"event":"auth","data":{{Auth(guarded.TokenOf("ann"))}}}""");
        await Expect.ClosedAsync(4103, reconnect: true, client);
    }

    [Fact]
    public async Task A_node_that_asks_nobody_answers_auth_as_if_it_had()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        Assert.EndsWith(""","ok":true,"data":{"name":""}}""", await client.AckAsync("auth", Auth("whatever")), StringComparison.Ordinal);
        Expect.Published(await client.AckAsync("call", "1"));
    }

    [Fact]
    public async Task What_a_user_says_goes_to_its_service_alone_whatever_rooms_it_names()
    {
        await using var backend = await guarded.ConnectAsync("admin key");
        await backend.AckAsync("dmb:reconnect", """{"name":"desk"}""");
        var bkid = JsonElement.Parse((await backend.ReadAllAsync())[^1]).GetProperty("data").GetProperty("bkid").GetString();
        await using var watching = await guarded.ConnectAsync("read");
        await watching.AckAsync("subscribe", """["endpoint:1234","support","calls"]""");
        await watching.ReadAllAsync();

        await using var user = await guarded.ConnectAsync("with the role");
        Expect.Accepted(await user.AckAsync("dmb:connect", $$"""{"service":"{{bkid}}","user":"ann"}"""));
        const string Said = """{"_in":["endpoint:1234","support"],"endpoint":"1234"}""";
        Expect.Published(await user.AckAsync("dmb:message", $$"""{"data":{{Said}},"_in":["calls"]}"""));
        await backend.ReadAsync();
        Assert.Contains($"\"data\":{Said}", await backend.ReadAsync(), StringComparison.Ordinal);
        Assert.Empty(await watching.ReadAllAsync());
    }

    private static string Auth(string token) => $$"""{"token":"{{token}}"}""";

    private async Task PushAsync(string data)
    {
        using var pushed = await guarded.AskAsync("POST", "/_notify/call", "publish", data);
        pushed.EnsureSuccessStatusCode();
    }
}
