namespace Dmb.Tests.Redis;

/// <summary>How nodes find the master by its sentinels, and what they say of sentinels that are of no use.</summary>
[Collection(RedisLane.Name)]
public sealed class SentinelTests
{
    [Fact]
    public async Task Nodes_meet_on_the_master_that_the_sentinels_name()
    {
        await using var sentinels = await Sentinels.StartAsync();
        await using var one = await StartReadyAsync(sentinels.Url);
        await using var two = await StartReadyAsync(
            sentinels.Url.Replace($"127.0.0.1:{sentinels.Ports[0]}", $"[::1]:{sentinels.Ports[0]}")
        );
        await using var client = await two.JoinAsync("calls");
        await client.GetsAsync("call", "1", await one.NotifyAsync("call", "1"));
        Assert.Contains(
            $"Redis at mymaster of the sentinels 127.0.0.1:{sentinels.Ports[0]}, ",
            await one.LogAsync("Backplane: "),
            StringComparison.Ordinal
        );
        Assert.DoesNotContain(one.Log, line => line.Contains("warn", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_line_of_the_readme_finds_the_master()
    {
        await using var sentinels = await Sentinels.StartAsync();
        var page = await DocumentPage.ReadAsync("README.md", "## Several nodes");
        var line = page.Blocks("sh").Single(block => block.Contains("?sentinel=", StringComparison.Ordinal));
        for (var i = 0; i < sentinels.Ports.Count; i++)
        {
            line = line.Replace($"s{i + 1}:26379", $"localhost:{sentinels.Ports[i]}", StringComparison.Ordinal);
        }

        await using var terminals = new Terminals();
        var node = terminals.Type(
            "DMB_PORT=0 " + line.Replace("dotnet run -c Release", $"exec {NodeProcess.CommandLine}")
        );
        await node.LineAsync("Connected to Redis");
    }

    [Fact]
    public async Task A_sentinel_that_names_a_replica_is_passed_over()
    {
        await using var sentinels = await Sentinels.StartAsync();
        var stale = await sentinels.StartStaleAsync();
        Assert.Equal(
            $"127.0.0.1\n{sentinels.Replica.Port}",
            await Sentinels.CommandAsync(stale, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", Sentinels.Name)
        );
        await using var node = await StartReadyAsync(Sentinels.UrlOf([stale, sentinels.Ports[0]]));
        await node.NotifyAsync("call", "1");

        await using var alone = await NodeProcess.StartAsync(("REDIS_URL", Sentinels.UrlOf([stale])));
        await alone.BecomesAsync(
            "degraded",
            $"the sentinels name 127.0.0.1:{sentinels.Replica.Port}: read only: Redis answered READONLY"
        );
    }

    [Fact]
    public async Task A_master_that_the_sentinels_do_not_know_is_warned_of()
    {
        await using var sentinels = await Sentinels.StartAsync();
        const string Why = "the sentinels know no master 'other'";
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_URL", sentinels.Url.Replace("=mymaster", "=other"))
        );
        Assert.Contains("warn", await node.LogAsync(Why), StringComparison.Ordinal);
        await node.BecomesAsync("degraded", Why);
        Assert.Equal(202, (await node.PushAsync("call", "1")).Status);
    }

    [Fact]
    public async Task Sentinels_that_do_not_answer_are_warned_of()
    {
        await using var sentinels = await Sentinels.StartAsync();
        await sentinels.KillAsync(0);
        await using var most = await StartReadyAsync(sentinels.Url);
        var one = await most.LogAsync("Of the sentinels of Redis: ");
        Assert.Contains("warn", one, StringComparison.Ordinal);
        Assert.EndsWith($": 127.0.0.1:{sentinels.Ports[0]}: connection refused.", one, StringComparison.Ordinal);

        sentinels.Stop(1);
        await using var half = await StartReadyAsync(sentinels.Url);
        Assert.EndsWith(
            "2 of 3 sentinels are gone, and half of them make no failover: "
                + $"127.0.0.1:{sentinels.Ports[0]}: connection refused; 127.0.0.1:{sentinels.Ports[1]}: no answer.",
            await half.LogAsync("Of the sentinels of Redis: "),
            StringComparison.Ordinal
        );

        await sentinels.KillAsync(2);
        const string Why = "no sentinel answers";
        await using var none = await NodeProcess.StartAsync(("REDIS_URL", sentinels.Url));
        Assert.Contains("warn", await none.LogAsync(Why), StringComparison.Ordinal);
        await none.BecomesAsync("degraded", Why);
    }

    [Theory]
    [InlineData("secret", "")]
    [InlineData("other", "&sentinel_password=other")]
    [InlineData("other", "&sentinel_password=wrong")]
    [InlineData("other", "file")]
    [InlineData(null, "")]
    public async Task Sentinels_have_the_password_of_Redis_or_one_of_their_own(string? password, string given)
    {
        await using var sentinels = await Sentinels.StartAsync(
            "secret",
            password is null ? [] : [$"requirepass {password}", $"sentinel sentinel-pass {password}"]
        );
        var url = sentinels.Url.Replace("redis://", "redis://:secret@");
        var files = Directory.CreateTempSubdirectory("dmb-secrets");
        try
        {
            (string, string)[] settings = [("REDIS_URL", url + given)];
            if (given == "file")
            {
                var (file, own) = (Path.Combine(files.FullName, "redis"), Path.Combine(files.FullName, "sentinels"));
                await File.WriteAllTextAsync(file, "secret\n");
                await File.WriteAllTextAsync(own, password + "\n");
                settings =
                [
                    ("REDIS_URL", sentinels.Url),
                    ("REDIS_PASSWORD_FILE", file),
                    ("REDIS_SENTINEL_PASSWORD_FILE", own),
                ];
            }

            await using var node = await NodeProcess.StartAsync(settings);
            if (given.Contains("wrong"))
            {
                await node.BecomesAsync("degraded", "no sentinel answers");
                await node.LogAsync("no password: Redis answered NOAUTH");
            }
            else
            {
                await node.BecomesAsync("ready");
                await node.NotifyAsync("call", "1");
            }

            Assert.DoesNotContain(node.Log, line =>
                line.Contains("secret", StringComparison.Ordinal) || line.Contains("wrong@")
            );
        }
        finally
        {
            files.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Sentinels_and_master_are_reached_over_TLS()
    {
        var directory = Directory.CreateTempSubdirectory("dmb-tls");
        try
        {
            var (authority, certificate, key) = Certificates.Write(directory.FullName);
            string[] tls =
            [
                $"tls-cert-file {certificate}",
                $"tls-key-file {key}",
                $"tls-ca-cert-file {authority}",
                "tls-auth-clients no",
                "tls-replication yes",
            ];
            var (port, sentinelPort) = (RedisServer.FreePort(), RedisServer.FreePort());
            await using var redis = await RedisServer.StartAsync([
                "--tls-port",
                $"{port}",
                .. tls.SelectMany(line => ("--" + line).Split(' ')),
            ]);
            var file = Path.Combine(directory.FullName, "sentinel.conf");
            await File.WriteAllLinesAsync(
                file,
                [
                    "port 0",
                    $"tls-port {sentinelPort}",
                    "bind 127.0.0.1",
                    .. tls,
                    "sentinel resolve-hostnames yes",
                    "sentinel announce-hostnames yes",
                    $"sentinel monitor mymaster localhost {port} 1",
                ]
            );
            await using var sentinel = await ChildProcess.StartAsync(
                "redis-sentinel",
                [file],
                directory.FullName,
                "+monitor master"
            );
            var url = $"rediss://localhost:{sentinelPort}?sentinel=mymaster";
            await using var node = await StartReadyAsync(url, ("SSL_CERT_FILE", authority));
            await node.NotifyAsync("call", "1");

            await using var stranger = await NodeProcess.StartAsync(("REDIS_URL", url));
            await stranger.BecomesAsync("degraded", "no sentinel answers");
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private static Task<NodeProcess> StartReadyAsync(string url, params (string, string)[] settings) =>
        NodeProcess.StartReadyAsync([("REDIS_URL", url), .. NodeProcess.Patient, .. settings]);
}
