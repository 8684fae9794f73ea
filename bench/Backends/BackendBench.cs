using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text.Json;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Backends;

/// <summary>
/// Messages between a backend and browsers: latency and CPU, beside Redis's own PUBLISH and SUBSCRIBE in the same run.
/// </summary>
internal static class BackendBench
{
    public const int InFlightMax = 32;

    private const int Rounds = 3;
    private const int WarmUp = 2_000;

    /// <summary>One run of one way. Latency and CPU time a message in µs.</summary>
    private readonly record struct Figures(
        double P50,
        double P99,
        double Max,
        double Server,
        double Redis,
        double PerSecond,
        int Lost,
        int Doubled
    )
    {
        public override string ToString() =>
            $"p50 {P50, 7:N0}  p99 {P99, 7:N0}  max {Max, 8:N0}  server {(Server > 0 ? $"{Server:N1}" : "-"), 7}  Redis {Redis, 6:N1}  {PerSecond, 7:N0}/s  lost {Lost}  doubled {Doubled}";
    }

    /// <summary>Prints each run, and then the medians; gives whether nothing was lost or doubled.</summary>
    /// <exception cref="FormatException">There is no such option, or value of one.</exception>
    public static bool Run(string[] options)
    {
        var (messages, nodes) = (5_000, 1);
        for (var i = 0; i < options.Length; i += 2)
        {
            var value =
                options.Length > i + 1
                && int.TryParse(options[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                    ? number
                    : 0;
            switch (options[i])
            {
                case "--messages" when value > 0:
                    messages = value;
                    break;
                case "--nodes" when value is 1 or 2:
                    nodes = value;
                    break;
                default:
                    throw new FormatException("bench backends [--messages N] [--nodes 1|2]");
            }
        }

        return Run(messages, nodes);
    }

    private static bool Run(int messages, int nodes)
    {
        var load = File.ReadAllText("/proc/loadavg").Split(' ')[0];
        using var server = ServerProcess.Start(Servers.Find("built") with { Redis = true, Nodes = nodes });
        server.Await(ready: true);
        var redis = server.Redis!;
        var bkid = Register(server);
        Func<Way>[] ways =
        [
            () => new BareWay(redis),
            () => new RedisDownlinkWay(redis, server.SubscribeAt, bkid),
            () => new HttpDownlinkWay(server.PublishAt, server.SubscribeAt, bkid),
            () => new UplinkWay(redis, server.SubscribeAt, bkid),
        ];
        return Run(
            ways,
            messages,
            server,
            redis,
            $"{nodes} node(s), {messages:N0} messages a run, load average before: {load}"
        );
    }

    private static bool Run(Func<Way>[] ways, int messages, ServerProcess server, RedisProcess redis, string title)
    {
        Console.WriteLine($"{title}; latency and CPU a message in us");
        var runs = new List<(string Way, int InFlight, Figures Figures)>();
        long number = 0;
        foreach (var open in ways)
        {
            using var way = open();
            Measure(way, InFlightMax, WarmUp);
        }

        for (var round = 1; round <= Rounds; round++)
        {
            foreach (var inFlight in (int[])[1, InFlightMax])
            {
                foreach (var open in ways)
                {
                    using var way = open();
                    var figures = Measure(way, inFlight, messages);
                    runs.Add((way.Name, inFlight, figures));
                    Console.WriteLine($"{round}  {inFlight, 2} in flight  {way.Name, -36} {figures}");
                }
            }
        }

        Console.WriteLine($"medians of {Rounds}; the largest max; all that was lost or doubled:");
        foreach (var group in runs.GroupBy(run => (run.InFlight, run.Way), run => run.Figures))
        {
            Figures[] figures = [.. group];
            var median = new Figures(
                Median(figures, f => f.P50),
                Median(figures, f => f.P99),
                figures.Max(f => f.Max),
                Median(figures, f => f.Server),
                Median(figures, f => f.Redis),
                Median(figures, f => f.PerSecond),
                figures.Sum(f => f.Lost),
                figures.Sum(f => f.Doubled)
            );
            Console.WriteLine($"   {group.Key.InFlight, 2} in flight  {group.Key.Way, -36} {median}");
        }

        return runs.TrueForAll(run => run.Figures is { Lost: 0, Doubled: 0 });

        Figures Measure(Way way, int inFlight, int count)
        {
            var (start, cpu, before) = (Stopwatch.GetTimestamp(), server.CpuTime(), redis.CpuTime());
            var (times, lost, doubled) = Send(way, number, count, inFlight);
            var elapsed = Stopwatch.GetElapsedTime(start);
            number += count + 1;
            return new Figures(
                times.Percentile(0.5),
                times.Percentile(0.99),
                times.Max / 1e3,
                way is BareWay ? 0 : (server.CpuTime() - cpu).TotalMicroseconds / count,
                (redis.CpuTime() - before).TotalMicroseconds / count,
                count / elapsed.TotalSeconds,
                lost,
                doubled
            );
        }
    }

    /// <summary>Sends so many messages, and one more behind which nothing of them can come.</summary>
    private static (Histogram Times, int Lost, int Doubled) Send(Way way, long first, int count, int inFlight)
    {
        var times = new Histogram();
        var sent = new long[count + 1];
        var came = new bool[count + 1];
        var (next, arrived, doubled) = (0, 0, 0);
        try
        {
            while (!came[count])
            {
                while (next < count ? next - arrived < inFlight : next == count && arrived == count)
                {
                    sent[next] = Stopwatch.GetTimestamp();
                    way.Send(first + next++);
                }

                if (way.Receive() is not (>= 0 and var numbered))
                {
                    // Somebody came or went.
                    continue;
                }

                var number = numbered - first;
                if (number < 0 || number > count || came[number])
                {
                    doubled++;
                    continue;
                }

                came[number] = true;
                arrived++;
                if (number < count)
                {
                    times.Add(Stopwatch.GetElapsedTime(sent[number]).Ticks * TimeSpan.NanosecondsPerTick);
                }
            }
        }
        catch (SocketException late) when (late.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock)
        {
            // What is missing is lost.
        }

        return (times, came.AsSpan(0, count).Count(false), doubled);
    }

    private static double Median(Figures[] figures, Func<Figures, double> of) =>
        figures.Select(of).Order().ElementAt(figures.Length / 2);

    private static string Register(ServerProcess server)
    {
        using var connection = new HttpConnection(server.PublishAt);
        connection.Post("/register/backend", """{"name":"bench"}""");
        return JsonElement.Parse(connection.Answer()).GetProperty("bkid").GetString()!;
    }
}
