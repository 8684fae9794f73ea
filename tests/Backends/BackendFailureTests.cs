using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Dmb.Tests.Redis;

namespace Dmb.Tests.Backends;

/// <summary>A node dies, Redis goes away, or a backend is freed, while its users are at it.</summary>
[Collection(RedisLane.Name)]
public sealed class BackendFailureTests : IAsyncLifetime
{
    private const int Many = 300;

    /// <summary>Where Redis stays, no publish is given up while the machine is busy; probes go on.</summary>
    private static readonly (string, string) Unhurried = ("DMB_PUBLISH_TIMEOUT", "30");

    private readonly Started _started = new();

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => _started.DisposeAsync();

    [Fact]
    public async Task When_a_node_is_killed_each_of_its_sessions_ends_once()
    {
        var cluster = await StartAsync(Unhurried);
        var backend = await RegisterAsync(cluster, By.Http);
        TestUser[] staying = [await JoinAsync(cluster, 1, backend, "ann"), await JoinAsync(cluster, 0, backend, "bob")];
        TestUser[] dying =
        [
            await JoinAsync(cluster, 2, backend, "ann"),
            await JoinAsync(cluster, 2, backend, "ann"),
            await JoinAsync(cluster, 2, backend, "cid"),
        ];
        for (var i = 0; i < 5; i++)
        {
            await backend.ReadAsync();
        }

        // It takes a while until a node is known to be dead: those who stay answer pings meanwhile.
        var reading = staying.Select(user => user.Client.NextAsync()).ToArray();
        await cluster.Nodes[2].KillAsync();

        // The stream's comments come meanwhile.
        string[] told = [await backend.ReadAsync(), await backend.ReadAsync(), await backend.ReadAsync()];
        Assert.Equal(
            dying.Select(user => user.Session).Order(),
            told.Select(uplink => Member(uplink, "session")).Order()
        );
        Assert.All(told, uplink => Assert.Equal("disconnect", Member(uplink, "type")));
        Assert.Equal(
            ["0"],
            told.Where(uplink => Member(uplink, "user") == "cid").Select(uplink => Member(uplink, "sessions"))
        );
        Assert.Equal(
            ["2", "1"],
            told.Where(uplink => Member(uplink, "user") == "ann").Select(uplink => Member(uplink, "sessions"))
        );

        await ProbesAsync(cluster, 2);
        await staying[0].DisposeAsync();
        await backend.HearsAsync("disconnect", staying[0], 0);
        Assert.Equal(0, await backend.TellAsync("cid", "1"));
        Assert.Equal(0, await backend.TellAsync("ann", "1"));
        await IsPresentAsync(cluster, backend, staying[1]);
        Assert.False(reading[1].IsCompleted);
    }

