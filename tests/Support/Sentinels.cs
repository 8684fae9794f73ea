namespace Dmb.Tests.Support;

/// <summary>A master, a replica, and three sentinels of their own that watch them.</summary>
public sealed class Sentinels : IAsyncDisposable
{
    /// <summary>The name by which the sentinels know the master.</summary>
    public const string Name = "mymaster";

    private const int Count = 3;

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dmb-sentinels");
    private readonly List<ChildProcess> _processes = [];
    private readonly string[] _lines;
    private readonly List<RedisServer> _servers = [];

    private Sentinels(string[] lines) => _lines = lines;

    /// <summary>The server that is the master at the start.</summary>
    public RedisServer Master => _servers[0];

    /// <summary>The server that is its replica at the start.</summary>
    public RedisServer Replica => _servers[1];

    public IReadOnlyList<int> Ports { get; } = [.. Enumerable.Range(0, Count).Select(_ => RedisServer.FreePort())];

    /// <summary>What a node is set to, without credentials.</summary>
    public string Url => UrlOf(Ports);

    /// <summary>The same, for sentinels on these ports.</summary>
    public static string UrlOf(IEnumerable<int> ports) =>
        $"redis://{string.Join(',', ports.Select(port => $"127.0.0.1:{port}"))}/0?sentinel={Name}";

    /// <summary>
    /// Starts all, and waits until each sentinel knows the others and the replica, which has the master's data.
    /// </summary>
    /// <param name="password">What the servers are logged in with; null for none.</param>
    /// <param name="lines">Lines of the sentinels' configuration.</param>
    public static async Task<Sentinels> StartAsync(string? password = null, params string[] lines)
    {
        var sentinels = new Sentinels(password is null ? lines : [$"sentinel auth-pass {Name} {password}", .. lines]);
        try
        {
            string[] login = password is null ? [] : ["--requirepass", password, "--masterauth", password];
            sentinels._servers.Add(await RedisServer.StartAsync([.. login, "--repl-diskless-sync-delay", "0"]));
            sentinels._servers.Add(
                await RedisServer.StartAsync([
                    .. login,
                    "--repl-diskless-sync-delay",
                    "0",
                    "--replicaof",
                    $"127.0.0.1 {sentinels.Master.Port}",
                ])
            );
            await sentinels.Replica.LineAsync("MASTER <-> REPLICA sync: Finished with success");
            foreach (var port in sentinels.Ports)
            {
                sentinels._processes.Add(sentinels.StartOne(port, sentinels.Master));
            }

            await Task.WhenAll(
                sentinels._processes.SelectMany(process =>
                    (Task[])[process.LineAsync("+slave "), process.LineAsync("+sentinel ", Count - 1)]
                )
            );
            return sentinels;
        }
        catch
        {
            await sentinels.DisposeAsync();
            throw;
        }
    }

    /// <summary>Kills one of them.</summary>
    public Task KillAsync(int index) => _processes[index].KillAsync();

    /// <summary>Freezes one: it takes connections (the kernel does), and answers nothing.</summary>
    public void Stop(int index) => _processes[index].Stop();

    /// <summary>Starts one that takes the replica for the master, as one that was cut off; gives its port.</summary>
    public async Task<int> StartStaleAsync()
    {
        var port = RedisServer.FreePort();
        var process = StartOne(port, Replica);
        _processes.Add(process);
        await process.LineAsync("+monitor master");
        return port;
    }

    /// <summary>One command to the sentinel on this port.</summary>
    public static async Task<string> CommandAsync(int port, params string[] words)
    {
        using var client = await RedisClient.ConnectAsync(port);
        return await client.CommandAsync(words);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var process in _processes)
        {
            await process.DisposeAsync();
        }

        foreach (var server in Enumerable.Reverse(_servers))
        {
            await server.DisposeAsync();
        }

        _directory.Delete(recursive: true);
    }

    private ChildProcess StartOne(int port, RedisServer watched)
    {
        var file = Path.Combine(_directory.FullName, $"{port}.conf");
        File.WriteAllText(
            file,
            $"""
            port {port}
            bind 127.0.0.1 ::1
            dir {_directory.FullName}
            sentinel monitor {Name} 127.0.0.1 {watched.Port} 2
            sentinel down-after-milliseconds {Name} 1000
            sentinel failover-timeout {Name} 10000
            {string.Join('\n', _lines)}

            """
        );
        return ChildProcess.Start("redis-sentinel", [file], _directory.FullName);
    }
}
