using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Dmb.Bench.Load;

/// <summary>
/// A redis-server of this run's own, or a Redis Cluster of several masters. Keeps nothing on disk, and is ended with
/// this object.
/// </summary>
internal sealed partial class RedisProcess : IDisposable
{
    private const int NodeTimeoutMs = 60_000;
    private static readonly TimeSpan FormedTimeMax = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(50);

    private readonly List<(Process Process, int Port)> _servers = [];

    /// <summary>A member of a cluster keeps there what it knows of the others.</summary>
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("dmb-bench-redis-");

    private RedisProcess() { }

    /// <summary>The port of the first server.</summary>
    public int Port => _servers[0].Port;

    /// <summary>Starts one server.</summary>
    public static RedisProcess Start()
    {
        var redis = new RedisProcess();
        redis.StartOne([]);
        return redis;
    }

    /// <summary>Starts a cluster of masters without replicas, with equal ranges of slots.</summary>
    /// <exception cref="IOException">It was not formed, or not in time.</exception>
    public static RedisProcess StartCluster(int masters)
    {
        var redis = new RedisProcess();
        try
        {
            for (var i = 0; i < masters; i++)
            {
                redis.StartOne([
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    $"{ServerProcess.FreePort()}",
                    "--cluster-node-timeout",
                    $"{NodeTimeoutMs}",
                ]);
            }

            redis.Form();
            return redis;
        }
        catch
        {
            redis.Dispose();
            throw;
        }
    }

    /// <summary>Of all servers.</summary>
    public TimeSpan CpuTime() => _servers.Aggregate(TimeSpan.Zero, (sum, one) => sum + Linux.CpuTime(one.Process.Id));

    /// <summary>Of all servers.</summary>
    public long Rss() => _servers.Sum(one => Linux.Rss(one.Process.Id));

    /// <summary>
    /// Sends commands without binary arguments to the first server, on a connection of its own; gives all answers as
    /// they come.
    /// </summary>
    public string Command(params string[] commands) => Command(Port, commands);

    /// <summary>A number of <c>INFO stats</c> of the first server.</summary>
    public long Stat(string name) =>
        long.Parse(
            Regex.Match(Command("INFO stats"), $@"\b{name}:(\d+)").Groups[1].Value,
            CultureInfo.InvariantCulture
        );

    public void Dispose()
    {
        foreach (var (process, _) in _servers)
        {
            process.Kill();
            process.WaitForExit();
            process.Dispose();
        }

        _folder.Delete(recursive: true);
    }

    private void StartOne(string[] more)
    {
        var port = ServerProcess.FreePort();
        var folder = _folder.CreateSubdirectory($"{port}").FullName;
        string[] arguments = ["--port", $"{port}", "--bind", "127.0.0.1", "--save", "", "--dir", folder, .. more];
        var (process, _) = Child.Start(new ProcessStartInfo("redis-server", arguments), Ready());
        _servers.Add((process, port));
    }

    private void Form()
    {
        var addresses = _servers.Select(one => $"127.0.0.1:{one.Port}");
        using var manager = Process.Start(
            new ProcessStartInfo("redis-cli", ["--cluster", "create", .. addresses, "--cluster-yes"])
            {
                RedirectStandardOutput = true,
            }
        )!;
        var said = manager.StandardOutput.ReadToEnd();
        manager.WaitForExit();
        if (manager.ExitCode != 0)
        {
            throw new IOException($"The cluster was not formed: {said}");
        }

        for (var start = Stopwatch.GetTimestamp(); !_servers.All(IsUp); ServerProcess.Wait(Poll))
        {
            if (Stopwatch.GetElapsedTime(start) > FormedTimeMax)
            {
                throw new IOException("The cluster does not become ready.");
            }
        }
    }

    private static bool IsUp((Process Process, int Port) server) =>
        Command(server.Port, "CLUSTER INFO").Contains("cluster_state:ok", StringComparison.Ordinal);

    private static string Command(int port, params string[] commands)
    {
        using var client = new TcpClient("127.0.0.1", port);
        client.GetStream().Write(Encoding.ASCII.GetBytes(string.Join("\r\n", [.. commands, "QUIT", ""])));
        return new StreamReader(client.GetStream()).ReadToEnd();
    }

    [GeneratedRegex("Ready to accept connections")]
    private static partial Regex Ready();
}
