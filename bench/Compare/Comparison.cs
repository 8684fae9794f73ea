using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Compare;

/// <summary>
/// Asks the same works of several servers in turn: A B C A B C. All run the whole time, so that each meets the others'
/// noise; only what is about a new process starts one.
/// </summary>
internal sealed partial class Comparison : IDisposable
{
    private static readonly TimeSpan WarmUpCpu = TimeSpan.FromMilliseconds(400);
    private static readonly TimeSpan WarmUpMax = TimeSpan.FromSeconds(1);

    private readonly CompareOptions _options;
    private readonly Dictionary<Server, ServerProcess> _running = [];
    private readonly List<Sample> _samples = [];
    private readonly List<string> _lines = [];
    private bool _failed;

    private Comparison(CompareOptions options) => _options = options;

    /// <summary>
    /// Prints the tables, and writes them where the options say; gives whether our own servers did all that was asked.
    /// </summary>
    public static bool Run(CompareOptions options)
    {
        using var comparison = new Comparison(options);
        var servers = comparison.Prepare();
        comparison.Measure(servers);
        var tables = new Tables(options, [.. servers.Where(server => !server.Bare)], comparison._samples).ToMarkdown(
            Machine()
        );
        Console.WriteLine(tables);
        comparison.Write(tables);
        return !comparison._failed && comparison._samples.All(sample => sample.Wrong == 0 || !IsOurs(sample.Server));
    }

    private static bool IsOurs(string server) =>
        Servers.All.FirstOrDefault(s => s.Name == server) is not { SaysReady: false };

    private List<Server> Prepare()
    {
        var servers = new List<Server>();
        foreach (var server in _options.Servers)
        {
            try
            {
                Console.Error.WriteLine($"{server.Name}: making it ready");
                server.Prepare();
                if (!server.Bare)
                {
                    _running[server] = ServerProcess.Start(server);
                }

                servers.Add(server);
            }
            catch (Exception e) when (e is IOException or Win32Exception or TimeoutException)
            {
                _failed |= IsOurs(server.Name);
                Say($"# left out: {server.Name}: {e.Message}");
            }
        }

        return servers;
    }

    private void Measure(List<Server> servers)
    {
        Say($"# {Machine()}. {Build.Ours}");
        Say(Sample.Header);

        // Round 0 is not kept: it lets everybody compile what is hot.
        for (var round = 0; round <= _options.Rounds; round++)
        {
            foreach (var works in _options.Works.GroupBy(work => work.Crowd))
            {
                foreach (var server in servers.Where(server => works.Any(work => work.IsFor(server))))
                {
                    Measure(round, server, works.Key, [.. works.Where(work => work.IsFor(server))]);
                }
            }
        }
    }

    private void Measure(int round, Server server, Crowd crowd, Work[] works)
    {
        try
        {
            if (crowd.Fresh)
            {
                MeasureFresh(round, server, crowd, works);
            }
            else
            {
                MeasureRunning(round, server, crowd, works);
            }
        }
        catch (Exception e) when (e is IOException or Win32Exception or TimeoutException)
        {
            _failed |= IsOurs(server.Name);
            Say($"# {server.Name}, {works[0].Name}: {e.Message}");
            if (_running.Remove(server, out var failed))
            {
                failed.Dispose();
            }
        }
    }

    private void MeasureFresh(int round, Server server, Crowd crowd, Work[] works)
    {
        using var running = ServerProcess.Start(server);
        var before = running.Rss();
        foreach (var work in works)
        {
            if (work.Unit == Unit.Start)
            {
                Keep(
                    new Sample(round, work.Name, server.Name)
                    {
                        StartMs = running.FirstAnswer.TotalMilliseconds,
                        Bytes = running.FirstRss,
                    }
                );
            }
            else if (round > 0)
            {
                using var generator = new Generator(Load(server, crowd, work), running);
                generator.Connect();
                Keep(
                    new Sample(round, work.Name, server.Name)
                    {
                        Bytes = (running.Rss() - before) / (double)crowd.Subscribers,
                    }
                );
            }
        }
    }

