using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Dmb.Tests.Redis;

namespace Dmb.Tests.Backends;

/// <summary>
/// What backends and their users are promised: the same tests for each way that a backend may talk, on a node that runs
/// alone and over nodes that share a Redis, the backend on another than its users.
/// </summary>
public abstract class BackendSpec(By by, IReadOnlyList<NodeProcess> nodes, RedisServer? redis, string prefix = "dmb:")
    : IAsyncLifetime
{
    private const int Many = 1_000;

    private readonly Started _started = new();

    public static TheoryData<string> Values =>
        [
            "null",
            "\"\"",
            "0",
            "[]",
            "{}",
            "-0.0",
            "1e400",
            "12345678901234567890.00",
            """{"n":1,"n":2 , "a":[1 , {"x":null}]}""",
            "\"\u2028\u2029\\u2028 \\u00e9\\u0041\\/ é 😀 \\ud83d\\ude00 <script>&'+\"",
            """{"data":{"data":"}"},"id":"x","user":"y","service":"z","_in":"public","endpoint":1}""",
            "\"\\ud800\"",
            """{"\udfff":"\ud800"}""",
        ];

    private Uri First => nodes[0].Url;

    private Uri Last => nodes[^1].Url;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _started.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task A_backend_that_reconnects_with_its_bkid_keeps_its_users()
    {
        var first = await RegisterAsync();
        var user = await JoinAsync(first, "u");
        await first.HearsAsync("connect", user, 1);
        await first.DisposeAsync();
        await user.SayAsync("\"to nobody\"");

        var again = await RegisterAsync("spec", first.Bkid, nodes[^1].Url);
        Assert.Equal(first.Bkid, again.Bkid);
        Assert.Equal(1, await again.TellAsync("u", "1"));
        await user.GetsAsync("dmb:direct", "1");
        await user.SayAsync("2");
        await again.HearsAsync(user, "2");
    }

    [Fact]
    public async Task Operators_see_a_backend_its_users_and_its_connections_until_it_is_freed()
    {
        var name = "listed-" + Guid.NewGuid().ToString("N");
        var backend = await RegisterAsync(name + "-b");
        var other = await RegisterAsync(name + "-a");
        var one = await JoinAsync(backend, "u");
        await backend.HearsAsync("connect", one, 1);
        var two = await JoinAsync(backend, "u");
        await backend.HearsAsync("connect", two, 2);

        var page = await ListAsync($"prefix={name}&limit=1");
        Assert.Equal([other.Bkid], BkidsOf(page));
        page = await ListAsync($"prefix={name}&limit=1&after={Uri.EscapeDataString($"{page.GetProperty("next")}")}");
        Assert.Equal(JsonValueKind.Null, page.GetProperty("next").ValueKind);
        var item = Assert.Single(page.GetProperty("items").EnumerateArray());
        Assert.Equal(
            (backend.Bkid, name + "-b", prefix + backend.Bkid, 1, 2, 2),
            (
                Text("bkid"),
                Text("name"),
                Text("channel"),
                item.GetProperty("users").GetInt32(),
                item.GetProperty("sessions").GetInt32(),
                item.GetProperty("stored").GetInt32()
            )
        );
        var places = item.GetProperty("nodes").EnumerateArray().ToArray();
        Assert.Equal(by == By.Redis ? 0 : 1, places.Sum(place => place.GetProperty("connections").GetInt32()));
        Assert.Equal(2, places.Sum(place => place.GetProperty("sessions").GetInt32()));
        Assert.InRange(
            TimeProvider.System.GetUtcNow() - item.GetProperty("used").GetDateTimeOffset(),
            TimeSpan.FromSeconds(-5),
            Node.Patience
        );
        Assert.Equal([backend.Bkid], BkidsOf(await ListAsync("bkid=" + backend.Bkid)));

        await backend.FreeAsync();
        await two.GetsAsync("dmb:disconnected", $$"""{"service":"{{backend.Bkid}}"}""");
        Assert.Equal([other.Bkid], BkidsOf(await ListAsync("prefix=" + name)));
        Assert.Empty(BkidsOf(await ListAsync("bkid=" + backend.Bkid)));
        Assert.Empty(BkidsOf(await ListAsync("bkid=no-bkid")));

        string Text(string member) => item.GetProperty(member).GetString()!;
    }

    private async Task<JsonElement> ListAsync(string query) =>
        await nodes[^1].Http.GetFromJsonAsync<JsonElement>(new Uri(Last, "/backends?" + query));

    private static string[] BkidsOf(JsonElement page) =>
        [.. page.GetProperty("items").EnumerateArray().Select(item => item.GetProperty("bkid").GetString()!)];

    [Fact]
    public async Task A_bkid_keeps_its_name()
    {
        var backend = await RegisterAsync();
        var (status, body) = await HttpBackend.PostAsync(
            new Uri(Last, "/register/backend"),
            $$"""{"name":"other","bkid":"{{backend.Bkid}}"}"""
        );
        Assert.Equal(HttpStatusCode.Forbidden, status);
        Assert.Contains("\"code\":\"forbidden_publish\"", body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_direct_message_reaches_all_sessions_of_its_user_only()
    {
        var (backend, other) = (await RegisterAsync(), await RegisterAsync());
        TestUser[] sessions =
        [
            await JoinAsync(backend, "ann", First),
            await JoinAsync(backend, "ann"),
            await JoinAsync(backend, "ann"),
            await StreamAsync(backend, "ann"),
        ];
        TestUser[] others =
        [
            await JoinAsync(backend, "Ann"),
            await StreamAsync(backend, "ann "),
            await JoinAsync(backend, "an"),
            await JoinAsync(other, "ann"),
        ];

        // Its node gets all messages, which is not told to the backend.
        await using var watching = await nodes[^1].JoinAsync("endpoint:*");
        Assert.Equal(Math.Min(nodes.Count, 2), await backend.TellAsync("ann", "1"));
        foreach (var session in sessions)
        {
            await session.GetsAsync("dmb:direct", "1");
        }

        await backend.TellAsync(null, "2");
        await other.TellAsync(null, "2");
        foreach (var user in sessions.Concat(others))
        {
            await user.GetsAsync("dmb:broadcast", "2");
        }
    }

    [Fact]
    public async Task A_broadcast_reaches_all_users_of_its_backend_and_no_others()
    {
        var (backend, other) = (await RegisterAsync(), await RegisterAsync());
        TestUser[] users =
        [
            .. await Task.WhenAll(
                nodes.SelectMany(node =>
                    (Task<TestUser>[])[JoinAsync(backend, "a", node.Url), StreamAsync(backend, "b", node.Url)]
                )
            ),
        ];
        var (stranger, both) = (await JoinAsync(other, "a"), await JoinAsync(other, "c"));
        var joined = $$"""{"service":"{{backend.Bkid}}","user":"c"}""";
        await both.Client.AckAsync("dmb:connect", joined);
        await both.GetsAsync("dmb:connected", joined);

        Assert.Equal(nodes.Count, await backend.TellAsync(null, "1"));
        await other.TellAsync(null, "2");
        foreach (var user in users)
        {
            await user.GetsAsync("dmb:broadcast", "1");
        }

        await stranger.GetsAsync("dmb:broadcast", "2");
        await both.GetsAsync("dmb:broadcast", "1");
        await both.GetsAsync("dmb:broadcast", "2");
    }

    [Fact]
    public async Task A_message_without_recipients_reports_0_nodes()
    {
        var backend = await RegisterAsync();
        Assert.Equal(0, await backend.TellAsync(null, "1"));
        Assert.Equal(0, await backend.TellAsync("nobody", "1"));

        var user = await JoinAsync(backend, "somebody");
        Assert.Equal(0, await backend.TellAsync("nobody", "1"));
        Assert.Equal(1, await backend.TellAsync("somebody", "1"));
        await user.DisposeAsync();
        await backend.HearsAsync("connect", user, 1);
        await backend.HearsAsync("disconnect", user, 0);
        Assert.Equal(0, await backend.TellAsync("somebody", "1"));
        Assert.Equal(0, await backend.TellAsync(null, "1"));
    }

    [Theory]
    [MemberData(nameof(Values))]
    public async Task Data_arrives_byte_for_byte_both_ways_and_is_stored_so(string data)
    {
        var backend = await RegisterAsync();
        var (user, stream) = (await JoinAsync(backend, "u"), await StreamAsync(backend, "u"));
        await backend.ReadAsync();
        await backend.ReadAsync();

        await backend.TellAsync("u", data);
        await backend.TellAsync(null, data);
        await user.GetsAsync("dmb:direct", data);
        await user.GetsAsync("dmb:broadcast", data);
        await stream.GetsAsync("dmb:direct", data);
        await stream.GetsAsync("dmb:broadcast", data);

        var ack = await user.SayAsync(data);
        Assert.Matches("""^\{"ack":\d+,"ok":true,"data":\{"id":"[0-9a-f-]{36}"}}$""", ack);
        var uplink = await backend.ReadAsync();
        var id = JsonElement.Parse(ack).GetProperty("data").GetProperty("id").GetString();
        Assert.Contains(
            $"\"session\":\"{user.Session}\",\"id\":\"{id}\",\"data\":{data},\"time\":\"",
            uplink,
            StringComparison.Ordinal
        );
        Assert.Contains(
            $$"""{"id":"{{id}}","uplink":{{uplink}}}""",
            await StoredAsync(backend),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("user 42")]
    [InlineData("\"quoted\\ 'and' <b>&+%2F?#")]
    [InlineData("Ünï cödé 😀 \u2028")]
    [InlineData("a b  c ")]
    [InlineData("*")]
    public async Task A_user_may_be_any_text(string name)
    {
        var backend = await RegisterAsync();
        var (user, stream) = (await JoinAsync(backend, name), await StreamAsync(backend, name));
        Assert.Equal(name, JsonElement.Parse(await backend.ReadAsync()).GetProperty("user").GetString());
        Assert.Equal(2, JsonElement.Parse(await backend.ReadAsync()).GetProperty("sessions").GetInt32());
        Assert.Equal(1, await backend.TellAsync(name, "1"));
        await user.GetsAsync("dmb:direct", "1");
        await stream.GetsAsync("dmb:direct", "1");
        await user.SayAsync("2");
        Assert.Equal(name, JsonElement.Parse(await backend.ReadAsync()).GetProperty("user").GetString());
    }

    [Fact]
    public async Task Presence_reports_each_session_once_with_the_count_of_its_user()
    {
        var backend = await RegisterAsync();
        var first = await JoinAsync(backend, "ann", First);
        await backend.HearsAsync("connect", first, 1);
        var second = await JoinAsync(backend, "ann");
        await backend.HearsAsync("connect", second, 2);
        var bob = await JoinAsync(backend, "bob");
        await backend.HearsAsync("connect", bob, 1);
        var stream = await StreamAsync(backend, "ann", nodes[nodes.Count / 2].Url);
        var came = await backend.ReadAsync();
        stream.Session = JsonElement.Parse(came).GetProperty("session").GetString()!;
        Assert.Equal(backend.Presence("connect", stream, 3), came);

        second.Client.Reset();
        await backend.HearsAsync("disconnect", second, 2);
        await stream.DisposeAsync();
        await backend.HearsAsync("disconnect", stream, 1);
        await bob.Client.SendFrameAsync(Frame.Close, [0x03, 0xE8]);
        await backend.HearsAsync("disconnect", bob, 0);
        await first.Client.AckAsync("dmb:disconnect", "null");
        await backend.HearsAsync("disconnect", first, 0);
        await first.DisposeAsync();

        var last = await JoinAsync(backend, "ann");
        await backend.HearsAsync("connect", last, 1);
    }

    [Fact]
    public async Task A_session_that_joins_again_as_another_user_is_that_one_alone()
    {
        var backend = await RegisterAsync();
        var user = await JoinAsync(backend, "ann");
        await backend.HearsAsync("connect", user, 1);
        Assert.Contains(
            "\"ok\":true",
            await user.Client.AckAsync("dmb:connect", $$"""{"service":"{{backend.Bkid}}","user":"bob"}"""),
            StringComparison.Ordinal
        );
        await backend.HearsAsync("disconnect", user, 0);
        Assert.Equal(
            backend.Presence("connect", user, 1).Replace("ann", "bob", StringComparison.Ordinal),
            await backend.ReadAsync()
        );

        Assert.Equal(0, await backend.TellAsync("ann", "1"));
        Assert.Equal(1, await backend.TellAsync("bob", "2"));
        await user.ReadAsync();
        await user.GetsAsync("dmb:direct", "2");
    }

    [Fact]
    public async Task A_thousand_messages_each_way_come_in_order_and_each_once()
    {
        var backend = await RegisterAsync();
        var (user, other) = (
            await JoinAsync(backend, "u"),
            await StreamAsync(backend, "v", nodes[nodes.Count / 2].Url)
        );
        await backend.ReadAsync();
        await backend.ReadAsync();

        // All are read while they are sent to: a client answers pings only where it reads, and a silent one is closed.
        await Task.WhenAll(SayAsync(), GetAsync(), GetBroadcastsAsync(), TellAndHearAsync());

        await backend.TellAsync(null, "\"last\"");
        await user.SayAsync("\"last\"");
        await user.GetsAsync("dmb:broadcast", "\"last\"");
        await other.GetsAsync("dmb:broadcast", "\"last\"");
        await backend.HearsAsync(user, "\"last\"");

        async Task SayAsync()
        {
            for (var i = 0; i < Many; i++)
            {
                await user.Client.SendAsync($$$"""{"event":"dmb:message","data":{"data":{{{i}}}}}""");
            }
        }

        async Task GetAsync()
        {
            for (var i = 0; i < Many; i++)
            {
                await user.GetsAsync(i % 3 == 0 ? "dmb:broadcast" : "dmb:direct", $"{i}");
            }
        }

        async Task GetBroadcastsAsync()
        {
            for (var i = 0; i < Many; i += 3)
            {
                await other.GetsAsync("dmb:broadcast", $"{i}");
            }
        }

        // One after the other: over a socket the acks and what the user says come to the same reader.
        async Task TellAndHearAsync()
        {
            for (var i = 0; i < Many; i++)
            {
                await backend.TellAsync(i % 3 == 0 ? null : "u", $"{i}");
            }

            for (var i = 0; i < Many; i++)
            {
                await backend.HearsAsync(user, $"{i}");
            }
        }
    }

    [Fact]
    public async Task A_disconnected_user_neither_receives_nor_sends_messages()
    {
        var (backend, other) = (await RegisterAsync(), await RegisterAsync());
        var user = await JoinAsync(backend, "u");
        var joined = $$"""{"service":"{{other.Bkid}}","user":"u"}""";
        await user.Client.AckAsync("dmb:connect", joined);
        await user.GetsAsync("dmb:connected", joined);
        await backend.HearsAsync("connect", user, 1);

        Assert.EndsWith(
            ",\"ok\":true,\"data\":{}}",
            await user.Client.AckAsync("dmb:disconnect", $$"""{"service":"{{backend.Bkid}}"}"""),
            StringComparison.Ordinal
        );
        await backend.HearsAsync("disconnect", user, 0);
        Assert.Equal(0, await backend.TellAsync("u", "1"));
        Assert.Equal(0, await backend.TellAsync(null, "2"));
        Assert.Contains("\"code\":\"forbidden_publish\"", await user.SayAsync("3"), StringComparison.Ordinal);

        // It is still the other's, which is now the only one.
        Assert.Contains(
            "\"ok\":true",
            await user.Client.AckAsync("dmb:message", """{"data":4}"""),
            StringComparison.Ordinal
        );
        Assert.Equal(1, await other.TellAsync("u", "5"));
        await user.GetsAsync("dmb:direct", "5");
        Assert.Equal("connect", JsonElement.Parse(await other.ReadAsync()).GetProperty("type").GetString());
        await other.HearsAsync(user, "4");
    }

    [Fact]
    public async Task Freeing_a_backend_notifies_and_disconnects_its_users()
    {
        var (backend, other) = (await RegisterAsync(), await RegisterAsync());
        TestUser[] users =
        [
            await JoinAsync(backend, "u", First),
            await JoinAsync(backend, "u"),
            await StreamAsync(backend, "v"),
        ];
        var stays = await JoinAsync(other, "u");
        await backend.SendAsync("u", "1", "id");
        await backend.FreeAsync();
        foreach (var user in users)
        {
            if (user.Name == "u")
            {
                await user.GetsAsync("dmb:direct", "1");
            }

            await user.GetsAsync("dmb:disconnected", $$"""{"service":"{{backend.Bkid}}"}""");
        }

        Assert.Contains("\"code\":\"unknown_backend\"", await users[1].SayAsync("1"), StringComparison.Ordinal);
        Assert.Contains(
            "\"code\":\"unknown_backend\"",
            await users[1].Client.AckAsync("dmb:connect", $$"""{"service":"{{backend.Bkid}}","user":"u"}"""),
            StringComparison.Ordinal
        );
        foreach (
            var path in (string[])
                [
                    $"/events?service={backend.Bkid}&user=u",
                    $"/backend/{backend.Bkid}/uplink",
                    $"/backend/{backend.Bkid}/uplink/stored",
                ]
        )
        {
            using var response = await nodes[0].Http.GetAsync(new Uri(Last, path));
            Assert.Equal((path, HttpStatusCode.NotFound), (path, response.StatusCode));
        }

        // What comes back with the bkid is new: without users, without what was stored, and its ids are free.
        var again = await RegisterAsync("spec", backend.Bkid);
        Assert.Equal("[]", await StoredAsync(again));
        Assert.Equal(new Ack(0, false), await again.SendAsync("u", "2", "id"));
        Assert.Equal(0, await again.TellAsync(null, "3"));
        Assert.Equal(1, await other.TellAsync("u", "4"));
        await stays.GetsAsync("dmb:direct", "4");
        var user2 = await JoinAsync(again, "u");
        await again.HearsAsync("connect", user2, 1);
    }

    [Fact]
    public async Task A_user_with_one_remaining_backend_need_not_name_it()
    {
        var (freed, left) = (await RegisterAsync(), await RegisterAsync());
        var user = await JoinAsync(freed, "u");
        await user.Client.AckAsync("dmb:connect", $$"""{"service":"{{left.Bkid}}","user":"u"}""");
        Assert.Equal("dmb:connected", (await user.ReadAsync()).Event);
        await left.HearsAsync("connect", user, 1);
        Assert.Contains(
            "\"code\":\"bad_frame\"",
            await user.Client.AckAsync("dmb:message", """{"data":1}"""),
            StringComparison.Ordinal
        );

        await freed.FreeAsync();
        await user.GetsAsync("dmb:disconnected", $$"""{"service":"{{freed.Bkid}}"}""");
        Assert.Contains(
            "\"ok\":true",
            await user.Client.AckAsync("dmb:message", """{"data":2}"""),
            StringComparison.Ordinal
        );
        await left.HearsAsync(user, "2");
    }

    [Fact]
    public async Task The_same_id_is_one_message_and_answered_again()
    {
        var backend = await RegisterAsync();
        var user = await JoinAsync(backend, "u");
        Assert.Equal(new Ack(1, false), await backend.SendAsync("u", "1", "same"));
        Assert.Equal(new Ack(1, true), await backend.SendAsync("u", "1", "same"));
        Assert.Equal(new Ack(1, true), await backend.SendAsync(null, "{\"else\":2}", "same"));
        var again = await RegisterAsync("spec", backend.Bkid, Last);
        Assert.Equal(new Ack(1, true), await again.SendAsync("u", "1", "same"));
        await again.TellAsync("u", "3");
        await user.GetsAsync("dmb:direct", "1");
        await user.GetsAsync("dmb:direct", "3");

        // Another backend's ids are its own.
        var other = await RegisterAsync();
        Assert.Equal(new Ack(0, false), await other.SendAsync("u", "1", "same"));
    }

    [Fact]
    public async Task A_backend_reads_its_missed_uplinks_after_the_last_one()
    {
        var backend = await RegisterAsync();
        var user = await JoinAsync(backend, "u");
        for (var i = 0; i < 250; i++)
        {
            await user.Client.SendAsync($$$"""{"event":"dmb:message","data":{"data":{{{i}}}}}""");
        }

        await user.SayAsync("\"last\"");
        var stored = JsonElement.Parse(await StoredAsync(backend, "max=1000")).EnumerateArray().ToArray();
        Assert.Equal(252, stored.Length);
        Assert.Equal("connect", stored[0].GetProperty("uplink").GetProperty("type").GetString());
        Assert.Equal(
            [.. Enumerable.Range(0, 250).Select(i => $"{i}"), "\"last\""],
            stored.Skip(1).Select(one => one.GetProperty("uplink").GetProperty("data").GetRawText())
        );
        Assert.All(stored.Skip(1), one =>
            Assert.Equal(one.GetProperty("id").GetString(), one.GetProperty("uplink").GetProperty("id").GetString())
        );

        var read = new List<string>();
        for (var after = ""; ; )
        {
            var page = JsonElement.Parse(await StoredAsync(backend, after)).EnumerateArray().ToArray();
            if (page.Length == 0)
            {
                break;
            }

            Assert.InRange(page.Length, 1, 100);
            read.AddRange(page.Select(one => one.GetRawText()));
            after = "after=" + page[^1].GetProperty("id").GetString();
        }

        Assert.Equal(stored.Select(one => one.GetRawText()), read);
    }

    [Fact]
    public async Task A_backend_can_send_to_a_session_as_soon_as_it_is_notified()
    {
        var backend = await RegisterAsync();
        for (var i = 0; i < 30; i++)
        {
            var user = await OpenAsync(backend, $"u{i}");
            await user.Client.SendAsync(
                $$$"""{"event":"dmb:connect","data":{"service":"{{{backend.Bkid}}}","user":"u{{{i}}}"}}"""
            );
            await backend.HearsAsync("connect", user, 1);
            Assert.Equal(1, await backend.TellAsync(user.Name, $"{i}"));
            Assert.Equal("dmb:connected", (await user.ReadAsync()).Event);
            await user.GetsAsync("dmb:direct", $"{i}");
        }
    }

    [Fact]
    public async Task A_session_receives_connected_before_any_message()
    {
        var backend = await RegisterAsync();
        var isDone = false;
        var broadcasting = Task.Run(async () =>
        {
            for (var i = 0; !Volatile.Read(ref isDone); i++)
            {
                await backend.TellAsync(null, $"{i}");
            }
        });
        for (var i = 0; i < 20; i++)
        {
            var user =
                i % 2 == 0
                    ? await JoinAsync(backend, $"u{i}", nodes[i % nodes.Count].Url)
                    : await StreamAsync(backend, $"u{i}", nodes[i % nodes.Count].Url);
            var first = (await user.ReadAsync()).Data;
            await user.GetsAsync(
                "dmb:broadcast",
                $"{int.Parse(first, System.Globalization.CultureInfo.InvariantCulture) + 1}"
            );
        }

        Volatile.Write(ref isDone, true);
        await broadcasting;
    }

    private async Task<TestBackend> RegisterAsync(string name = "spec", string? bkid = null, Uri? node = null) =>
        _started.Add(await TestBackend.RegisterAsync(by, node ?? First, redis, name, bkid));

    private async Task<TestUser> JoinAsync(TestBackend backend, string user, Uri? node = null) =>
        _started.Add(await TestUser.JoinAsync(node ?? Last, backend.Bkid, user));

    private async Task<TestUser> OpenAsync(TestBackend backend, string user) =>
        _started.Add(await TestUser.OpenAsync(Last, backend.Bkid, user));

    private async Task<TestUser> StreamAsync(TestBackend backend, string user, Uri? node = null) =>
        _started.Add(await TestUser.StreamAsync(node ?? Last, backend.Bkid, user));

    private Task<string> StoredAsync(TestBackend backend, string query = "") =>
        nodes[0].Http.GetStringAsync(new Uri(Last, $"/backend/{backend.Bkid}/uplink/stored?{query}"));
}

/// <summary>Over HTTP, by a node that runs alone.</summary>
public sealed class EmbeddedHttpBackendTests(EmbeddedBackplaneTests.Alone alone)
    : BackendSpec(By.Http, [alone.Node], null),
        IClassFixture<EmbeddedBackplaneTests.Alone>;

/// <summary>Over a socket, by a node that runs alone.</summary>
public sealed class EmbeddedSocketBackendTests(EmbeddedBackplaneTests.Alone alone)
    : BackendSpec(By.Socket, [alone.Node], null),
        IClassFixture<EmbeddedBackplaneTests.Alone>;

/// <summary>Over HTTP, by three nodes.</summary>
[Collection(RedisLane.Name)]
public sealed class ClusterHttpBackendTests(SharedCluster shared) : BackendSpec(By.Http, shared.Nodes, shared.Redis);

/// <summary>Over a socket, by three nodes.</summary>
[Collection(RedisLane.Name)]
public sealed class ClusterSocketBackendTests(SharedCluster shared)
    : BackendSpec(By.Socket, shared.Nodes, shared.Redis);

/// <summary>Over Redis itself, by three nodes.</summary>
[Collection(RedisLane.Name)]
public sealed class ClusterRedisBackendTests(SharedCluster shared) : BackendSpec(By.Redis, shared.Nodes, shared.Redis);
