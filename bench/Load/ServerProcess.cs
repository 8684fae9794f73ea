using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;

namespace Dmb.Bench.Load;

/// <summary>The server as the system sees it: started here and ended with this object, or found by its port.</summary>
internal sealed partial class ServerProcess : IDisposable
{
    private static readonly TimeSpan ReadyTimeMax = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(5);

    private readonly HttpClient _http = new();
    private readonly Process? _started;
    private readonly int[] _ids;

    private ServerProcess(Process? started, int[] ids, IPEndPoint address)
    {
        _started = started;
        _ids = ids;
        Address = address;
    }

    public IPEndPoint Address { get; }

    /// <summary>The Redis that it was started with.</summary>
    public RedisProcess? Redis { get; private init; }

    /// <summary>Starts the Dmb.dll beside this program, embedded or with a Redis, and waits until it is of use.</summary>
    public static ServerProcess Start(RedisProcess? redis = null)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Dmb.dll")])
        {
            Environment =
            {
                ["DMB_HOST"] = "127.0.0.1",
                ["DMB_PORT"] = "0",
                ["REDIS_HOST"] = redis is null ? "none" : "127.0.0.1",
                ["REDIS_PORT"] = $"{redis?.Port ?? 6379}",
            },
        };
        var (process, listening) = Child.Start(start, ListeningOn());
        var port = int.Parse(listening.Groups[1].Value, CultureInfo.InvariantCulture);
        var server = new ServerProcess(process, [process.Id], new IPEndPoint(IPAddress.Loopback, port)) { Redis = redis };
        try
        {
            server.Await(ready: true);
            return server;
        }
        catch
        {
            server.Dispose();
            throw;
        }
    }

    /// <summary>Waits until it says that it is ready, or that it is not.</summary>
    /// <exception cref="TimeoutException">It goes on saying the opposite.</exception>
    public void Await(bool ready)
    {
        for (var start = Stopwatch.GetTimestamp(); IsReady() != ready;)
        {
            if (Stopwatch.GetElapsedTime(start) > ReadyTimeMax)
            {
                throw new TimeoutException($"/readyz goes on saying that the server is {(ready ? "not " : "")}ready.");
            }

            Task.Delay(Poll, TimeProvider.System).GetAwaiter().GetResult();
        }
    }

    private bool IsReady()
    {
        using var answer = _http.GetStreamAsync($"http://{Address}/readyz").GetAwaiter().GetResult();
        return new StreamReader(answer).ReadToEnd().Contains("\"ready\"", StringComparison.Ordinal);
    }

    /// <summary>All processes that listen on the port: a server may have several.</summary>
    public static ServerProcess Find(Uri url)
    {
        var sockets = Directory.GetFiles("/proc/net", "tcp*").SelectMany(File.ReadLines)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(field => field[3] == "0A" && field[1].EndsWith($":{url.Port:X4}", StringComparison.Ordinal))
            .Select(field => $"socket:[{field[9]}]")
            .ToHashSet();
        var ids = Directory.GetDirectories("/proc")
            .Select(path => int.TryParse(Path.GetFileName(path), out var id) ? id : 0)
            .Where(id => id > 0 && OpenFiles(id).Any(sockets.Contains))
            .ToArray();
        return ids.Length > 0
            ? new ServerProcess(null, ids, new IPEndPoint(IPAddress.Parse(url.DnsSafeHost), url.Port))
            : throw new IOException($"No process that can be looked at listens on {url}.");
    }

    public TimeSpan CpuTime() => _ids.Aggregate(TimeSpan.Zero, (sum, id) => sum + Linux.CpuTime(id));

    /// <summary>Memory that is in RAM, in bytes.</summary>
    public long Rss() => _ids.Sum(Linux.Rss);

    private static string[] OpenFiles(int processId)
    {
        try
        {
            return Directory.GetFiles($"/proc/{processId}/fd")
                .Select(path => new FileInfo(path).LinkTarget ?? "")
                .ToArray();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _started?.Kill();
        _started?.WaitForExit();
        _started?.Dispose();
    }

    [GeneratedRegex(@"http://127\.0\.0\.1:(\d+)")]
    private static partial Regex ListeningOn();
}
