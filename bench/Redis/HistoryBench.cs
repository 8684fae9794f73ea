using System.ComponentModel;
using Dmb.Bench.Load;

namespace Dmb.Bench.Redis;

/// <summary>What history costs: publishing with and without it in turn; then what coming back costs.</summary>
internal static class HistoryBench
{
    private const int Rounds = 3;
    private const string Load = "--in-flight 32 --publishes 40000";
    private const string Off = "0";
    private const string On = "100";
    private const double RatioMax = 2;

    /// <summary>One way to publish: how many a second, and CPU time of each.</summary>
    private readonly record struct Figures(double PerSecond, double ServerUs, double RedisUs)
    {
        public double Us => ServerUs + RedisUs;
    }

    /// <summary>
    /// Prints the tables; gives whether nothing was lost, doubled or out of order, and everyone recovered.
    /// </summary>
    /// <param name="only">Only <c>publish</c>, <c>resume</c> or <c>return</c>; all of them when null.</param>
    /// <exception cref="FormatException">There is no such part.</exception>
    public static bool Run(string? only)
    {
        (string Name, Func<bool> Run)[] parts =
        [
            ("publish", Publishing),
            ("resume", () => HistoryResume.Run(overRedis: false)),
            ("resume", () => HistoryResume.Run(overRedis: true)),
            ("return", HistoryReturn.Run),
        ];
        if (only is not null && !Array.Exists(parts, part => part.Name == only))
        {
            throw new FormatException($"--only: '{only}' is not accepted; publish, resume or return.");
        }

        Console.WriteLine($"load average before: {File.ReadAllText("/proc/loadavg").Split(' ')[0]}; 32 in flight");
        var isComplete = true;
        foreach (var (name, run) in parts)
        {
            isComplete &= (only ?? name) != name || Try(run);
        }

        Console.WriteLine($"load average after: {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
        return isComplete;
    }

    /// <summary>What fails keeps the rest from nothing.</summary>
    private static bool Try(Func<bool> run)
    {
        try
        {
            return run();
        }
        catch (Exception e) when (e is IOException or TimeoutException or Win32Exception)
        {
            Console.WriteLine($"FAILED: {e.Message}");
            return false;
        }
    }

    private static bool Publishing()
    {
        (string Name, string Options)[] ways =
        [
            ("rooms of one, embedded", "--rooms-of-one --subscribers 1000"),
            ("rooms of one, over Redis", "--rooms-of-one --subscribers 1000 --redis"),
            ("nobody listens, embedded", "--subscribers 0"),
            ("nobody listens, over Redis", "--subscribers 0 --redis"),
        ];
        var isComplete = true;
        var measured = ways.Select(_ => (Off: new List<Figures>(), On: new List<Figures>())).ToArray();
        Console.WriteLine($"{"", -40} publishes/s   server us    Redis us   (CPU per publish)");
        for (var round = 0; round < Rounds; round++)
        {
            for (var i = 0; i < ways.Length; i++)
            {
                measured[i].Off.Add(Node(ways[i].Options, Off, ref isComplete));
                Print($"{ways[i].Name}, no history", measured[i].Off[^1]);
                measured[i].On.Add(Node(ways[i].Options, On, ref isComplete));
                Print($"{ways[i].Name}, history", measured[i].On[^1]);
            }
        }

        Console.WriteLine($"medians of {Rounds}:");
        for (var i = 0; i < ways.Length; i++)
        {
            var (off, on) = (Median(measured[i].Off), Median(measured[i].On));
            Print($"{ways[i].Name}, no history", off);
            Print($"{ways[i].Name}, history", on);
            var target =
                off.RedisUs > 0
                    ? $"; at most {RatioMax:N0} is wanted{(on.Us / off.Us > RatioMax ? ": MISSED" : "")}"
                    : "";
            Console.WriteLine($"{"", -40} {on.Us / off.Us:N2} times the CPU of server and Redis{target}");
        }

        return isComplete;
    }

    private static Figures Node(string options, string history, ref bool isComplete)
    {
        using var environs = new Environs(("DMB_HISTORY_SIZE", history));
        var report = LoadRun.Run(LoadOptions.Parse($"{options} {Load}".Split(' ')));
        if (!report.Complete)
        {
            isComplete = false;
            Console.WriteLine(report.ToText());
        }

        return new Figures(report.PublishesPerSecond, report.ServerUsPerPublish, report.RedisUsPerPublish ?? 0);
    }

    private static void Print(string name, Figures f) =>
        Console.WriteLine(
            $"{name, -40} {f.PerSecond, 11:N0} {f.ServerUs, 11:N1} {(f.RedisUs > 0 ? $"{f.RedisUs:N1}" : "-"), 11}"
        );

    private static Figures Median(List<Figures> figures) =>
        new(Median(figures, f => f.PerSecond), Median(figures, f => f.ServerUs), Median(figures, f => f.RedisUs));

    private static double Median(List<Figures> figures, Func<Figures, double> of) =>
        figures.Select(of).Order().ElementAt(figures.Count / 2);
}
