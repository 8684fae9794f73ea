using System.Globalization;
using System.Text;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Compare;

/// <summary>
/// The medians as Markdown: what it costs, how long it takes, what went wrong, and whether the targets are met.
/// </summary>
internal sealed class Tables(CompareOptions options, IReadOnlyList<Server> servers, IReadOnlyList<Sample> samples)
{
    private const string Begin = "<!-- bench compare: begin -->";
    private const string End = "<!-- bench compare: end -->";
    private const string None = "–";

    private readonly Dictionary<(string Work, string Server), Sample> _medians = samples
        .GroupBy(sample => (sample.Work, sample.Server))
        .ToDictionary(group => group.Key, group => Sample.Median([.. group]));

    /// <summary>A figure of ours that has to be within a factor of another's, or within a number.</summary>
    private sealed record Target(
        string Title,
        string Work,
        Func<Sample, double> Figure,
        double Factor,
        string? Than = null,
        string Ours = "dmb",
        bool AtLeast = false
    );

    private static readonly Target[] Targets =
    [
        new("1,000 subscribers, one in flight: at most 1.25 × limit", "fanout1000", Cpu, 1.25, "limit"),
        new("the same: below nchan", "fanout1000", Cpu, 1, "nchan"),
        new("5,000 subscribers, one in flight: at most 1.25 × limit", "fanout5000", Cpu, 1.25, "limit"),
        new("the same: below nchan", "fanout5000", Cpu, 1, "nchan"),
        new("1,000 subscribers, 8 in flight: at most 1.6 × limit, batch", "fanout1000x8", Cpu, 1.6, "limit-batch"),
        new("5,000 subscribers, 8 in flight: at most 1.6 × limit, batch", "fanout5000x8", Cpu, 1.6, "limit-batch"),
        new("rooms of one: at most 1.5 × limit", "rooms", Cpu, 1.5, "limit"),
        new("the same: below nchan", "rooms", Cpu, 1, "nchan"),
        new(
            "rooms of one over Redis: at most nchan + Redis, Redis included",
            "rooms",
            Cpu,
            1,
            "nchan-redis",
            "dmb-redis"
        ),
        new("nobody listening: at most 2 × limit", "nobody", Cpu, 2, "limit"),
        new("500/s, CPU: at most 2 × limit", "rate500", Cpu, 2, "limit"),
        new("500/s, p99: at most 1.3 × limit", "rate500", s => s.P99Us, 1.3, "limit"),
        new("idle connection: at most 12 KB", "idle", s => s.Bytes / 1_000, 12),
        new("before there are any: at most 60 MB", "start", s => s.Bytes / 1_000_000, 60),
        new("handshakes a second: at least 0.5 × limit", "storm", s => s.PerSecond, 0.5, "limit", AtLeast: true),
        new("first answer: at most 1.3 × a bare ASP.NET Core app", "start", s => s.StartMs, 1.3, "bare"),
        new("first answer: at most 190 ms", "start", s => s.StartMs, 190),
    ];

    public string ToMarkdown(string machine)
    {
        var text = new StringBuilder();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"Measured {machine} at the end; medians of {options.Rounds}. {Build.Ours}"
        );
        text.AppendLine().AppendLine("### CPU, and the rest").AppendLine();
        Table(text, Rows());
        text.AppendLine().AppendLine("### Latency: p50 / p99 / max").AppendLine();
        Table(
            text,
            options
                .Works.Where(work => work.Unit is Unit.Publish or Unit.Delivery)
                .Select(work => (work.Title, (Func<Server, string>)(server => Cell(work.Name, server, Latency))))
        );
        text.AppendLine().AppendLine("### What went wrong, in all rounds").AppendLine();
        Table(
            text,
            [
                ("deliveries", server => Sum(server, s => s.Deliveries)),
                ("lost", server => Sum(server, s => s.Lost)),
                ("doubled", server => Sum(server, s => s.Doubled)),
                ("to the wrong subscriber", server => Sum(server, s => s.Misrouted)),
                ("out of order", server => Sum(server, s => s.OutOfOrder)),
            ]
        );
        text.AppendLine().AppendLine("### Targets").AppendLine();
        text.AppendLine("| target | DMB | the other | ratio | met |").AppendLine("|---|---|---|---|---|");
        foreach (var target in Targets)
        {
            Row(text, target);
        }

