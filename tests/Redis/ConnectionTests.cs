namespace Dmb.Tests.Redis;

/// <summary>Which Redis a node is on, how it gets in, and that brokers can share one.</summary>
[Collection(RedisLane.Name)]
public sealed class ConnectionTests
{
    [Theory]
    [InlineData("dmb:", "other:")]
    [InlineData("a:", "a:a:")]
    [InlineData("a", "ab")]
    public async Task Brokers_with_different_prefixes_on_one_Redis_are_independent(string one, string two)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var first = await StartAsync(redis, ("DMB_PREFIX", one));
        await using var second = await StartAsync(redis, ("DMB_PREFIX", two));
        await using var here = await first.JoinAsync("calls");
        await using var there = await second.JoinAsync("calls");

        await first.Http.PostAsync(
            new Uri(first.Url, "/register"),
            new StringContent("""{"event":"mine","default_room":"calls"}""")
        );
        var mine = await first.NotifyAsync("mine", "1");
        Assert.Equal((200, """{"ok":false,"ignore":true}"""), await second.PushAsync("mine", "1"));
        await first.PushAsync("call", "2", "key");
        var (_, body) = await second.PushAsync("call", "3", "key");
        Assert.DoesNotContain("duplicate", body, StringComparison.Ordinal);
        await redis.CommandAsync("PUBLISH", one + "notify:call", "4");
        await redis.CommandAsync("PUBLISH", two + "notify:call", "5");

        await here.GetsAsync("mine", "1", mine);
        Assert.Equal(["2", "4"], [await here.ReadDataAsync("call"), await here.ReadDataAsync("call")]);
        Assert.Equal(["3", "5"], [await there.ReadDataAsync("call"), await there.ReadDataAsync("call")]);
        Assert.Empty(await here.ReadAllAsync());
        Assert.Empty(await there.ReadAllAsync());
        Assert.Equal(1, (await first.GetAsync("/rooms/calls")).GetProperty("sessions").GetInt32());

