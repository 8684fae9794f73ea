namespace Dmb.Tests.Redis;

/// <summary>How nodes find their server of a Redis Cluster, and what they say of one that is of no use.</summary>
[Collection(RedisLane.Name)]
public sealed class ShardTests
{
    [Fact]
    public async Task Nodes_meet_on_the_server_that_has_their_slot()
    {
        await using var shards = await Shards.StartAsync();
        await using var one = await NodeProcess.StartReadyAsync([.. shards.Settings, .. NodeProcess.Patient]);
        await using var two = await NodeProcess.StartReadyAsync([
            ("REDIS_URL", $"redis://127.0.0.1:{shards.Servers[^1].Port}?cluster=true"),
            ("DMB_PREFIX", Shards.Prefix),
            .. NodeProcess.Patient,
        ]);
        await using var client = await two.JoinAsync("n:1", "n:2");
        var id = await one.NotifyAsync("call", """{"_in":["n:1","n:2"]}""");
        Assert.Contains(id, await client.ReadAsync(), StringComparison.Ordinal);

        // What is published on any server is received.
        await shards.Servers[0].CommandAsync("PUBLISH", "{dmb}:notify:call", """{"_in":"n:1","from":"redis"}""");
        Assert.Contains("redis", await client.ReadAsync(), StringComparison.Ordinal);

        using var registering = new StringContent("""{"name":"billing"}""");
        using var registered = await one.Http.PostAsync(new Uri(one.Url, "/register/backend"), registering);
        Assert.True(registered.IsSuccessStatusCode, await registered.Content.ReadAsStringAsync());
        var (_, body) = await one.PushAsync("call", """{"_in":"n:1"}""", "key");
        Assert.DoesNotContain("duplicate", body, StringComparison.Ordinal);
        Assert.Contains("duplicate", (await two.PushAsync("call", """{"_in":"n:1"}""", "key")).Body);

        var owner = await shards.OwnerAsync();
        var keys = (await owner.CommandAsync("KEYS", "*")).Split('\n');
        Assert.Contains("{dmb}:log", keys);
        Assert.All(keys, key => Assert.StartsWith(Shards.Prefix, key, StringComparison.Ordinal));
        foreach (var other in await shards.OthersAsync())
        {
            Assert.Equal("0", await other.CommandAsync("DBSIZE"));
        }
    }

    [Fact]
    public async Task Groups_that_are_not_set_are_64_on_a_new_cluster_and_what_its_data_have_on_another()
    {
        await using var shards = await Shards.StartAsync();
        (string, string)[] settings = [.. shards.Settings, ("DMB_GROUPS", "0"), .. NodeProcess.Patient];
        await using (var one = await NodeProcess.StartReadyAsync(settings))
        {
            await using var two = await NodeProcess.StartReadyAsync(settings);
            await using var client = await two.JoinAsync("n:1", "n:2", "n:3");
            var id = await one.NotifyAsync("call", """{"_in":["n:1","n:2","n:3"]}""");
            Assert.Contains(id, await client.ReadAsync(), StringComparison.Ordinal);
            Assert.Equal("64", await GroupsAsync(Shards.Prefix));
        }

        // One of this number, and one of a version that did not record it.
        await CommandAsync("{a}:", "HSET", "{a}:format", "layout", "1", "groups", "1", "since", "");
        await CommandAsync("{b}:", "HSET", "{b}:epoch", "mark", "abc");
        foreach (var prefix in (string[])["{a}:", "{b}:"])
        {
            await using var node = await NodeProcess.StartReadyAsync([.. settings, ("DMB_PREFIX", prefix)]);
            Assert.Equal("1", await GroupsAsync(prefix));
        }

        Assert.Equal("abc", await CommandAsync("{b}:", "HGET", "{b}:epoch", "mark"));

        // What could not be asked for is not changed.
        await CommandAsync("{c}:", "HSET", "{c}:format", "layout", "1", "groups", "3", "since", "");
        foreach (var server in shards.Servers)
        {
            server.Stop();
        }

        await using var late = NodeProcess.Run([.. settings, ("DMB_PREFIX", "{c}:")]);
        await late.LineAsync(" listens on ");
        foreach (var server in shards.Servers)
        {
            server.Continue();
        }

        Assert.Equal(2, await late.EndAsync());
        Assert.Contains(late.Lines, line =>
            line.Contains("is 64 here; what is kept under {c}: has 3. This node stops.", StringComparison.Ordinal)
        );

        async Task<string> CommandAsync(string prefix, params string[] words) =>
            await (await shards.OwnerAsync(prefix)).CommandAsync(words);

        Task<string> GroupsAsync(string prefix) => CommandAsync(prefix, "HGET", prefix + "format", "groups");
    }

    [Fact]
    public async Task The_line_of_the_readme_finds_the_cluster()
    {
        await using var shards = await Shards.StartAsync();
        var page = await DocumentPage.ReadAsync("README.md", "## Several nodes");
        var line = page.Blocks("sh").Single(block => block.Contains("?cluster=", StringComparison.Ordinal));
        for (var i = 0; i < 3; i++)
        {
            line = line.Replace($"r{i + 1}:6379", $"localhost:{shards.Servers[i].Port}", StringComparison.Ordinal);
        }

        await using var terminals = new Terminals();
        var node = terminals.Type(
            "DMB_PORT=0 " + line.Replace("dotnet run -c Release", $"exec {NodeProcess.CommandLine}")
        );
        await node.LineAsync("Connected to Redis");
    }

    [Fact]
    public async Task A_server_that_is_no_cluster_is_warned_of()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_URL", $"redis://127.0.0.1:{redis.Port}?cluster=true"),
            ("DMB_PREFIX", Shards.Prefix)
        );
        const string Why = "no server of the cluster names a master: ";
        Assert.Contains("warn", await node.LogAsync(Why), StringComparison.Ordinal);
        await node.BecomesAsync("degraded", "cluster support disabled");
    }

    [Theory]
    [InlineData("dmb:")]
    [InlineData("{}dmb:")]
    [InlineData("{dmb:")]
    [InlineData("dmb}:")]
    public async Task A_prefix_that_spreads_over_the_cluster_is_refused_at_start(string prefix)
    {
        await using var node = NodeProcess.Run(
            ("REDIS_URL", "redis://127.0.0.1:6380,127.0.0.1:6381?cluster=true"),
            ("DMB_PREFIX", prefix)
        );
        Assert.Equal(2, await node.EndAsync());
        Assert.StartsWith($"DMB_PREFIX: '{prefix}'", Assert.Single(node.Lines), StringComparison.Ordinal);
    }
}