        return text.ToString();
    }

    /// <summary>Puts the tables between the markers of a document.</summary>
    public static void Replace(string document, string tables)
    {
        var text = File.ReadAllText(document);
        var begin = text.IndexOf(Begin, StringComparison.Ordinal) + Begin.Length;
        var end = text.IndexOf(End, StringComparison.Ordinal);
        if (begin < Begin.Length || end < begin)
        {
            throw new IOException($"{document} has no {Begin} and {End}.");
        }

        File.WriteAllText(document, $"{text[..begin]}\n{tables}{text[end..]}");
    }

    private IEnumerable<(string Title, Func<Server, string> Cell)> Rows()
    {
        foreach (var work in options.Works)
        {
            switch (work.Unit)
            {
                case Unit.Publish or Unit.Delivery:
                    yield return Of(
                        work,
                        $"µs of CPU per {(work.Unit == Unit.Publish ? "publish" : "delivery")}",
                        CpuWithRedis
                    );
                    break;
                case Unit.Handshake:
                    yield return Of(work, "a second", s => Number(s.PerSecond));
                    yield return Of(work, "µs of CPU each", s => Number(s.CpuUs));
                    break;
                case Unit.IdleConnection:
                    yield return Of(work, "bytes of RSS each", s => Number(s.Bytes));
                    break;
                case Unit.Start:
                    yield return Of(work, "ms", s => Number(s.StartMs));
                    yield return ("RSS then: MB", server => Cell(work.Name, server, s => Number(s.Bytes / 1e6)));
                    break;
            }
        }

        (string, Func<Server, string>) Of(Work work, string unit, Func<Sample, string> cell) =>
            ($"{work.Title}: {unit}", server => Cell(work.Name, server, cell));
    }

    private void Table(StringBuilder text, IEnumerable<(string Title, Func<Server, string> Cell)> rows)
    {
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"| | {string.Join(" | ", servers.Select(server => server.Title))} |"
        );
        text.AppendLine(CultureInfo.InvariantCulture, $"|---|{string.Concat(servers.Select(_ => "---|"))}");
        foreach (var (title, cell) in rows)
        {
            text.AppendLine(CultureInfo.InvariantCulture, $"| {title} | {string.Join(" | ", servers.Select(cell))} |");
        }
    }

    private void Row(StringBuilder text, Target target)
    {
        if (!_medians.TryGetValue((target.Work, target.Ours), out var ours))
        {
            return;
        }

        var other = target.Than is null ? null : _medians.GetValueOrDefault((target.Work, target.Than));
        if (target.Than is not null && other is null)
        {
            return;
        }

        var figure = target.Figure(ours);
        var than = other is null ? target.Factor : target.Figure(other);
        var ratio = figure / than;
        var bound = other is null ? 1 : target.Factor;
        var met = target.AtLeast ? ratio >= bound : ratio <= bound;
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"| {target.Title} | {Number(figure)} | {(other is null ? None : Number(than))} | {ratio:F2} | {(met ? "yes" : "**no**")} |"
        );
    }

    private string Cell(string work, Server server, Func<Sample, string> text) =>
        _medians.TryGetValue((work, server.Name), out var sample) ? text(sample) : None;

    private string Sum(Server server, Func<Sample, long> count) =>
        samples.Where(sample => sample.Server == server.Name).Sum(count).ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>The server's and its Redis's.</summary>
    private static double Cpu(Sample sample) => sample.CpuUs + sample.RedisUs;

    private static string CpuWithRedis(Sample sample) =>
        sample.RedisUs > 0 ? $"{Number(Cpu(sample))} ({Number(sample.RedisUs)})" : Number(sample.CpuUs);

    private static string Latency(Sample s) => $"{Time(s.P50Us)} / {Time(s.P99Us)} / {Time(s.MaxUs)}";

    private static string Time(double us) => us < 1_000 ? $"{us:F0} µs" : $"{Number(us / 1_000)} ms";

    private static string Number(double value) =>
        value.ToString(
            value < 9.95 ? "F2"
                : value < 99.5 ? "F1"
                : "N0",
            CultureInfo.InvariantCulture
        );
}
