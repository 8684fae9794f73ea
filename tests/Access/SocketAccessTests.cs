using System.Text.Json;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Access;

/// <summary>
/// docs/protocol.md §10: how a client of <c>/ws</c> and of <c>/events</c> says who it is, and for how long.
/// </summary>
public sealed class SocketAccessTests(GuardedNode guarded) : IClassFixture<GuardedNode>
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    // So that clients that don't read while the clock is moved are not taken for silent.
    private static readonly (string, string)[] Patient =
    [
        ("SilentTimeout", "7200"),
        ("PingInterval", "3600"),
        ("CommentInterval", "3600"),
    ];

    private Node Node => guarded.Node;

    [Fact]
    public async Task A_token_is_accepted_as_a_subprotocol_and_not_echoed()
    {
        await using var client = await TestClient.ConnectAsync(
            new Uri(Node.Url, "/ws"),
            ("Sec-WebSocket-Protocol", $"dmb.v1, bearer.{guarded.TokenOf("ann")}")
        );
        Assert.Equal("dmb.v1", client.Header("Sec-WebSocket-Protocol"));
        await IsWelcomeAsync(client, isPublic: false);
        Expect.Accepted(await client.AckAsync("subscribe", "\"everyone\""));

        await using var alone = await TestClient.ConnectAsync(
            new Uri(Node.Url, "/ws"),
            ("Sec-WebSocket-Protocol", $"bearer.{guarded.TokenOf("ann")}")
        );
        Assert.Null(alone.Header("Sec-WebSocket-Protocol"));
        await IsWelcomeAsync(alone, isPublic: false);

        await using var key = await TestClient.ConnectAsync(
            new Uri(Node.Url, "/ws"),
            ("Sec-WebSocket-Protocol", $"bearer.{GuardedNode.SecretOf("read")}, dmb.v1")
        );
        Assert.Equal("dmb.v1", key.Header("Sec-WebSocket-Protocol"));
        await IsWelcomeAsync(key, isPublic: false);
    }

    [Fact]
    public async Task A_token_in_the_URL_is_accepted_only_if_configured()
    {
        await using var node = await GuardedNode.StartAsync(("TokenInQuery", "true"));
        var token = Token.Of("ann", node.Time.GetUtcNow().AddHours(1));
        await using var taken = await TestClient.ConnectAsync(new Uri(node.Url, $"/ws?access_token={token}"));
        await IsWelcomeAsync(taken, isPublic: false);
        Expect.Accepted(await taken.AckAsync("subscribe", "\"everyone\""));
        using var stream = await EventReader.OpenAsync(
            node.Http,
            new Uri(node.Url, $"/events?room=everyone&access_token={token}")
        );
        Assert.Equal(": connected", await stream.ReadAsync());
        await using var key = await TestClient.ConnectAsync(
            new Uri(node.Url, $"/ws?access_token={GuardedNode.SecretOf("admin")}")
        );
        await Expect.ClosedAsync(4000, reconnect: false, key);

        await using var refused = await TestClient.ConnectAsync(
            new Uri(Node.Url, $"/ws?access_token={guarded.TokenOf("ann")}")
        );
        await Expect.ClosedAsync(4000, reconnect: false, refused);
        (await RawHttp.AskAsync(Node, $"GET /events?room=everyone&access_token={guarded.TokenOf("ann")}")).IsProblem(
            401,
            "unauthenticated"
        );
    }

    [Fact]
    public async Task Bad_credentials_are_answered_with_bye_and_a_close_code()
    {
        var expired = Token.Of("ann", Node.Time.GetUtcNow());
        (string, string, int)[] cases =
        [
            ("Authorization", "Bearer nobody", 4000),
            ("X-Api-Key", "nobody", 4000),
            ("Authorization", $"Bearer {expired[..^4]}", 4000),
            ("Authorization", "nonsense", 4000),
            ("Sec-WebSocket-Protocol", "dmb.v1, bearer.nobody", 4000),
            ("Sec-WebSocket-Protocol", "dmb.v1, bearer.", 4000),
            ("Authorization", $"Bearer {expired}", 4103),
            ("Sec-WebSocket-Protocol", $"dmb.v1, bearer.{expired}", 4103),
        ];
        foreach (var (name, value, code) in cases)
        {
            await using var client = await TestClient.ConnectAsync(new Uri(Node.Url, "/ws"), (name, value));
            await Expect.ClosedAsync(code, reconnect: code == 4103, client);
        }

        await Node.UntilSessionsInAsync("public", 0);
    }

    [Fact]
    public async Task An_anonymous_session_may_only_receive_public()
    {
        await using var client = await TestClient.ConnectAsync(new Uri(Node.Url, "/ws"));
        await IsWelcomeAsync(client, isPublic: true);
        (string, string)[] frames =
        [
            ("subscribe", "\"everyone\""),
            ("join", "\"endpoint:1\""),
            ("configure", "{\"calls\":true}"),
            ("register", "{\"event\":\"mine\"}"),
            ("ping", "1"),
            ("shout", "1"),
            ("notify_users", "1"),
            ("call", "1"),
            ("no_such_event", "1"),
            ("dmb:connect", "{\"service\":\"a\",\"user\":\"ann\"}"),
            ("dmb:message", "{\"data\":1}"),
            ("dmb:reconnect", "{\"name\":\"billing\"}"),
            ("dmb:broadcast", "{\"data\":1}"),
            ("dmb:direct", "{\"user\":\"ann\",\"data\":1}"),
            ("dmb:disconnect", "null"),
        ];
        foreach (var (name, data) in frames)
        {
            Expect.Refused("unauthenticated", await client.AckAsync(name, data));
        }

        Assert.Empty(await client.ReadAllAsync());
        Expect.Accepted(await client.AckAsync("subscribe", "\"public\""));
        Expect.Accepted(await client.AckAsync("leave", "\"public\""));
    }

    [Fact]
    public async Task The_auth_frame_makes_a_session_a_user_or_a_host()
    {
        await using var user = await TestClient.ConnectAsync(new Uri(Node.Url, "/ws"));
        await IsWelcomeAsync(user, isPublic: true);
        var end = Node.Time.GetUtcNow().AddHours(1);
        Assert.Equal(
            $"{{\"ack\":1,\"ok\":true,\"data\":{{\"name\":\"ann\",\"expires\":\"{end:yyyy-MM-ddTHH:mm:ss}Z\"}}}}",
            await user.AckAsync("auth", Auth(Token.Of("ann", end, "\"roles\":[\"endpoint:1234\"]")))
        );
        Expect.Accepted(await user.AckAsync("subscribe", "[\"everyone\",\"endpoint:1234\"]"));
        Expect.Refused("forbidden_room", await user.AckAsync("subscribe", "\"support\""));
        Expect.Refused("forbidden_publish", await user.AckAsync("call", "1"));

        await using var host = await Node.ConnectAsync();
        Assert.Equal(
            """{"ack":1,"ok":true,"data":{"name":"publish"}}""",
            await host.AckAsync("auth", Auth(GuardedNode.SecretOf("publish")))
        );
        Expect.Published(await host.AckAsync("call", "1"));

        // It need not be answered.
        await using var quiet = await Node.ConnectAsync();
        await quiet.SendAsync($$"""{"event":"auth","data":{{Auth(guarded.TokenOf("ann"))}}}""");
        Expect.Accepted(await quiet.AckAsync("subscribe", "\"everyone\""));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("\"nobody\"")]
    [InlineData("\"\"")]
    [InlineData("12")]
    [InlineData("\"ey.ey.ey\"")]
    public async Task An_auth_frame_with_invalid_credentials_closes_the_session(string? token)
    {
        await using var client = await Node.ConnectAsync();
        await client.SendAsync(
            $$"""{"event":"auth","data":{"token":{{token ?? JsonSerializer.Serialize(Token.Of("bob", Node.Time.GetUtcNow().AddHours(1))[..^3])}}},"ack":1}"""
        );
        await Expect.ClosedAsync(4000, reconnect: false, client);
    }

    [Fact]
    public async Task An_auth_frame_with_an_expired_token_is_answered_with_token_expired()
    {
        await using var client = await Node.ConnectAsync();
        await client.SendAsync($$"""{"event":"auth","data":{{Auth(Token.Of("ann", Node.Time.GetUtcNow()))}}}""");
        await Expect.ClosedAsync(4103, reconnect: true, client);
    }

    [Theory]
    [InlineData("null")]
    [InlineData("\"token\"")]
    [InlineData("{}")]
    [InlineData("{\"token\":null}")]
    [InlineData("[\"token\"]")]
    public async Task An_auth_frame_without_a_token_is_a_bad_frame(string data)
    {
        await using var client = await Node.ConnectAsync();
        Expect.Refused("bad_frame", await client.AckAsync("auth", data));
        Expect.Accepted(await client.AckAsync("auth", Auth(guarded.TokenOf("ann"))));
    }

    [Fact]
    public async Task Without_an_auth_frame_in_time_a_session_ends_and_not_before()
    {
        await using var node = await GuardedNode.StartAsync(Patient);
        await using var late = await node.ConnectAsync();
        await using var inTime = await node.ConnectAsync();
        await using var host = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("read")));

        node.Time.Advance(Second * 9);
        Expect.Accepted(await late.AckAsync("subscribe", "\"public\""));
        Expect.Accepted(await inTime.AckAsync("auth", Auth(Token.Of("ann", node.Time.GetUtcNow().AddHours(1)))));

        node.Time.Advance(Second);
        await Expect.ClosedAsync(4000, reconnect: false, late);
        node.Time.Advance(Second * 60);
        Expect.Accepted(await inTime.AckAsync("subscribe", "\"everyone\""));
        Expect.Accepted(await host.AckAsync("subscribe", "\"everyone\""));
    }

    [Fact]
    public async Task With_anonymous_sessions_allowed_a_session_stays_in_public()
    {
        await using var node = await GuardedNode.StartAsync([
            ("Anonymous", "true"),
            ("PublicBuses", "public,everyone"),
            ("Events", "news=public"),
            .. Patient,
        ]);
        await using var client = await node.ConnectAsync();
        node.Time.Advance(Second * 600);
        Expect.Refused("unauthenticated", await client.AckAsync("subscribe", "\"everyone\""));
        Expect.Accepted(await client.AckAsync("dmb:ping", "null"));
        var id = (
            await GuardedNode.AskWithAsync(node, "POST /_notify/news", GuardedNode.SecretOf("publish"), "1")
        ).TakenId();
        await client.GetsAsync("news", "1", id);
    }

    [Fact]
    public async Task A_stream_of_public_needs_no_credentials_and_stays()
    {
        await using var node = await GuardedNode.StartAsync([("Events", "news=public"), .. Patient]);
        using var stream = await EventReader.OpenAsync(node, "public");
        node.Time.Advance(Second * 600);
        var id = (
            await GuardedNode.AskWithAsync(node, "POST /_notify/news", GuardedNode.SecretOf("publish"), "1")
        ).TakenId();
        Assert.Equal($"event: news\ndata: 1\nid: {id}", await stream.ReadAsync());
    }

    [Fact]
    public async Task A_session_and_a_stream_end_with_their_token_and_not_a_second_before()
    {
        await using var node = await GuardedNode.StartAsync(Patient);
        var token = Token.Of("ann", node.Time.GetUtcNow().AddSeconds(100));
        await using var client = await node.ConnectAsync(("Authorization", "Bearer " + token));
        using var http = GuardedNode.HttpOf(token);
        using var stream = await EventReader.OpenAsync(http, new Uri(node.Url, "/events?room=everyone"));
        Assert.Equal(": connected", await stream.ReadAsync());
        var next = stream.ReadAsync();

        node.Time.Advance(Second * 99);
        Expect.Accepted(await client.AckAsync("subscribe", "\"everyone\""));
        Assert.False(next.IsCompleted);
        await UntilSessionsInAsync(node, "everyone", 2);

        node.Time.Advance(Second);
        await Expect.ClosedAsync(4103, reconnect: true, client);
        Assert.Equal("event: bye\ndata: {\"code\":4103,\"reconnect\":true,\"after_ms\":0}", await next);
        await Assert.ThrowsAsync<EndOfStreamException>(stream.ReadAsync);
    }

    [Fact]
    public async Task A_new_token_in_time_renews_a_session()
    {
        await using var node = await GuardedNode.StartAsync(Patient);
        DateTimeOffset In(int seconds) => node.Time.GetUtcNow().AddSeconds(seconds);
        await using var client = await node.ConnectAsync(
            ("Authorization", "Bearer " + Token.Of("ann", In(100), "\"roles\":[\"endpoint:1234\"]"))
        );
        Expect.Accepted(await client.AckAsync("subscribe", "[\"everyone\",\"endpoint:1234\"]"));
        await client.ReadAllAsync();

        node.Time.Advance(Second * 90);
        Expect.Accepted(await client.AckAsync("auth", Auth(Token.Of("ann", In(100), "\"roles\":[\"endpoint:1234\"]"))));
        Assert.Empty(await client.ReadAllAsync());
        node.Time.Advance(Second * 99);
        var id = (
            await GuardedNode.AskWithAsync(
                node,
                "POST /_notify/call",
                GuardedNode.SecretOf("publish"),
                "{\"_in\":\"endpoint:1234\"}"
            )
        ).TakenId();
        await client.GetsAsync("call", "{\"_in\":\"endpoint:1234\"}", id);

        node.Time.Advance(Second);
        await Expect.ClosedAsync(4103, reconnect: true, client);
    }

    [Fact]
    public async Task A_session_cannot_change_its_caller()
    {
        await using var node = await GuardedNode.StartAsync(Patient);
        var end = node.Time.GetUtcNow().AddSeconds(100);
        await using var client = await node.ConnectAsync(("Authorization", "Bearer " + Token.Of("ann", end)));
        string[] others =
        [
            Token.Of("bob", end.AddHours(1)),
            Token.Of("bob", end.AddHours(1), "\"admin\":true"),
            Token.Of("Ann", end.AddHours(1)),
            GuardedNode.SecretOf("admin"),
            GuardedNode.SecretOf("read"),
            "nonsense",
            Token.Of("ann", end.AddHours(1))[..^4],
        ];
        foreach (var other in others)
        {
            Expect.Refused("unauthenticated", await client.AckAsync("auth", Auth(other)));
            Expect.Refused("forbidden_publish", await client.AckAsync("call", "1"));
        }

        Expect.Refused("token_expired", await client.AckAsync("auth", Auth(Token.Of("ann", node.Time.GetUtcNow()))));
        Expect.Accepted(await client.AckAsync("subscribe", "\"everyone\""));
        node.Time.Advance(Second * 99);
        Expect.Accepted(await client.AckAsync("subscribe", "\"public\""));
        node.Time.Advance(Second);
        await Expect.ClosedAsync(4103, reconnect: true, client);
    }

    [Fact]
    public async Task A_new_token_with_fewer_roles_removes_the_session_from_their_rooms()
    {
        await using var client = await Node.ConnectAsync(
            ("Authorization", "Bearer " + guarded.TokenOf("ann", "\"roles\":[\"endpoint:1\",\"endpoint:2\"]"))
        );
        Expect.Accepted(await client.AckAsync("subscribe", "[\"everyone\",\"endpoint:1\",\"endpoint:2\"]"));
        await client.ReadAllAsync();

        var ack = await client.AckAsync(
            "auth",
            Auth(guarded.TokenOf("ann", "\"roles\":[\"endpoint:2\",\"endpoint:3\"]"))
        );
        Expect.Accepted(ack);
        Assert.Equal(["""{"event":"left","data":"endpoint:1"}"""], await client.ReadAllAsync());
        Expect.Refused("forbidden_room", await client.AckAsync("subscribe", "\"endpoint:1\""));
        Expect.Accepted(await client.AckAsync("subscribe", "\"endpoint:3\""));
        await client.ReadAllAsync();

        (await PushAsync("{\"_in\":\"endpoint:1\"}")).TakenId();
        var id = (await PushAsync("{\"_in\":[\"endpoint:1\",\"endpoint:2\"]}")).TakenId();
        await client.GetsAsync("call", "{\"_in\":[\"endpoint:1\",\"endpoint:2\"]}", id);
        await UntilSessionsInAsync(Node, "endpoint:1", 0);
        await UntilSessionsInAsync(Node, "everyone", 1);
    }

    [Fact]
    public async Task A_new_token_that_makes_no_admin_any_more_ends_the_session()
    {
        var admin = await Node.ConnectAsync(("Authorization", "Bearer " + guarded.TokenOf("ann", "\"admin\":true")));
        Expect.Accepted(await admin.AckAsync("subscribe", "\"support\""));
        await admin.ReadAllAsync();
        await admin.SendAsync($$"""{"event":"auth","data":{{Auth(guarded.TokenOf("ann"))}}}""");
        await Expect.ClosedAsync(4103, reconnect: true, admin);
        await admin.DisposeAsync();
        await UntilSessionsInAsync(Node, "support", 0);

        // More is no reason to go.
        await using var user = await Node.ConnectAsync(("Authorization", "Bearer " + guarded.TokenOf("ann")));
        Expect.Accepted(await user.AckAsync("auth", Auth(guarded.TokenOf("ann", "\"admin\":true"))));
        Expect.Accepted(await user.AckAsync("subscribe", "\"support\""));
    }

    [Fact]
    public async Task A_service_is_still_joined_after_a_renewal_and_left_with_the_session()
    {
        await using var backend = await guarded.ConnectAsync("admin key");
        var bkid = await GuardedNode.RegisterAsync(backend);
        await using var client = await guarded.ConnectAsync("user");
        Expect.Accepted(await client.AckAsync("dmb:connect", $$"""{"service":"{{bkid}}","user":"ann"}"""));
        Expect.Accepted(await client.AckAsync("auth", Auth(guarded.TokenOf("ann"))));
        await client.ReadAllAsync();
        Expect.Accepted(await backend.AckAsync("dmb:direct", "{\"user\":\"ann\",\"data\":7}"));
        Assert.Contains("\"event\":\"dmb:direct\",\"data\":7", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_credentials_configured_an_auth_frame_is_answered_without_effect()
    {
        await using var node = await Node.StartAsync(Patient);
        await using var client = await TestClient.ConnectAsync(
            new Uri(node.Url, "/ws"),
            ("Authorization", "Bearer whatever"),
            ("Sec-WebSocket-Protocol", "dmb.v1, bearer.whatever")
        );
        Assert.Equal("dmb.v1", client.Header("Sec-WebSocket-Protocol"));
        await IsWelcomeAsync(client, isPublic: false);
        Assert.Equal("""{"ack":1,"ok":true,"data":{"name":""}}""", await client.AckAsync("auth", Auth("whatever")));
        node.Time.Advance(Second * 60);
        Expect.Accepted(await client.AckAsync("subscribe", "\"support\""));
        Expect.Published(await client.AckAsync("call", "1"));
    }

    [Fact]
    public async Task A_user_message_reaches_the_service_and_no_room()
    {
        await using var backend = await guarded.ConnectAsync("admin key");
        var bkid = await GuardedNode.RegisterAsync(backend);
        await backend.ReadAllAsync();
        await using var watching = await guarded.ConnectAsync("admin key");
        Expect.Accepted(
            await watching.AckAsync(
                "subscribe",
                "[\"support\",\"internal\",\"calls\",\"endpoint:1234\",\"dial_calls\",\"everyone\"]"
            )
        );
        await watching.ReadAllAsync();
        await using var user = await guarded.ConnectAsync("user");
        Expect.Accepted(await user.AckAsync("dmb:connect", $$"""{"service":"{{bkid}}","user":"ann"}"""));

        const string data = """{"_in":["endpoint:1234","support"],"endpoint":"1234","event":"call"}""";
        Expect.Published(
            await user.AckAsync(
                "dmb:message",
                $$"""{"service":"{{bkid}}","data":{{data}},"_in":["endpoint:1234"],"endpoint":"1234"}"""
            )
        );
        string uplink;
        do
        {
            uplink = await backend.ReadAsync();
        } while (!uplink.Contains("\"type\":\"message\"", StringComparison.Ordinal));

        Assert.Contains($"\"data\":{data}", uplink, StringComparison.Ordinal);
        Assert.Contains("\"user\":\"ann\"", uplink, StringComparison.Ordinal);
        foreach (
            var name in new[]
            {
                "call",
                "notify",
                "shouted",
                "notify_users",
                "shout",
                "ping",
                "no_such_event",
                "dmb:direct",
                "dmb:uplink",
            }
        )
        {
            var answer = await user.AckAsync(name, data);
            Assert.Contains("\"ok\":false", answer, StringComparison.Ordinal);
        }

        Assert.Empty(await watching.ReadAllAsync());
    }

    private static string Auth(string token) => $"{{\"token\":{JsonSerializer.Serialize(token)}}}";

    private static async Task IsWelcomeAsync(TestClient client, bool isPublic)
    {
        var welcome = JsonElement.Parse(await client.ReadAsync());
        Assert.Equal("welcome", welcome.GetProperty("event").GetString());
        Assert.Equal(isPublic, welcome.GetProperty("data").GetProperty("public").GetBoolean());
    }

    /// <summary>Asks again and again: that an earlier test's client is gone is told to nobody.</summary>
    private static async Task UntilSessionsInAsync(Node node, string room, int sessions)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (
            (
                await GuardedNode.AskWithAsync(
                    node,
                    "GET /rooms/" + Uri.EscapeDataString(room),
                    GuardedNode.SecretOf("read")
                )
            )
                .Json.GetProperty("sessions")
                .GetInt32() != sessions
        )
        {
            patience.Token.ThrowIfCancellationRequested();
        }
    }

    private Task<RawAnswer> PushAsync(string data) =>
        GuardedNode.AskWithAsync(Node, "POST /_notify/call", GuardedNode.SecretOf("publish"), data);
}
