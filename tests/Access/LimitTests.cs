using System.Globalization;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Access;

/// <summary>
/// docs/protocol.md §1 and §10: how much one caller may do. Seconds are of the machine's clock, so what is refused is
/// tried until it passes.
/// </summary>
public sealed class LimitTests
{
    private static readonly (string, string)[] Patient = [("SilentTimeout", "7200"), ("PingInterval", "3600")];

    [Fact]
    public async Task A_push_above_the_rate_gets_Retry_After_and_later_pushes_succeed_on_the_same_connection()
    {
        await using var node = await GuardedNode.StartAsync(("PublishRate", "3"));
        using var http = await RawHttp.ConnectAsync(node);
        Task<RawAnswer> Push() =>
            http.AskAsync("POST /_notify/call", "{\"a\":1}", $"X-Api-Key: {GuardedNode.SecretOf("publish")}");
        for (var i = 0; i < 3; i++)
        {
            (await Push()).TakenId();
        }

        var refused = await UntilAsync(Push, answer => answer.Status != 200);
        refused.IsProblem(429, "rate_limited");
        Assert.InRange(int.Parse(refused.Headers["Retry-After"], CultureInfo.InvariantCulture), 1, 2);
        Assert.False(refused.SaysClose);
        await UntilAsync(Push, answer => answer.Status == 200);
    }