        var keys = (await redis.CommandAsync("KEYS", "*")).Split('\n');
        Assert.All(keys, key =>
            Assert.True(
                key.StartsWith(one, StringComparison.Ordinal) || key.StartsWith(two, StringComparison.Ordinal),
                key
            )
        );
    }

    [Fact]
    public async Task A_database_number_and_a_password_in_the_URL_are_used()
    {
        await using var redis = await RedisServer.StartAsync("--requirepass", "p@ss/word");
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_URL", $"redis://:p%40ss%2Fword@127.0.0.1:{redis.Port}/3")
        );
        await node.BecomesAsync("ready");
        Assert.Contains("db3:keys=", await redis.CommandAsync("INFO", "keyspace"), StringComparison.Ordinal);
        Assert.DoesNotContain("db0:", await redis.CommandAsync("INFO", "keyspace"), StringComparison.Ordinal);
        Assert.DoesNotContain(node.Log, line => line.Contains("word", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Redis_over_TLS_is_reached_by_a_name_that_its_certificate_has_and_by_no_other()
    {
        var directory = Directory.CreateTempSubdirectory("dmb-tls");
        try
        {
            var files = Certificates.Write(directory.FullName);
            var port = RedisServer.FreePort();
            await using var redis = await RedisServer.StartAsync([
                .. Certificates.ForRedis(port, files),
                "--requirepass",
                "secret",
            ]);

            await using var one = await NodeProcess.StartAsync([
                ("REDIS_URL", $"rediss://:secret@localhost:{port}"),
                ("SSL_CERT_FILE", files.Authority),
                .. NodeProcess.Patient,
            ]);
            await using var two = await NodeProcess.StartAsync([
                ("REDIS_URL", $"rediss://default:secret@localhost:{port}/0"),
                ("SSL_CERT_FILE", files.Authority),
                .. NodeProcess.Patient,
            ]);
            await one.BecomesAsync("ready");
            await two.BecomesAsync("ready");
            await using var client = await two.JoinAsync("calls");
            await client.GetsAsync("call", "1", await one.NotifyAsync("call", "1"));

            await using var stranger = await NodeProcess.StartAsync(
                ("REDIS_URL", $"rediss://:secret@localhost:{port}")
            );
            await using var otherName = await NodeProcess.StartAsync(
                ("REDIS_URL", $"rediss://:secret@127.0.0.1:{port}"),
                ("SSL_CERT_FILE", files.Authority)
            );
            Assert.Equal(202, (await stranger.PushAsync("call", "2")).Status);
            Assert.Equal(202, (await otherName.PushAsync("call", "3")).Status);
            await client.GetsAsync("call", "4", await one.NotifyAsync("call", "4"));
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task A_user_of_an_ACL_with_the_commands_of_the_docs_is_refused_nothing()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs/operations.md"));
        var rule = page.Split("<!-- redis-acl -->")[1].Split('\n').Single(line => line.StartsWith("user dmb "));
        await using var redis = await RedisServer.StartAsync();
        await redis.CommandAsync(["ACL", "SETUSER", .. rule.Split(' ')[1..]]);
        await using var node = await NodeProcess.StartReadyAsync([
            ("REDIS_URL", $"redis://dmb:password@127.0.0.1:{redis.Port}"),
            ("DMB_HISTORY_SIZE", "10"),
            .. NodeProcess.Patient,
        ]);
        await using var client = await node.JoinAsync("n:1");
        await node.NotifyAsync("call", """{"_in":["n:1","n:2"]}""");
        await client.ReadAsync();
        await redis.CommandAsync("PUBLISH", "dmb:notify:call", """{"_in":"n:1"}""");
        await client.ReadAsync();
        await node.PushAsync("call", """{"_in":"n:1"}""", "key");
        await client.AckAsync("subscribe", """{"room":"n:1","since":"a:1"}""");
        using var registering = new StringContent("""{"name":"billing"}""");
        using var registered = await node.Http.PostAsync(new Uri(node.Url, "/register/backend"), registering);
        Assert.True(registered.IsSuccessStatusCode, await registered.Content.ReadAsStringAsync());
        await DeliverAsync(node);
        await node.BecomesAsync("ready");
        var clients = await redis.CommandAsync("CLIENT", "LIST");
        Assert.Equal(3, clients.Split('\n').Count(line => line.Contains("user=dmb ", StringComparison.Ordinal)));
        Assert.Equal("", await redis.CommandAsync("ACL", "LOG"));
    }

    /// <summary>A message of a webhook is refused, is a dead letter, and is delivered again.</summary>
    private static async Task DeliverAsync(NodeProcess node)
    {
        await using var receiver = await Receiver.StartAsync(
            (context, post) =>
            {
                context.Response.StatusCode = post == 1 ? 422 : 204;
                return Task.CompletedTask;
            }
        );
        await Webhooks.TestHook.RegisterAsync(node.Http, receiver.Url, "\"events\":[\"call\"]");
        await node.NotifyAsync("call", "7");
        Assert.Equal(["7"], await receiver.NextAsync(1));
        using var patience = new CancellationTokenSource(Node.Patience);
        while ((await node.GetAsync("/dead")).GetProperty("items").GetArrayLength() == 0)
        {
            Assert.False(patience.IsCancellationRequested);
        }

        using var replayed = await node.Http.PostAsync(new Uri(node.Url, "/dead/replay"), null);
        Assert.True(replayed.IsSuccessStatusCode);
        Assert.Equal(["7"], await receiver.NextAsync(1));
    }

    [Fact]
    public async Task A_user_with_a_wrong_password_does_not_become_the_default_user()
    {
        await using var redis = await RedisServer.StartAsync();
        await redis.CommandAsync("ACL", "SETUSER", "broker", "on", ">hidden", "~*", "&*", "+@all");
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_URL", $"redis://broker:guessed@127.0.0.1:{redis.Port}")
        );
        await node.BecomesAsync("degraded", "wrong password: Redis answered WRONGPASS");
        Assert.DoesNotContain(node.Log, line => line.Contains("guessed", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("REDIS_URL", "redis://[::1]:PORT")]
    [InlineData("REDIS_URL", "redis://[::1]:PORT/2")]
    [InlineData("REDIS_HOST", "::1")]
    [InlineData("REDIS_HOST", "[::1]")]
    public async Task Redis_is_reached_by_IPv6(string name, string value)
    {
        await using var redis = await RedisServer.StartAsync("--bind", "127.0.0.1", "::1");
        await using var node = await NodeProcess.StartReadyAsync([
            (name, value.Replace("PORT", $"{redis.Port}", StringComparison.Ordinal)),
            ("REDIS_PORT", $"{redis.Port}"),
            .. NodeProcess.Patient,
        ]);
        await using var client = await node.JoinAsync("calls");
        await client.GetsAsync("call", "1", await node.NotifyAsync("call", "1"));
        Assert.Contains("addr=[::1]:", await redis.CommandAsync("CLIENT", "LIST"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restarts_of_Redis_under_load_throw_only_exceptions_of_lost_connections()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis);
        await using var client = await node.JoinAsync("calls");
        await using var load = Load.Start([node], 300, padding: 0);
        for (var i = 0; i < 3; i++)
        {
            await load.MoreAsync(50);
            await redis.KillAsync();
            await node.BecomesAsync("degraded");
            await redis.StartAsync();
            await node.BecomesAsync("ready");
            await load.MoreAsync(50);
            await redis.CommandAsync("CLIENT", "KILL", "TYPE", "normal");
            await load.MoreAsync(50);
            await redis.CommandAsync("CLIENT", "KILL", "TYPE", "pubsub");
        }

        await load.StopAsync();
        string[] expected =
        [
            .. (string[])["IOException", "SocketException", "WebSocketException", "ObjectDisposedException"],
            .. (string[])["OperationCanceledException", "TaskCanceledException", "IsolatedCircuitException"],
            .. (string[])["BrokenCircuitException", "TimeoutRejectedException", "TimeoutException", "RefusedException"],
            .. (string[])["RedisConnectionException", "RedisTimeoutException", "RedisUnavailableException"],
        ];
        var thrown = (await node.Http.GetStringAsync(new Uri(node.Url, "/metrics")))
            .Split('\n')
            .Where(line => line.StartsWith("dotnet_exceptions_total{", StringComparison.Ordinal))
            .Select(line => line.Split('"')[1])
            .ToArray();
        Assert.NotEmpty(thrown);
        Assert.Empty(thrown.Except(expected));
    }

    [Theory]
    [InlineData("REDIS_URL", "http://localhost")]
    [InlineData("REDIS_URL", "localhost:6379")]
    [InlineData("REDIS_URL", "redis://localhost:99999")]
    [InlineData("REDIS_URL", "redis://localhost/x")]
    [InlineData("REDIS_URL", "redis://")]
    [InlineData("REDIS_URL", "redis://one,two")]
    [InlineData("REDIS_URL", "redis://one?sentinal=mymaster")]
    [InlineData("REDIS_URL", "redis://one?cluster=yes")]
    [InlineData("REDIS_URL", "redis://one/1?cluster=true")]
    [InlineData("REDIS_URL", "redis://one?cluster=true&sentinel=mymaster")]
    [InlineData("REDIS_PORT", "0")]
    [InlineData("REDIS_PORT", "abc")]
    [InlineData("DMB_OUTAGE", "wait")]
    [InlineData("DMB_PREFIX", "")]
    [InlineData("DMB_PREFIX", "a b")]
    [InlineData("DMB_PREFIX", "d*b")]
    [InlineData("DMB_NOTIFY_CHANNELS", "opensips")]
    [InlineData("DMB_SPOOL_MESSAGES", "0")]
    [InlineData("DMB_SPOOL_TIME", "-1")]
    [InlineData("DMB_PUBLISH_TIMEOUT", "0")]
    [InlineData("DMB_PROBE_INTERVAL", "0")]
    public async Task A_bad_setting_of_Redis_is_one_line_on_stderr_and_exit_code_2(string name, string value)
    {
        await using var node = NodeProcess.Run(("REDIS_HOST", "none"), (name, value));
        Assert.Equal(2, await node.EndAsync());
        Assert.StartsWith($"{name}: '", Assert.Single(node.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_first_log_lines_have_the_address_of_Redis()
    {
        await using var redis = await RedisServer.StartAsync("--requirepass", "secret");
        await using var node = await NodeProcess.StartAsync(("REDIS_URL", $"redis://:secret@127.0.0.1:{redis.Port}"));
        var line = await node.LogAsync("Backplane: ");
        Assert.Contains($"Redis at 127.0.0.1:{redis.Port}", line, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("none")]
    [InlineData("")]
    public async Task The_embedded_backplane_is_used_if_configured_or_if_no_Redis_answers(string host)
    {
        // Nothing set: localhost:6379 is asked, where no test starts anything; another port says so for sure.
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_HOST", host),
            ("REDIS_PORT", $"{RedisServer.FreePort()}")
        );
        Assert.Contains("embedded", await node.LogAsync("Backplane: "), StringComparison.Ordinal);
        Assert.Equal("""{"status":"ready"}""", await node.Http.GetStringAsync(new Uri(node.Url, "/readyz?strict=1")));
        await using var client = await node.JoinAsync("calls");
        await client.GetsAsync("call", "1", await node.NotifyAsync("call", "1"));
    }

    [Fact]
    public async Task Another_server_on_the_default_port_is_not_used_as_Redis()
    {
        // A broker's own port: it answers, in HTTP.
        await using var other = await NodeProcess.StartAsync(("REDIS_HOST", "none"));
        await using var node = await NodeProcess.StartAsync(("REDIS_PORT", $"{other.Url.Port}"));
        Assert.Contains("embedded", await node.LogAsync("Backplane: "), StringComparison.Ordinal);
    }

    private static Task<NodeProcess> StartAsync(RedisServer redis, params (string, string)[] settings) =>
        NodeProcess.StartReadyAsync([
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            .. NodeProcess.Patient,
            .. settings,
        ]);
}
