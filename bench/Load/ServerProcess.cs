using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text.RegularExpressions;

namespace Dmb.Bench.Load;

/// <summary>The server as the system sees it: started here and ended with this object, or found by its port.</summary>
internal sealed partial class ServerProcess : IDisposable
{
    private static readonly TimeSpan StartTimeMax = TimeSpan.FromSeconds(20);

    private readonly Process? _started;
    private readonly int[] _ids;

    private ServerProcess(Process? started, int[] ids, IPEndPoint address)
    {
        _started = started;
        _ids = ids;
        Address = address;
    }

    public IPEndPoint Address { get; }

    /// <summary>Starts the Dmb.dll beside this program, and waits until it says on which port it listens.</summary>
    public static ServerProcess Start()
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "Dmb.dll")])
        {
            RedirectStandardOutput = true,
            Environment = { ["DMB_HOST"] = "127.0.0.1", ["DMB_PORT"] = "0", ["REDIS_HOST"] = "none" },
        };
        var listening = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        var process = new Process { StartInfo = start };
        process.OutputDataReceived += (_, line) =>
        {
            if (line.Data is null)
            {
                listening.TrySetException(new IOException("The server ended before it listened."));
            }
            else if (ListeningOn().Match(line.Data) is { Success: true } match)
            {
                listening.TrySetResult(int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture));
            }
        };
        process.Start();
        process.BeginOutputReadLine();
        try
        {
            var port = listening.Task.WaitAsync(StartTimeMax).GetAwaiter().GetResult();
            return new ServerProcess(process, [process.Id], new IPEndPoint(IPAddress.Loopback, port));
        }
        catch
        {
            process.Kill();
            throw;
        }
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
    public long Rss()
    {
        return _ids.Sum(id => Environment.SystemPageSize
            * long.Parse(File.ReadAllText($"/proc/{id}/statm").Split(' ')[1], CultureInfo.InvariantCulture));
    }

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
        _started?.Kill();
        _started?.WaitForExit();
        _started?.Dispose();
    }

    [GeneratedRegex(@"http://127\.0\.0\.1:(\d+)")]
    private static partial Regex ListeningOn();
}
