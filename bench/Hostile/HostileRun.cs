using System.Diagnostics;
using System.Globalization;
using Dmb.Bench.Fuzz;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Hostile;

/// <summary>
/// Attacks a node of its own, one way after the other, and measures what an honest client beside it notices, for
/// docs/hostile.md.
/// </summary>
internal static class HostileRun
{
    public const string Usage = "bench hostile [--only NAME]";

    private const string Begin = "<!-- hostile -->\n";
    private const string End = "<!-- /hostile -->";
    private const string Head = """
        | attack | honest client before | during | memory before, peak, after | broker's CPU | attackers' CPU | what became of them | the broker's answer |
        |---|---|---|---|---|---|---|---|

        """;

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan Before = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan After = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Sampling = TimeSpan.FromMilliseconds(100);

    /// <summary>An attack may take so much longer to notice that it is over.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <exception cref="FormatException">There is no such attack.</exception>
    public static bool Run(string[] options)
    {
        var attacks = options switch
        {
            [] => Attacks.All,
            ["--only", var name] when Attacks.All.Any(attack => attack.Name == name) =>
            [
                .. Attacks.All.Where(attack => attack.Name == name),
            ],
            _ => throw new FormatException(
                $"{Usage}\nattacks: {string.Join(' ', Attacks.All.Select(attack => attack.Name))}"
            ),
        };
        var server = Servers.Find("dmb");
        server.Prepare();
        var table = Head;
        var isGood = true;
        Console.Write(Head);
        foreach (var attack in attacks)
        {
            var row = Measure(attack, server, ref isGood);
            Console.Write(row);
            table += row;
        }

        if (options is [])
        {
            Write(table);
        }

        return isGood;
    }

    private static string Measure(Attack attack, Server server, ref bool isGood)
    {
        using var node = Victim.Start(server.Command(0, 0), attack.Settings);
        using var honest = new HonestLoad(node.Address);
        var target = new Target(node.Address);
        Wait(WarmUp);

        var before = honest.Begin();
        Wait(Before);
        var rssBefore = node.Rss;

        var (cpu, own, start) = (node.CpuTime, Linux.CpuTime(Environment.ProcessId), Stopwatch.GetTimestamp());
        var during = honest.Begin();
        using var end = new CancellationTokenSource(attack.Length);
        var attacking = Task.Run(() => AttackAsync(attack, target, end.Token));
        var peak = rssBefore;
        while (
            Stopwatch.GetElapsedTime(start) is var elapsed
            && (elapsed < attack.Length || !attacking.IsCompleted)
            && elapsed < attack.Length + Patience
        )
        {
            peak = Math.Max(peak, node.Rss);
            Wait(Sampling);
        }

        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var (cpuShare, ownShare) = (
            (node.CpuTime - cpu).TotalSeconds / seconds,
            (Linux.CpuTime(Environment.ProcessId) - own).TotalSeconds / seconds
        );
        honest.Begin();
        var outcomes = target.End();
        Wait(After);
        honest.End();
        Wait(Sampling);
        var (complaints, _) = node.Complaints(0);
        var fault = node.HasEnded
            ? "the node ended"
            : honest.Fault ?? (honest.Missing > 0 ? $"{honest.Missing} copies missing" : complaints.FirstOrDefault());
        isGood &= fault is null;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"| `{attack.Name}`: {attack.Title} | {Times(before)} | {Times(during)}{(fault is null ? "" : $" **{fault}**")} | {Mebibytes(rssBefore)}, {Mebibytes(peak)}, {Mebibytes(node.Rss)} MiB | {cpuShare:P0} | {ownShare:P0} | {outcomes} | {attack.Answer} |\n"
        );
    }

    private static async Task AttackAsync(Attack attack, Target target, CancellationToken end)
    {
        try
        {
            await attack.RunAsync(target, end);
        }
        catch (OperationCanceledException)
        {
            // Its time is over.
        }
    }

    private static void Write(string table)
    {
        var path = Path.Combine(Build.Repository, "docs", "hostile.md");
        var text = File.ReadAllText(path);
        var (start, end) = (
            text.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length,
            text.IndexOf(End, StringComparison.Ordinal)
        );
        File.WriteAllText(path, text[..start] + table + text[end..]);
    }

    private static string Times(Histogram times) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{Ms(times.Percentile(0.5))} / {Ms(times.Percentile(0.99))} / {Ms(times.Max / 1e3)} ms"
        );

    private static string Ms(double us) => (us / 1e3).ToString(us < 10_000 ? "F1" : "F0", CultureInfo.InvariantCulture);

    private static long Mebibytes(long bytes) => bytes >> 20;

    private static void Wait(TimeSpan time) => Task.Delay(time, TimeProvider.System).GetAwaiter().GetResult();
}