    [Fact]
    public async Task A_push_above_the_rate_is_not_delivered()
    {
        await using var node = await GuardedNode.StartAsync(("PublishRate", "1"));
        await using var watching = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("read")));
        Expect.Accepted(await watching.AckAsync("subscribe", "\"calls\""));
        await watching.ReadAllAsync();
        var taken = new List<string>();
        for (var (refused, i) = (0, 0); refused < 20; i++)
        {
            var answer = await GuardedNode.AskWithAsync(
                node,
                "POST /_notify/call",
                GuardedNode.SecretOf("publish"),
                $"{i}"
            );
            if (answer.Status == 200)
            {
                taken.Add($"{i}");
            }
            else
            {
                refused++;
            }
        }

        foreach (var data in taken)
        {
            Assert.Equal(data, await watching.ReadDataAsync("call"));
        }

        Assert.Empty(await watching.ReadAllAsync());
    }

    [Fact]
    public async Task Publishes_are_counted_by_key_by_user_and_wherever_these_come_from()
    {
        await using var node = await GuardedNode.StartAsync(("PublishRate", "1"), ("TrustedProxies", "127.0.0.1"));
        var end = node.Time.GetUtcNow().AddHours(1);
        string[] callers =
        [
            GuardedNode.SecretOf("publish"),
            GuardedNode.SecretOf("admin"),
            Token.Of("admin", end, "\"admin\":true"),
            Token.Of("ann", end, "\"admin\":true"),
        ];
        foreach (var shown in callers)
        {
            // The first of each is taken, though the one before has used up its own.
            Assert.Equal(200, (await PushAsync(node, shown, "192.0.2.1")).Status);
            var others = 2;
            await UntilAsync(() => PushAsync(node, shown, $"192.0.2.{others++ % 250}"), answer => answer.Status == 429);
        }
    }

    [Fact]
    public async Task Without_keys_publishes_are_counted_by_address()
    {
        await using var node = await Node.StartAsync(("PublishRate", "1"), ("TrustedProxies", "127.0.0.1"));
        string[] addresses = ["192.0.2.1", "192.0.2.2", "2001:db8:0:1::1", "2001:db8:0:2::1", "::ffff:192.0.2.3"];
        foreach (var address in addresses)
        {
            Assert.Equal(200, (await PushAsync(node, null, address)).Status);
            (await UntilAsync(() => PushAsync(node, null, address), answer => answer.Status != 200)).IsProblem(
                429,
                "rate_limited"
            );
        }

        // One network of IPv6 is one customer.
        await UntilAsync(() => PushAsync(node, null, "2001:db8:0:1:ffff::9"), answer => answer.Status == 429);
        await UntilAsync(() => PushAsync(node, null, "192.0.2.3"), answer => answer.Status == 429);
    }

    [Fact]
    public async Task A_batch_is_counted_item_by_item()
    {
        await using var node = await GuardedNode.StartAsync(("PublishRate", "2"));
        var batch =
            $"[{string.Join(',', Enumerable.Range(0, 100).Select(i => $"{{\"event\":\"call\",\"data\":{i}}}"))}]";
        var answer = await GuardedNode.AskWithAsync(node, "POST /_notify", GuardedNode.SecretOf("publish"), batch);
        Assert.Equal(200, answer.Status);
        Assert.False(answer.Json.GetProperty("ok").GetBoolean());
        var results = answer.Json.GetProperty("results").EnumerateArray().ToArray();
        Assert.Equal(100, results.Length);
        Assert.All(results[..2], result => Assert.True(result.GetProperty("ok").GetBoolean()));
        var refused = results
            .Where(result => !result.GetProperty("ok").GetBoolean())
            .Select(result => result.GetProperty("error"))
            .ToArray();
        Assert.NotEmpty(refused);
        Assert.All(refused, error =>
            Assert.Equal(
                ("rate_limited", true),
                (error.GetProperty("code").GetString(), error.GetProperty("retry").GetBoolean())
            )
        );
    }

    [Fact]
    public async Task A_publish_above_the_rate_of_a_socket_is_refused_and_succeeds_later()
    {
        await using var node = await GuardedNode.StartAsync([("PublishRate", "2"), .. Patient]);
        await using var client = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("publish")));
        Expect.Published(await client.AckAsync("call", "1"));
        Expect.Published(await client.AckAsync("ping", "1"));
        foreach (var name in new[] { "call", "ping", "shout", "notify_users" })
        {
            IsTooFast(await UntilAsync(() => client.AckAsync(name, "1"), IsRefused));
        }

        // A socket and a push of the same key share what they may do.
        Assert.Equal(
            429,
            (
                await UntilAsync(() => PushAsync(node, GuardedNode.SecretOf("publish")), answer => answer.Status != 200)
            ).Status
        );
        await using var other = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("admin")));
        Expect.Published(await other.AckAsync("call", "1"));

        // Each in a minute of its own, since to be refused too often ends the session.
        Task<string> PublishAsync()
        {
            node.Time.Advance(TimeSpan.FromMinutes(1));
            return client.AckAsync("call", "1");
        }

        Expect.Published(await UntilAsync(PublishAsync, answer => !IsRefused(answer)));
    }

    [Fact]
    public async Task A_session_that_was_refused_a_hundred_times_in_a_minute_is_closed()
    {
        await using var node = await GuardedNode.StartAsync([("PublishRate", "1"), .. Patient]);
        await using var client = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("publish")));
        await RefuseAsync(client, 99);
        node.Time.Advance(TimeSpan.FromMinutes(1));
        await RefuseAsync(client, 99);

        for (var i = 0; i < 50; i++)
        {
            await client.SendAsync("""{"event":"call","data":1,"ack":"last"}""");
        }

        Assert.Equal(4102, (await client.ReadCloseAsync()).Code);
        var texts = await client.ReadAllAsync();
        Assert.Single(texts, text => text.Contains("\"ok\":false", StringComparison.Ordinal));
        Assert.Matches("""^\{"event":"bye","data":\{"code":4102,"reconnect":true,"after_ms":\d+}}$""", texts[^1]);
    }

    [Fact]
    public async Task A_users_messages_to_a_service_are_counted_too()
    {
        await using var node = await GuardedNode.StartAsync(("PublishRate", "1"));
        await using var backend = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("admin")));
        var bkid = await GuardedNode.RegisterAsync(backend);
        await using var user = await node.ConnectAsync(
            ("Authorization", "Bearer " + Token.Of("ann", node.Time.GetUtcNow().AddHours(1)))
        );
        Expect.Accepted(await user.AckAsync("dmb:connect", $$"""{"service":"{{bkid}}","user":"ann"}"""));
        IsTooFast(await UntilAsync(() => user.AckAsync("dmb:message", "{\"data\":1}"), IsRefused));
        IsTooFast(await UntilAsync(() => backend.AckAsync("dmb:broadcast", "{\"data\":1}"), IsRefused));
        var pushed = await UntilAsync(
            () =>
                GuardedNode.AskWithAsync(
                    node,
                    $"POST /backend/{bkid}/messages",
                    GuardedNode.SecretOf("admin"),
                    "{\"type\":\"bk_message\",\"id\":\"m\",\"data\":1}"
                ),
            answer => answer.Status != 200
        );
        pushed.IsProblem(429, "rate_limited");
    }

    [Fact]
    public async Task Rooms_are_joined_only_so_fast()
    {
        await using var node = await GuardedNode.StartAsync(("JoinRate", "3"));
        await using var client = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("read")));
        Expect.Accepted(await client.AckAsync("subscribe", "[\"a\",\"b\",\"c\"]"));
        IsTooFast(await UntilAsync(() => client.AckAsync("subscribe", "[\"d\",\"e\"]"), IsRefused));
        IsTooFast(await UntilAsync(() => client.AckAsync("configure", "{\"calls\":true}"), IsRefused));
        (
            await UntilAsync(() => EventsAsync(node, GuardedNode.SecretOf("read")), answer => answer.Status != 200)
        ).IsProblem(429, "rate_limited");

        // Leaving is free, and so is another key.
        Expect.Accepted(await client.AckAsync("configure", "{\"calls\":false}"));
        Expect.Accepted(await client.AckAsync("unsubscribe", "[\"a\",\"b\",\"c\"]"));
        await using var other = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("admin")));
        Expect.Accepted(await other.AckAsync("subscribe", "[\"a\",\"b\",\"c\"]"));

        await UntilAsync(() => EventsAsync(node, GuardedNode.SecretOf("read")), answer => answer.Status == 200);
    }

    [Fact]
    public async Task More_rooms_than_may_be_joined_in_a_second_are_joined_by_one_frame_when_there_was_none_before()
    {
        await using var node = await GuardedNode.StartAsync(("JoinRate", "3"));
        await using var client = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("read")));
        Expect.Accepted(await client.AckAsync("subscribe", "[\"a\",\"b\",\"c\",\"d\",\"e\"]"));
        IsTooFast(await UntilAsync(() => client.AckAsync("subscribe", "\"f\""), IsRefused));
    }

    [Fact]
    public async Task Sockets_without_credentials_are_opened_only_so_fast()
    {
        await using var node = await GuardedNode.StartAsync(("HandshakeRate", "2"), ("TrustedProxies", "127.0.0.1"));
        Task<RawAnswer> Open(string address, string header = "Accept: a") =>
            HandshakeAsync(node, header, "X-Forwarded-For: " + address);
        Assert.Equal(101, (await Open("192.0.2.1")).Status);
        Assert.Equal(101, (await Open("192.0.2.1")).Status);
        var refused = await UntilAsync(() => Open("192.0.2.1"), answer => answer.Status != 101);
        refused.IsProblem(429, "rate_limited");
        Assert.Equal("1", refused.Headers["Retry-After"]);

        // Trying keys and tokens is no way round it, a good one is.
        await UntilAsync(() => Open("192.0.2.1", "X-Api-Key: nobody"), answer => answer.Status == 429);
        await UntilAsync(
            () => Open("192.0.2.1", $"Authorization: Bearer {Token.Of("ann", node.Time.GetUtcNow())}"),
            answer => answer.Status == 429
        );
        for (var i = 0; i < 20; i++)
        {
            Assert.Equal(
                101,
                (
                    await Open(
                        "192.0.2.1",
                        $"Authorization: Bearer {Token.Of("ann", node.Time.GetUtcNow().AddHours(1))}"
                    )
                ).Status
            );
        }

        Assert.Equal(101, (await Open("192.0.2.2")).Status);
        await UntilAsync(() => Open("192.0.2.1"), answer => answer.Status == 101);
    }

    [Fact]
    public async Task An_address_has_only_so_many_sessions_and_gets_a_place_back_when_one_ends()
    {
        await using var node = await GuardedNode.StartAsync(("MaxSessionsPerAddress", "2"));
        var first = await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("read")));
        await using var second = await node.ConnectAsync();
        foreach (
            var answer in new[] { await HandshakeAsync(node), await EventsAsync(node, GuardedNode.SecretOf("read")) }
        )
        {
            answer.IsProblem(503, "rate_limited");
            Assert.Equal("1", answer.Headers["Retry-After"]);
        }

        await first.DisposeAsync();
        await UntilAsync(() => HandshakeAsync(node), answer => answer.Status == 101);
    }

    [Fact]
    public async Task A_refused_or_closed_session_releases_its_permit()
    {
        await using var node = await GuardedNode.StartAsync(("MaxSessionsPerAddress", "1"));
        string[][] handshakes =
        [
            ["Origin: http://evil.example"],
            ["X-Api-Key: nobody"],
            [$"Authorization: Bearer {Token.Of("ann", node.Time.GetUtcNow())}"],
            ["Sec-WebSocket-Key: twice"],
        ];
        foreach (var headers in handshakes)
        {
            await UntilAsync(() => HandshakeAsync(node, headers), answer => answer.Status != 503);
        }

        string[] streams =
        [
            "/events?room=support",
            "/events?room=",
            "/events",
            "/events?service=nobody&user=ann",
            "/events?room=public&room=lobby",
        ];
        foreach (var stream in streams)
        {
            await UntilAsync(
                () => RawHttp.AskAsync(node, "GET " + stream, "", $"X-Api-Key: {GuardedNode.SecretOf("publish")}"),
                answer => answer.Status != 503
            );
            await UntilAsync(
                () =>
                    RawHttp.AskAsync(
                        node,
                        "GET /events?service=nobody&user=ann",
                        "",
                        $"X-Api-Key: {GuardedNode.SecretOf("read")}"
                    ),
                answer => answer.Status != 503
            );
        }

        // Sent away later, by the node.
        await using var client = await ConnectAsync(node);
        Assert.Equal(503, (await HandshakeAsync(node)).Status);
        await client.SendAsync("""{"event":"auth","data":{"token":"nobody"}}""");
        Assert.Equal(4000, (await client.ReadCloseAsync()).Code);
        node.Time.Advance(TimeSpan.FromSeconds(10));
        await using var last = await ConnectAsync(node);
        Assert.Equal(503, (await HandshakeAsync(node)).Status);
    }

    [Fact]
    public async Task Only_a_trusted_proxy_sets_the_address_of_a_session()
    {
        await using var node = await GuardedNode.StartAsync(
            ("MaxSessionsPerAddress", "1"),
            ("TrustedProxies", "127.0.0.1")
        );
        await using var one = await node.ConnectAsync(("X-Forwarded-For", "192.0.2.1"));
        Assert.Equal(503, (await HandshakeAsync(node, "X-Forwarded-For: 192.0.2.1")).Status);
        Assert.Equal(503, (await HandshakeAsync(node, "X-Forwarded-For: 192.0.2.9, 192.0.2.1")).Status);
        await using var two = await node.ConnectAsync(("X-Forwarded-For", "192.0.2.2"));
        await using var six = await node.ConnectAsync(("X-Forwarded-For", "2001:db8:0:1::1"));
        Assert.Equal(503, (await HandshakeAsync(node, "X-Forwarded-For: 2001:db8:0:1:8000::2")).Status);
        await using var otherSix = await node.ConnectAsync(("X-Forwarded-For", "2001:db8:0:2::1"));

        await using var trusting = await GuardedNode.StartAsync(("MaxSessionsPerAddress", "1"));
        await using var only = await trusting.ConnectAsync(("X-Forwarded-For", "192.0.2.1"));
        Assert.Equal(503, (await HandshakeAsync(trusting, "X-Forwarded-For: 192.0.2.2")).Status);
    }

    [Fact]
    public async Task On_loopback_no_rate_is_limited_by_default()
    {
        await using var node = await GuardedNode.StartAsync(("MaxBatchItems", "10000"));
        var batch = $"[{string.Join(',', Enumerable.Repeat("{\"event\":\"call\"}", 10_000))}]";
        var answer = await GuardedNode.AskWithAsync(node, "POST /_notify", GuardedNode.SecretOf("publish"), batch);
        Assert.True(answer.Json.GetProperty("ok").GetBoolean());

        var clients = new List<TestClient>();
        for (var i = 0; i < 50; i++)
        {
            clients.Add(await node.ConnectAsync());
        }

        foreach (var client in clients)
        {
            await client.DisposeAsync();
        }
    }

    private static bool IsRefused(string answer) => answer.Contains("\"ok\":false", StringComparison.Ordinal);

    private static void IsTooFast(string answer) =>
        Assert.Matches(
            """^\{"ack":\d+,"ok":false,"error":\{"code":"rate_limited","message":"[^"]+","retry":true}}$""",
            answer
        );

    /// <summary>Tries until the answer is as wanted, which sets the pace.</summary>
    private static async Task<T> UntilAsync<T>(Func<Task<T>> tryAsync, Func<T, bool> isWanted)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (true)
        {
            var answer = await tryAsync();
            if (isWanted(answer))
            {
                return answer;
            }

            Assert.False(
                patience.IsCancellationRequested,
                answer is RawAnswer raw ? $"Still {raw.Status} {raw.Body}" : $"Still {answer}"
            );
        }
    }

    /// <summary>Publishes until so many were refused.</summary>
    private static async Task RefuseAsync(TestClient client, int count)
    {
        for (var refused = 0; refused < count; )
        {
            var answer = await client.AckAsync("call", "1");
            refused += IsRefused(answer) ? 1 : 0;
        }

        // Once this is answered the last of them is counted too.
        Expect.Accepted(await client.AckAsync("leave", "\"public\""));
    }

    private static Task<RawAnswer> PushAsync(Node node, string? shown, string address = "127.0.0.1") =>
        RawHttp.AskAsync(
            node,
            "POST /_notify/call",
            "1",
            [$"X-Forwarded-For: {address}", .. shown is null ? [] : (string[])[$"Authorization: Bearer {shown}"]]
        );

    /// <summary>The head of the answer to a handshake; the connection ends with it.</summary>
    private static async Task<RawAnswer> HandshakeAsync(Node node, params string[] headers)
    {
        using var http = await RawHttp.ConnectAsync(node);
        string[] lines =
        [
            "GET /ws HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            .. headers,
        ];
        await http.SendAsync(string.Join('\n', lines));
        return await http.ReadAsync();
    }

    /// <summary>The answer to who asks for a stream; of one that is let in only the head.</summary>
    private static async Task<RawAnswer> EventsAsync(Node node, string shown)
    {
        using var http = GuardedNode.HttpOf(shown);
        using var response = await http.GetAsync(
            new Uri(node.Url, "/events?room=calls"),
            HttpCompletionOption.ResponseHeadersRead
        );
        var headers = response
            .Headers.Concat(response.Content.Headers)
            .ToDictionary(
                header => header.Key,
                header => string.Join(", ", header.Value),
                StringComparer.OrdinalIgnoreCase
            );
        return new RawAnswer(
            (int)response.StatusCode,
            headers,
            response.IsSuccessStatusCode ? "" : await response.Content.ReadAsStringAsync()
        );
    }

    /// <summary>A client, as soon as there is a place for one.</summary>
    private static Task<TestClient> ConnectAsync(Node node) =>
        UntilAsync<TestClient?>(
            async () =>
            {
                try
                {
                    return await node.ConnectAsync();
                }
                catch (IOException full) when (full.Message.Contains(" 503 ", StringComparison.Ordinal))
                {
                    return null;
                }
            },
            client => client is not null
        )!;
}
