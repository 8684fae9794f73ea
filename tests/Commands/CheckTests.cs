using System.Net;
using System.Net.Sockets;

namespace Dmb.Tests.Commands;

/// <summary><c>dmb check</c> finds each planted mistake, and nothing where there is none.</summary>
public sealed class CheckTests
{
    private static readonly (string, string) NoRedis = ("REDIS_HOST", "none");

    [Fact]
    public async Task Nothing_is_found_where_nothing_is_wrong()
    {
        await using var redis = await RedisServer.StartAsync();
        var checkedAll = await CheckAsync(("DMB_PORT", FreePort()), ("REDIS_HOST", "127.0.0.1"), Port(redis));
        Assert.True(checkedAll.Code == 0, string.Join('\n', checkedAll.Output));
        Assert.All(checkedAll.Output, line => Assert.StartsWith("ok   ", line, StringComparison.Ordinal));
        Assert.Empty(await Keys(redis));

        await using var node = await NodeProcess.StartAsync(NoRedis);
        var running = await CheckAsync(NoRedis, ("DMB_PORT", $"{node.Url.Port}"));
        Assert.Equal(0, running.Code);
        Assert.Contains($"ok   port: a broker answers on {node.Url.Port}.", running.Output);
    }

    [Theory]
    [InlineData("DMB_PORT", "http", "DMB_PORT: 'http' is not accepted")]
    [InlineData("DMB_PROT", "8082", "There is no setting DMB_PROT: set DMB_PORT")]
    [InlineData("DMB_HOST", "192.0.2.1", "DMB_HOST: 192.0.2.1 is no address of this machine", "DMB_AUTH", "none")]
    [InlineData("DMB_HOST", "0.0.0.0", "DMB_HOST: '0.0.0.0' is not accepted")]
    [InlineData("DMB_JWT_SECRET", "too-short", "32 bytes or more")]
    [InlineData("DMB_KEYS_FILE", "/nowhere/dmb.keys", "DMB_KEYS_FILE: '/nowhere/dmb.keys'")]
    [InlineData("DMB_MAX_SESSIONS", "10000000", "raise ulimit -n")]
    public async Task A_mistake_in_the_settings_is_found(
        string name,
        string value,
        string told,
        string? more = null,
        string? set = null
    )
    {
        (string, string)[] settings = [NoRedis, (name, value), .. more is null ? [] : new[] { (more, set!) }];
        FindsOne(
            told,
            await CheckAsync([.. settings, .. name == "DMB_PORT" ? [] : new[] { ("DMB_PORT", FreePort()) }])
        );
    }

