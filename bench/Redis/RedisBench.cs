using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Dmb.Bench.Load;
using Dmb.Redis;

namespace Dmb.Bench.Redis;

/// <summary>What Redis costs: the server embedded, over Redis, and Redis alone, in turn; then many rooms.</summary>
internal static partial class RedisBench
{
    private const int Rounds = 3;
    private const string Load = "--in-flight 32 --publishes 40000";
    private const int BodyBytes = 300;
    private const int Requests = 200_000;

    /// <summary>One way to publish: how many a second, and CPU time of each.</summary>
    private readonly record struct Figures(double PerSecond, double ServerUs, double RedisUs);

    /// <summary>Prints the tables; gives whether nothing was lost, doubled or out of order.</summary>
    public static bool Run()
    {
        var isComplete = true;
        (string Name, Func<Figures> Measure)[] ways =
        [
            ("rooms of one, embedded", () => Node("--rooms-of-one --subscribers 1000", ref isComplete)),
            ("rooms of one, over Redis", () => Node("--rooms-of-one --subscribers 1000 --redis", ref isComplete)),
            ("nobody listens, embedded", () => Node("--subscribers 0", ref isComplete)),
            ("nobody listens, over Redis", () => Node("--subscribers 0 --redis", ref isComplete)),
            ("redis-benchmark: PUBLISH", () => Alone("PUBLISH", "dmb:room:support", new string('x', BodyBytes))),
            ("redis-benchmark: the node's script", () =>
                Alone(
                    "EVAL",
                    RedisScript.Publish.Text,
                    "1",
                    "dmb:log",
                    "10000",
                    new string('x', BodyBytes),
                    "dmb:room:support"
                )
            ),
        ];
        var measured = ways.Select(_ => new List<Figures>()).ToArray();
        Console.WriteLine($"load average before: {File.ReadAllText("/proc/loadavg").Split(' ')[0]}; 32 in flight");
        Console.WriteLine($"{"", -36} publishes/s   server us    Redis us   (CPU per publish)");
        for (var round = 0; round < Rounds; round++)
        {
            for (var i = 0; i < ways.Length; i++)
            {
                measured[i].Add(ways[i].Measure());
                Print(ways[i].Name, measured[i][^1]);
            }
        }

        Console.WriteLine($"medians of {Rounds}:");
        for (var i = 0; i < ways.Length; i++)
        {
            Print(
                ways[i].Name,
                new Figures(
                    Median(measured[i], f => f.PerSecond),
                    Median(measured[i], f => f.ServerUs),
                    Median(measured[i], f => f.RedisUs)
                )
            );
        }

        for (var round = 0; round < Rounds; round++)
        {
            Console.WriteLine(ManyRooms.Measure(overRedis: false));
            Console.WriteLine(ManyRooms.Measure(overRedis: true));
        }

        return isComplete;
    }

    private static Figures Node(string options, ref bool isComplete)
    {
        var report = LoadRun.Run(LoadOptions.Parse($"{options} {Load}".Split(' ')));
        if (!report.Complete)
        {
            isComplete = false;
            Console.WriteLine(report.ToText());
        }

        return new Figures(report.PublishesPerSecond, report.ServerUsPerPublish, report.RedisUsPerPublish ?? 0);
    }

    private static Figures Alone(params string[] command)
    {
        using var redis = RedisProcess.Start();
        string[] arguments = ["-p", $"{redis.Port}", "-c", "32", "-n", $"{Requests}", "-q", .. command];
        var before = redis.CpuTime();
        var (process, rate) = Child.Start(new ProcessStartInfo("redis-benchmark", arguments), RequestsPerSecond());
        process.WaitForExit();
        process.Dispose();
        var cpu = redis.CpuTime() - before;
        var perSecond = double.Parse(rate.Groups[1].Value, CultureInfo.InvariantCulture);
        return new Figures(perSecond, 0, cpu.TotalMicroseconds / Requests);
    }

    private static void Print(string name, Figures f) =>
        Console.WriteLine($"{name, -36} {f.PerSecond, 11:N0} {OrNone(f.ServerUs), 11} {OrNone(f.RedisUs), 11}");

    private static string OrNone(double us) => us > 0 ? $"{us:N1}" : "-";

    private static double Median(List<Figures> figures, Func<Figures, double> of) =>
        figures.Select(of).Order().ElementAt(figures.Count / 2);

    [GeneratedRegex(@"([\d.]+) requests per second")]
    private static partial Regex RequestsPerSecond();
}