    [Fact]
    public async Task A_node_that_probes_seldom_is_not_held_to_be_dead_in_between()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await NodeProcess.StartReadyAsync(
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_PROBE_INTERVAL", "60")
        );
        var alive = "dmb:node:" + await redis.CommandAsync("SMEMBERS", "dmb:nodes");
        foreach (var key in (string[])[alive, "dmb:log"])
        {
            Assert.InRange(
                long.Parse(await redis.CommandAsync("PTTL", key), CultureInfo.InvariantCulture),
                61_000,
                180_000
            );
        }
    }

    [Theory]
    [InlineData("stopped")]
    [InlineData("killed, and back with its data")]
    [InlineData("killed, and back with nothing")]
    public async Task User_messages_and_presence_during_an_outage_reach_the_backend_once_after_it(string fault)
    {
        var redis = fault.EndsWith("data", StringComparison.Ordinal)
            ? await RedisServer.StartAsync("--appendonly", "yes")
            : await RedisServer.StartAsync();
        var cluster = await Cluster.StartAsync(redis, withProxy: false);
        _started.Add(cluster);
        await cluster.ReadyAsync();
        var backend = await RegisterAsync(cluster, By.Socket);
        var (ann, bob) = (await JoinAsync(cluster, 2, backend, "ann"), await JoinAsync(cluster, 2, backend, "bob"));
        var cid = Started(await TestUser.OpenAsync(cluster.Nodes[1].Url, backend.Bkid, "cid"));
        await ann.SayAsync("0");
        await backend.HearsAsync("connect", ann, 1);
        await backend.HearsAsync("connect", bob, 1);
        await backend.HearsAsync(ann, "0");
        var hearing = HearAsync();

        await (fault == "stopped" ? Stopped(redis) : redis.KillAsync());
        await BackplaneAsync("down", ann, cid);
        for (var i = 1; i <= 5; i++)
        {
            Accepted(await ann.SayAsync($"{i}"));
        }

        await bob.DisposeAsync();
        Accepted(await cid.Client.AckAsync("dmb:connect", $$"""{"service":"{{backend.Bkid}}","user":"cid"}"""));
        Accepted(await cid.SayAsync("6"));
        await (fault == "stopped" ? Continued(redis) : redis.StartAsync());
        await cluster.ReadyAsync();
        await ProbesAsync(cluster, 3);
        Accepted(await ann.SayAsync("7"));
        Accepted(await ann.SayAsync("\"last\""));

        var heard = await hearing;
        Assert.Equal(["1", "2", "3", "4", "5", "7", "\"last\""], Said(heard, ann));
        Assert.Equal(["6"], Said(heard, cid));
        Assert.Equal(
            [backend.Presence("disconnect", bob, 0)],
            heard.Where(uplink => uplink.StartsWith("{\"type\":\"disconnect\"", StringComparison.Ordinal))
        );
        Assert.Single(heard, backend.Presence("connect", cid, 1));
        var stored = JsonElement
            .Parse(
                await cluster
                    .Nodes[0]
                    .Http.GetStringAsync(new Uri(cluster.Nodes[0].Url, $"/backend/{backend.Bkid}/uplink/stored"))
            )
            .EnumerateArray()
            .Select(one => one.GetProperty("uplink").GetRawText())
            .ToArray();
        Assert.Equal(["1", "2", "3", "4", "5", "7", "\"last\""], Said(stored, ann).SkipWhile(data => data == "0"));
        Assert.Equal(["6"], Said(stored, cid));

        await IsPresentAsync(cluster, backend, ann, cid);
        Assert.Equal(2, await backend.TellAsync(null, "8"));
        await ann.GetsAsync("dmb:broadcast", "8");
        Assert.Equal("dmb:connected", (await cid.ReadAsync()).Event);
        await cid.GetsAsync("dmb:broadcast", "8");

        async Task<List<string>> HearAsync()
        {
            var heard = new List<string>();
            while (heard.LastOrDefault()?.Contains("\"last\"", StringComparison.Ordinal) != true)
            {
                heard.Add(await backend.ReadAsync());
            }

            return heard;
        }
    }

    [Fact]
    public async Task A_session_that_reconnects_during_an_outage_is_counted()
    {
        var cluster = await StartAsync();
        var backend = await RegisterAsync(cluster, By.Socket);
        var (ann, bob) = (await JoinAsync(cluster, 2, backend, "ann"), await JoinAsync(cluster, 2, backend, "bob"));
        cluster.Redis.Stop();
        await BackplaneAsync("down", ann, bob);
        Accepted(await ann.Client.AckAsync("dmb:disconnect", "null"));
        Accepted(await ann.Client.AckAsync("dmb:connect", $$"""{"service":"{{backend.Bkid}}","user":"ann"}"""));
        Accepted(await bob.Client.AckAsync("dmb:connect", $$"""{"service":"{{backend.Bkid}}","user":"bea"}"""));
        cluster.Redis.Continue();
        await cluster.ReadyAsync();
        await ProbesAsync(cluster, 3);
        var keys = await PresentAsync(cluster, backend);
        Assert.Equal([$"{ann.Session} ann", $"{bob.Session} bea", "ann 1", "bea 1"], keys);
    }

    [Fact]
    public async Task Operations_that_need_Redis_are_refused_during_an_outage_and_succeed_after_it()
    {
        var cluster = await StartAsync();
        var node = cluster.Nodes[0];
        var backend = await RegisterAsync(cluster, By.Socket);
        await using var client = await node.ConnectAsync();
        var data = $$"""{"name":"spec","bkid":"{{backend.Bkid}}"}""";
        Accepted(await client.AckAsync("dmb:reconnect", data));
        await client.ReadAllAsync();
        cluster.Redis.Stop();
        Assert.Contains("\"down\"", await client.ReadAsync(), StringComparison.Ordinal);

        Assert.Contains(
            "\"code\":\"backplane_down\"",
            await client.AckAsync("dmb:disconnect", "null"),
            StringComparison.Ordinal
        );
        Assert.Contains("\"retry\":true", await client.AckAsync("dmb:reconnect", data), StringComparison.Ordinal);
        var (status, body) = await HttpBackend.PostAsync(new Uri(node.Url, "/register/backend"), """{"name":"x"}""");
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "backplane_down"), (status, Member(body, "code")));
        (status, body) = await HttpBackend.PostAsync(
            new Uri(node.Url, $"/backend/{backend.Bkid}/messages"),
            """{"id":"m","data":1}"""
        );
        Assert.Equal(
            (
                HttpStatusCode.Accepted,
                """{"type":"bk_message_ack","id":"m","ok":true,"nodes":0,"degraded":"spooled"}"""
            ),
            (status, body)
        );
        using var stored = await node.Http.GetAsync(new Uri(node.Url, $"/backend/{backend.Bkid}/uplink/stored"));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, stored.StatusCode);
        Assert.Contains(
            "\"code\":\"unknown_backend\"",
            await (await node.ConnectAsync()).AckAsync("dmb:connect", """{"service":"nodes","user":"u"}"""),
            StringComparison.Ordinal
        );

        cluster.Redis.Continue();
        await cluster.ReadyAsync();
        Assert.EndsWith(
            $$$"""{"bkid":"{{{backend.Bkid}}}"}}""",
            await client.AckAsync("dmb:disconnect", "null"),
            StringComparison.Ordinal
        );
        Assert.Equal("", await cluster.Redis.CommandAsync("KEYS", $"*{backend.Bkid}*"));
    }

    [Fact]
    public async Task A_user_on_a_disconnected_node_learns_later_that_its_backend_was_freed()
    {
        var cluster = await Cluster.StartAsync(await RedisServer.StartAsync(), withProxy: true);
        _started.Add(cluster);
        await cluster.ReadyAsync();
        var backend = await TestBackend.RegisterAsync(By.Redis, cluster.Nodes[1].Url, cluster.Redis, "spec");
        _started.Add(backend);
        var user = await JoinAsync(cluster, 0, backend, "u");
        cluster.FirstProxy!.Refuse();
        await BackplaneAsync("down", user);
        await backend.FreeAsync();
        cluster.FirstProxy.Heal();
        await cluster.Nodes[0].BecomesAsync("ready");
        await user.GetsAsync("dmb:disconnected", $$"""{"service":"{{backend.Bkid}}"}""");
        Assert.Contains("unknown_backend", await user.SayAsync("1"), StringComparison.Ordinal);
        await ProbesAsync(cluster, 2);
        Assert.Equal("", await cluster.Redis.CommandAsync("KEYS", $"*{backend.Bkid}*"));
    }

    [Fact]
    public async Task Messages_on_their_way_when_a_backend_is_freed_are_each_answered()
    {
        var cluster = await StartAsync(Unhurried);
        var first = await RegisterAsync(cluster, By.Http);
        var bkid = first.Bkid;
        TestBackend[] backends =
        [
            first,
            Started(await TestBackend.RegisterAsync(By.Socket, cluster.Nodes[1].Url, cluster.Redis, "spec", bkid)),
        ];
        var (ann, bob) = (await JoinAsync(cluster, 1, first, "ann"), await JoinAsync(cluster, 2, first, "bob"));
        using var redis = await cluster.Redis.OpenAsync();
        using var acks = await cluster.Redis.OpenAsync();
        await acks.SubscribeAsync($"dmb:{bkid}:ack");

        var answers = new ConcurrentQueue<string?>();
        var halfway = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Task[] sending =
        [
            .. backends.Select(backend =>
                RepeatAsync(async i => (await backend.SendAsync(i % 2 == 0 ? null : "ann", $"{i}")).Error)
            ),
            // Once told, a user has left.
            .. new[] { ann, bob }.Select(user =>
                RepeatAsync(async i =>
                    Code(await user.SayAsync($"{i}")) is not "forbidden_publish" and var code ? code : "unknown_backend"
                )
            ),
            RepeatAsync(async i =>
            {
                await redis.CommandAsync("PUBLISH", "dmb:" + bkid, $$"""{"id":"r{{i}}","to":"bob","data":{{i}}}""");
                return Code((await acks.ReadMessageAsync()).Body);
            }),
        ];
        await halfway.Task.WaitAsync(Node.Patience);
        var freeing = await cluster
            .Nodes[0]
            .Http.DeleteAsync(new Uri(cluster.Nodes[0].Url, "/register/backend/" + bkid));
        Assert.Equal(HttpStatusCode.NoContent, freeing.StatusCode);
        await Task.WhenAll(sending);

        Assert.Equal(Many * sending.Length, answers.Count);
        Assert.All(answers, code => Assert.True(code is null or "unknown_backend", code));
        Assert.Contains(null, answers);
        Assert.Contains("unknown_backend", answers);
        await ProbesAsync(cluster, 2);
        Assert.Equal("", await cluster.Redis.CommandAsync("KEYS", $"*{bkid}*"));

        async Task RepeatAsync(Func<int, Task<string?>> sendAsync)
        {
            for (var i = 0; i < Many; i++)
            {
                answers.Enqueue(await sendAsync(i));
                if (answers.Count >= Many)
                {
                    halfway.TrySetResult();
                }
            }
        }

        static string? Code(string ack) =>
            JsonElement.Parse(ack).TryGetProperty("error", out var error)
                ? error.GetProperty("code").GetString()
                : null;
    }

    private static Task Stopped(RedisServer redis)
    {
        redis.Stop();
        return Task.CompletedTask;
    }

    private static Task Continued(RedisServer redis)
    {
        redis.Continue();
        return Task.CompletedTask;
    }

    private static void Accepted(string ack) => Assert.Contains("\"ok\":true", ack, StringComparison.Ordinal);

    private static string Member(string json, string name) => JsonElement.Parse(json).GetProperty(name).ToString();

    private static string[] Said(IEnumerable<string> uplinks, TestUser user) =>
        [
            .. uplinks
                .Where(uplink => Member(uplink, "type") == "message" && Member(uplink, "session") == user.Session)
                .Select(TestBackend.DataOf),
        ];

    private static async Task BackplaneAsync(string state, params TestUser[] users)
    {
        foreach (var user in users)
        {
            Assert.Equal($$$"""{"event":"backplane","data":{"state":"{{{state}}}"}}""", await user.Client.ReadAsync());
        }
    }

    /// <summary>
    /// Waits until each living node has sent that many probes: what it does once a second has begun as often.
    /// </summary>
    private static async Task ProbesAsync(Cluster cluster, int count)
    {
        using var probes = await cluster.Redis.OpenAsync();
        var nodes = (await cluster.Redis.CommandAsync("SMEMBERS", "dmb:nodes")).Split('\n').ToHashSet();
        foreach (var node in nodes.ToArray())
        {
            if (await cluster.Redis.CommandAsync("EXISTS", "dmb:node:" + node) == "0")
            {
                nodes.Remove(node);
            }
        }

        foreach (var node in nodes)
        {
            await probes.SubscribeAsync("dmb:node:" + node);
        }

        var seen = nodes.ToDictionary(node => "dmb:node:" + node, _ => 0);
        while (seen.Values.Any(number => number < count))
        {
            var (channel, body) = await probes.ReadMessageAsync();
            seen[channel] += body.StartsWith("probe ", StringComparison.Ordinal) ? 1 : 0;
        }
    }

    /// <summary>What Redis has of a backend's sessions and users, a line each.</summary>
    private static async Task<string[]> PresentAsync(Cluster cluster, TestBackend backend)
    {
        var lines = new List<string>();
        foreach (var key in (string[])["sessions", "users"])
        {
            var all = (await cluster.Redis.CommandAsync("HGETALL", $"dmb:{backend.Bkid}:{key}")).Split(
                '\n',
                StringSplitOptions.RemoveEmptyEntries
            );
            lines.AddRange(
                all.Chunk(2)
                    .Select(pair => $"{pair[0]} {pair[1]}")
                    .OrderBy(line => line[(key == "sessions" ? 32 : 0)..], StringComparer.Ordinal)
            );
        }

        return [.. lines];
    }

    private static async Task IsPresentAsync(Cluster cluster, TestBackend backend, params TestUser[] users)
    {
        string[] expected =
        [
            .. users.Select(user => $"{user.Session} {user.Name}"),
            .. users.Select(user => user.Name + " 1"),
        ];
        Assert.Equal(expected, await PresentAsync(cluster, backend));
    }

    private async Task<Cluster> StartAsync(params (string, string)[] settings) =>
        Started(await Cluster.StartAsync(settings));

    private async Task<TestBackend> RegisterAsync(Cluster cluster, By by) =>
        Started(await TestBackend.RegisterAsync(by, cluster.Nodes[0].Url, cluster.Redis, "spec"));

    private async Task<TestUser> JoinAsync(Cluster cluster, int node, TestBackend backend, string user) =>
        Started(await TestUser.JoinAsync(cluster.Nodes[node].Url, backend.Bkid, user));

    private T Started<T>(T one)
        where T : IAsyncDisposable
    {
        _started.Add(one);
        return one;
    }
}