    [Fact]
    public async Task A_port_that_another_program_has_is_found()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        var port = ((IPEndPoint)taken.LocalEndpoint).Port;
        var answering = AnswerAsync(taken);
        FindsOne($"another program listens on port {port}", await CheckAsync(NoRedis, ("DMB_PORT", $"{port}")));
        taken.Stop();
        await answering;
    }

    [Fact]
    [System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
    public async Task A_file_of_keys_that_others_can_read_is_found()
    {
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, "ops:never-shown-to-anyone:admin");
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.OtherRead);
            FindsOne($"chmod 600 {file}", await CheckAsync(NoRedis, ("DMB_KEYS_FILE", file), ("DMB_PORT", FreePort())));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task A_Redis_that_is_not_there_is_found() =>
        FindsOne(
            "connection refused",
            await CheckAsync(("DMB_PORT", FreePort()), ("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", FreePort()))
        );

    [Fact]
    public async Task The_master_of_sentinels_is_checked_and_they_are()
    {
        await using var sentinels = await Sentinels.StartAsync();
        var good = await CheckAsync(("DMB_PORT", FreePort()), ("REDIS_URL", sentinels.Url));
        Assert.True(good.Code == 0, string.Join('\n', good.Output));

        await sentinels.KillAsync(1);
        await sentinels.KillAsync(2);
        FindsOne("2 of 3 sentinels are gone", await CheckAsync(("DMB_PORT", FreePort()), ("REDIS_URL", sentinels.Url)));
    }

    [Theory]
    [InlineData("CONFIG SET requirepass another-password", "no password: Redis answered NOAUTH")]
    [InlineData("ACL SETUSER default -evalsha", "Redis does not allow the command evalsha: NOPERM")]
    [InlineData("ACL SETUSER default -xadd", "Redis does not allow the command xadd: NOPERM")]
    [InlineData("ACL SETUSER default resetchannels &dmb:*", "does not allow the pattern dmb:notify:*")]
    [InlineData("REPLICAOF 127.0.0.1 1", "read only")]
    [InlineData("CONFIG SET maxmemory-policy allkeys-lru", "set maxmemory-policy noeviction")]
    [InlineData("SET dmb:log x", "dmb:log in Redis holds something else")]
    [InlineData("SET dmb:events x", "dmb:events in Redis holds something else")]
    public async Task A_Redis_that_a_node_cannot_use_is_found(string command, string told)
    {
        await using var redis = await RedisServer.StartAsync();
        using (var client = await redis.OpenAsync())
        {
            await client.CommandAsync(command.Split(' '));
        }

        var found = await CheckAsync(("DMB_PORT", FreePort()), ("REDIS_HOST", "127.0.0.1"), Port(redis));
        Assert.Equal(1, found.Code);
        Assert.Contains(found.Output, line =>
            line.StartsWith("bad  ", StringComparison.Ordinal) && line.Contains(told, StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task The_rule_of_the_documentation_allows_what_is_checked()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "operations.md"));
        var rule = page.Split('\n').Single(line => line.StartsWith("user dmb on >password ", StringComparison.Ordinal));
        await using var redis = await RedisServer.StartAsync();
        using (var client = await redis.OpenAsync())
        {
            var rights = rule["user dmb on ".Length..].Split(' ');
            await client.CommandAsync(["ACL", "SETUSER", "default", "resetpass", .. rights]);
        }

        redis.Password = "password";
        var found = await CheckAsync(
            ("DMB_PORT", FreePort()),
            ("REDIS_URL", $"redis://:password@127.0.0.1:{redis.Port}")
        );
        Assert.True(found.Code == 0, string.Join('\n', found.Output));
    }

    [Fact]
    public async Task A_proxy_that_lets_no_socket_through_is_found()
    {
        await using var node = await NodeProcess.StartAsync(NoRedis);
        var through = await CommandResult.RunAsync(
            ["check", "--through", node.Url.ToString()],
            NoRedis,
            ("DMB_PORT", FreePort())
        );
        Assert.Equal(0, through.Code);
        Assert.Contains("ok   proxy: a WebSocket comes through.", through.Output);

        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var answering = AnswerAsync(other);
        FindsOne(
            "no broker answers there",
            await CommandResult.RunAsync(
                ["check", "--through", $"http://{other.LocalEndpoint}"],
                NoRedis,
                ("DMB_PORT", FreePort())
            )
        );
        other.Stop();
        await answering;
    }

    private static void FindsOne(string told, CommandResult found)
    {
        Assert.Equal(1, found.Code);
        var bad = Assert.Single(found.Output, line => line.StartsWith("bad  ", StringComparison.Ordinal));
        Assert.Contains(told, bad, StringComparison.Ordinal);
    }

    private static Task<CommandResult> CheckAsync(params (string, string)[] settings) =>
        CommandResult.RunAsync(["check"], settings);

    private static string FreePort() => $"{RedisServer.FreePort()}";

    private static (string, string) Port(RedisServer redis) => ("REDIS_PORT", $"{redis.Port}");

    private static async Task<string[]> Keys(RedisServer redis) =>
        [.. (await redis.CommandAsync("KEYS", "*")).Split('\n', StringSplitOptions.RemoveEmptyEntries)];

    /// <summary>Answers as a program that is no broker, until it is stopped.</summary>
    private static async Task AnswerAsync(TcpListener listener)
    {
        try
        {
            while (true)
            {
                using var client = await listener.AcceptTcpClientAsync();
                var stream = client.GetStream();
                _ = await stream.ReadAsync(new byte[4_096]);
                await stream.WriteAsync(
                    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8.ToArray()
                );
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or IOException)
        {
            // Stopped.
        }
    }
}