    private void MeasureRunning(int round, Server server, Crowd crowd, Work[] works)
    {
        if (!_running.TryGetValue(server, out var running))
        {
            _running[server] = running = ServerProcess.Start(server);
        }

        using (var generator = new Generator(Load(server, crowd, works[0]), running))
        {
            var before = Usage.Now(running);
            generator.Connect();
            var connecting = Usage.Now(running) - before;
            generator.Settle();
            foreach (var work in works)
            {
                if (work.Unit == Unit.Handshake)
                {
                    Keep(new Sample(round, work.Name, server.Name).With(connecting, crowd.Subscribers));
                    continue;
                }

                generator.Use(Load(server, crowd, work));
                var (warmUp, closed, rated) = _options.Times;
                if (round == 0)
                {
                    WarmUp(generator, running, work);
                    continue;
                }

                generator.Publish(PublishesMax(work), warmUp);
                before = Usage.Now(running);
                var tally = generator.Publish(PublishesMax(work), work.Rate > 0 ? rated : closed);
                var usage = Usage.Now(running) - before;
                generator.Drain(tally);
                Keep(
                    new Sample(round, work.Name, server.Name).With(work.Unit, tally, usage) with
                    {
                        Bytes = running.Rss(),
                    }
                );
            }
        }

        running.AwaitRest();
    }

    /// <summary>By the server's own time: on a busy machine its compiler needs longer.</summary>
    private void WarmUp(Generator generator, ServerProcess running, Work work)
    {
        var start = Usage.Now(running);
        var spent = default(Usage);
        while (work.Rate == 0 && spent.Server < WarmUpCpu && spent.Elapsed < WarmUpMax)
        {
            generator.Publish(PublishesMax(work), _options.Times.WarmUp);
            spent = Usage.Now(running) - start;
        }
    }

    private static LoadOptions Load(Server server, Crowd crowd, Work work) =>
        new()
        {
            Server = server,
            Subscribers = crowd.Subscribers,
            RoomsOfOne = crowd.RoomsOfOne,
            InFlight = work.InFlight,
            Rate = work.Rate,
            TimeLimit = TimeSpan.FromSeconds(20),
        };

    /// <summary>More than there is time for, few enough to keep count of.</summary>
    private static int PublishesMax(Work work) =>
        Math.Min(200_000, 50_000_000 / (work.Crowd.RoomsOfOne ? 1 : Math.Max(1, work.Crowd.Subscribers)));

    private void Keep(Sample sample)
    {
        if (sample.Round > 0)
        {
            _samples.Add(sample);
            Say(sample.ToLine());
        }
    }

    private void Say(string line)
    {
        _lines.Add(line);
        Console.Error.WriteLine(line);
    }

    private void Write(string tables)
    {
        if (_options.Name is { } name)
        {
            var results = Directory.CreateDirectory(Path.Combine(Build.Repository, "bench/results")).FullName;
            File.WriteAllLines(
                Path.Combine(results, $"{name}.txt"),
                _lines.Select(line => Spaces().Replace(line.Trim(), " "))
            );
        }

        if (_options.Full)
        {
            Tables.Replace(Path.Combine(Build.Repository, "docs/performance.md"), tables);
        }
    }

    private static string Machine()
    {
        var model = File.ReadLines("/proc/cpuinfo")
            .FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal));
        return $"{TimeProvider.System.GetUtcNow():yyyy-MM-dd HH:mm} UTC, {Environment.ProcessorCount} cores "
            + $"({model?.Split(':')[1].Trim()}), Linux {Environment.OSVersion.Version.ToString(2)}, "
            + $"{RuntimeInformation.FrameworkDescription}, "
            + $"load average {File.ReadAllText("/proc/loadavg").Split(' ')[0]}";
    }

    [GeneratedRegex(" +")]
    private static partial Regex Spaces();

    public void Dispose()
    {
        foreach (var running in _running.Values)
        {
            running.Dispose();
        }
    }
}
