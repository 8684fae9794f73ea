using System.ComponentModel;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Load;

/// <summary>A server as the system sees it: started here and ended with this object, or found by its port.</summary>
internal sealed class ServerProcess : IDisposable
{
    private static readonly TimeSpan StartTimeMax = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan ReadyTimeMax = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan RestTimeMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Rest = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(1);

    private readonly HttpClient _http = new();
    private readonly List<Process> _nodes = [];
    private readonly List<IPEndPoint> _addresses = [];
    private readonly Server _server;
    private int[] _ids = [];
    private Process? _proxy;
    private int[] _proxyIds = [];

    private ServerProcess(Server server, RedisProcess? redis)
    {
        _server = server;
        Redis = redis;
    }

    /// <summary>The first node.</summary>
    public IPEndPoint PublishAt => _addresses[0];

    /// <summary>The last node.</summary>
    public IPEndPoint SubscribeAt => _addresses[^1];

    /// <summary>The Redis that it was started with.</summary>
    public RedisProcess? Redis { get; }

    /// <summary>From its start to its answer to a publish that it took; zero when it was running already.</summary>
    public TimeSpan FirstAnswer { get; private set; }

    /// <summary>Starts it, all its nodes and its Redis, and waits until it is of use.</summary>
    /// <exception cref="IOException">It ended, or did not answer in time.</exception>
    public static ServerProcess Start(Server server)
    {
        var redis =
            !server.Redis ? null
            : server.Shards > 0 ? RedisProcess.StartCluster(server.Shards)
            : RedisProcess.Start();
        var running = new ServerProcess(server, redis);
        try
        {
            for (var node = 0; node < server.Nodes; node++)
            {
                running.StartNode();
            }

            running._ids = [.. running._nodes.SelectMany(node => Linux.ProcessTree(node.Id))];
            running._proxyIds = running._proxy is { } proxy ? [.. Linux.ProcessTree(proxy.Id)] : [];
            return running;
        }
        catch
        {
            running.Dispose();
            throw;
        }
    }

    /// <summary>All processes that listen on the port: a server may have several.</summary>
    public static ServerProcess Find(Server server, Uri url)
    {
        var running = new ServerProcess(server, null) { _ids = Linux.ProcessesListeningOn(url.Port) };
        running._addresses.Add(new IPEndPoint(IPAddress.Parse(url.DnsSafeHost), url.Port));
        return running._ids.Length > 0
            ? running
            : throw new IOException($"No process that can be looked at listens on {url}.");
    }

    public TimeSpan CpuTime() => _ids.Aggregate(TimeSpan.Zero, (sum, id) => sum + Linux.CpuTime(id));

    /// <summary>The CPU time of its Redis, or of the proxy in front of it.</summary>
    public TimeSpan CpuTimeBeside() =>
        Redis?.CpuTime() ?? _proxyIds.Aggregate(TimeSpan.Zero, (sum, id) => sum + Linux.CpuTime(id));

    /// <summary>
    /// Memory that was in RAM when the first publish was answered, on each node by that node, in bytes.
    /// </summary>
    public long FirstRss { get; private set; }

    /// <summary>Memory that is in RAM, in bytes.</summary>
    public long Rss() => _ids.Sum(Linux.Rss);

    /// <summary>Waits until it has nothing more to do, for example for clients that have gone.</summary>
    public void AwaitRest()
    {
        var start = Stopwatch.GetTimestamp();
        for (
            var (before, now) = (TimeSpan.MinValue, CpuTime());
            now > before + (Rest / 20) && Stopwatch.GetElapsedTime(start) < RestTimeMax;
            (before, now) = (now, CpuTime())
        )
        {
            Wait(Rest);
        }
    }

    /// <summary>Waits until all nodes say that they are ready, or that they are not.</summary>
    /// <exception cref="TimeoutException">One goes on saying the opposite.</exception>
    public void Await(bool ready)
    {
        for (var start = Stopwatch.GetTimestamp(); _addresses.Any(address => IsReady(address) != ready); Wait(Poll))
        {
            if (Stopwatch.GetElapsedTime(start) > ReadyTimeMax)
            {
                throw new TimeoutException($"/readyz goes on saying that the server is {(ready ? "not " : "")}ready.");
            }
        }
    }

    /// <summary>Ends the first node as a crash would; what it used up is no longer counted.</summary>
    public void KillFirst()
    {
        var first = _nodes[0];
        _ids = [.. _ids.Except(Linux.ProcessTree(first.Id))];
        _nodes.RemoveAt(0);
        _addresses.RemoveAt(0);
        first.Kill(entireProcessTree: true);
        first.WaitForExit();
        first.Dispose();
    }

    private void StartNode()
    {
        var port = FreePort();
        var behind = _server.Proxy is null ? port : FreePort();
        if (_server.Proxy is { } proxy)
        {
            _proxy = Process.Start(proxy(port, behind))!;
            Child.EndWithThis(_proxy);
        }

        var start = _server.Command(behind, Redis?.Port ?? 0);
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        var lastLine = "";
        var started = Stopwatch.GetTimestamp();
        var process = Process.Start(start)!;
        Child.EndWithThis(process);
        _nodes.Add(process);
        _addresses.Add(new IPEndPoint(IPAddress.Loopback, port));
        process.OutputDataReceived += (_, line) => lastLine = line.Data is { Length: > 0 } text ? text : lastLine;
        process.ErrorDataReceived += (_, line) => lastLine = line.Data is { Length: > 0 } text ? text : lastLine;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        while (!Answers())
        {
            if (process.HasExited || Stopwatch.GetElapsedTime(started) > StartTimeMax)
            {
                throw new IOException($"{_server.Name} does not answer: {lastLine}");
            }

            Wait(Poll);
        }

        FirstAnswer = FirstAnswer == TimeSpan.Zero ? Stopwatch.GetElapsedTime(started) : FirstAnswer;
        FirstRss += Linux.ProcessTree(process.Id).Sum(Linux.Rss);
        if (_server.SaysReady)
        {
            Await(ready: true);
        }
    }

    /// <summary>Whether the node that was started last takes a publish.</summary>
    private bool Answers()
    {
        try
        {
            var options = new LoadOptions { Server = _server, Subscribers = 0 };
            var alone = new ServerProcess(_server, null);
            alone._addresses.Add(SubscribeAt);
            using var generator = new Generator(options, alone);
            return generator.Publish(1) is { Complete: true, Refused: 0 };
        }
        catch (Exception e) when (e is Win32Exception or IOException)
        {
            return false;
        }
    }

    private bool IsReady(IPEndPoint address)
    {
        using var answer = _http.GetStreamAsync($"http://{address}/readyz").GetAwaiter().GetResult();
        return new StreamReader(answer).ReadToEnd().Contains("\"ready\"", StringComparison.Ordinal);
    }

    public static void Wait(TimeSpan time) => Task.Delay(time, TimeProvider.System).GetAwaiter().GetResult();

    public static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    public void Dispose()
    {
        _http.Dispose();
        foreach (var node in _proxy is null ? _nodes : [.. _nodes, _proxy])
        {
            node.Kill(entireProcessTree: true);
            node.WaitForExit();
            node.Dispose();
        }

        Redis?.Dispose();
    }
}
