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

    /// <summary>
    /// A figure of ours that has to be within a factor of another's, to which a number is added, or within a number.
    /// </summary>
    private sealed record Target(
        string Title,
        string Work,
        Func<Sample, double> Figure,
        double Factor,
        string? Than = null,
        string Ours = "dmb",
        bool AtLeast = false,
        double Beyond = 0
    );

    /// <summary>Servers side by side in a table of all; others are only in the table of targets.</summary>
    private static readonly (string Title, string[] Servers)[] Groups =
    [
        ("As deployed", ["limit", "nchan", "dmb", "dmb-aot", "dmb-otlp", "dmb-otlp-100", "dmb-nginx", "dmb-kestrel"]),
        (
            "Beside its peers",
            ["dmb", "dmb-bare", "limit", "limit-batch", "nchan", "ws", "naive", "signalr", "socketio"]
        ),
        ("Over Redis", ["dmb-redis", "dmb-aot-redis", "dmb-2", "nchan-redis", "socketio-redis"]),
        (
            "Clients of Socket.IO",
            [
                "dmb",
                "dmb-socketio",
                "dmb-recovery",
                "socketio",
                "dmb-polling",
                "socketio-polling",
                "dmb-socketio-redis",
                "socketio-redis",
                "dmb-polling-redis",
                "socketio-polling-redis",
            ]
        ),
    ];

    private static readonly Target[] Targets =
    [
        new("first answer, AOT: at most 35 ms", "start", s => s.StartMs, 35, Ours: "dmb-aot"),
        new("the same: at most 0.25 × a bare ASP.NET Core app", "start", s => s.StartMs, 0.25, "bare", "dmb-aot"),
        new("the same with Redis: at most 60 ms", "start", s => s.StartMs, 60, Ours: "dmb-aot-redis"),
        new("with OTLP: at most 50 ms behind", "start", s => s.StartMs, 1, "dmb", "dmb-otlp", Beyond: 50),
        new("RSS then, AOT: at most 32 MB", "start", s => s.Bytes / 1e6, 32, Ours: "dmb-aot"),
        new("nobody listening: at most 1.0 × nchan", "nobody", Cpu, 1, "nchan"),
        new("rooms of one: at most 1.15 × nchan", "rooms", Cpu, 1.15, "nchan"),
        new("nobody listening, OTLP, all sampled: at most 1.5 × without", "nobody", Cpu, 1.5, "dmb", "dmb-otlp"),
        new("nobody listening, OTLP, 1 in 100: at most 1.1 × without", "nobody", Cpu, 1.1, "dmb", "dmb-otlp-100"),
        new(
            "nobody listening, behind nginx: our part at most 1.1 × direct",
            "nobody",
            s => s.CpuUs,
            1.1,
            "dmb",
            "dmb-nginx"
        ),
        new("rooms of one, OTLP, all sampled: at most 1.5 × without", "rooms", Cpu, 1.5, "dmb", "dmb-otlp"),
        new("rooms of one, OTLP, 1 in 100: at most 1.1 × without", "rooms", Cpu, 1.1, "dmb", "dmb-otlp-100"),
        new(
            "rooms of one, behind nginx: our part at most 1.1 × direct",
            "rooms",
            s => s.CpuUs,
            1.1,
            "dmb",
            "dmb-nginx"
        ),
        new("500/s, OTLP, all sampled: at most 1.5 × without", "rate500", Cpu, 1.5, "dmb", "dmb-otlp"),
        new("500/s, OTLP, 1 in 100: at most 1.1 × without", "rate500", Cpu, 1.1, "dmb", "dmb-otlp-100"),
        new("500/s, behind nginx: our part at most 1.1 × direct", "rate500", s => s.CpuUs, 1.1, "dmb", "dmb-nginx"),
        new("rooms of one, p99: at most 1.3 × limit", "rooms", s => s.P99Us, 1.3, "limit"),
        new("rooms of one, maximum: at most 10 ms", "rooms", s => s.MaxUs / 1e3, 10),
        new("rooms of one, RSS after it: at most 90 MB", "rooms", s => s.Bytes / 1e6, 90),
        new("1,000 subscribers, one in flight: at most 1.2 × limit", "fanout1000", Cpu, 1.2, "limit"),
        new("the same: below nchan", "fanout1000", Cpu, 1, "nchan"),
        new("1,000 subscribers, 8 in flight: at most 1.1 × limit, batch", "fanout1000x8", Cpu, 1.1, "limit-batch"),
        new("5,000 subscribers, one in flight: at most 1.2 × limit", "fanout5000", Cpu, 1.2, "limit"),
        new("the same: below nchan", "fanout5000", Cpu, 1, "nchan"),
        new("5,000 subscribers, 8 in flight: at most 1.1 × limit, batch", "fanout5000x8", Cpu, 1.1, "limit-batch"),
        new("500/s, CPU: at most 1.0 × nchan", "rate500", Cpu, 1, "nchan"),
        new("500/s, p99: at most 1.2 × limit", "rate500", s => s.P99Us, 1.2, "limit"),
        new("handshakes a second: at least 0.6 × limit", "storm", s => s.PerSecond, 0.6, "limit", AtLeast: true),
        new("idle connection: at most 5 KB", "idle", s => s.Bytes / 1e3, 5),
        new("nobody listening over Redis: at most 0.9 × nchan + Redis", "nobody", Cpu, 0.9, "nchan-redis", "dmb-redis"),
        new("the same, p99: at most 1.5 ×", "nobody", s => s.P99Us, 1.5, "nchan-redis", "dmb-redis"),
        new("rooms of one over Redis: at most 0.9 × nchan + Redis", "rooms", Cpu, 0.9, "nchan-redis", "dmb-redis"),
        new("the same, p99: at most 1.5 ×", "rooms", s => s.P99Us, 1.5, "nchan-redis", "dmb-redis"),
        new("500/s over Redis: at most 0.9 × nchan + Redis", "rate500", Cpu, 0.9, "nchan-redis", "dmb-redis"),
        new("the same, p99: at most 1.5 ×", "rate500", s => s.P99Us, 1.5, "nchan-redis", "dmb-redis"),
        new("Socket.IO clients, 1,000 subscribers: at most 1.05 × /ws", "fanout1000", Cpu, 1.05, "dmb", "dmb-socketio"),
        new("the same: at most 0.5 × Socket.IO", "fanout1000", Cpu, 0.5, "socketio", "dmb-socketio"),
        new("with recovery: at most 1.5 × /ws", "fanout1000", Cpu, 1.5, "dmb", "dmb-recovery"),
        new("polling clients, rooms of one: at most Socket.IO", "rooms", Cpu, 1, "socketio-polling", "dmb-polling"),
    ];

    public string ToMarkdown(string machine)
    {
        var text = new StringBuilder();
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"Measured {machine} at the end; medians of {options.Rounds}. {Build.Ours}"
        );
        foreach (var (title, group) in Compared())
        {
            Compared(text, title, group);
        }

        text.AppendLine().AppendLine("### Targets").AppendLine();
        text.AppendLine("| target | DMB | the other | ratio | met |").AppendLine("|---|---|---|---|---|");
        foreach (var target in Targets)
        {
            Row(text, target);
        }

        return text.ToString();
    }

    /// <summary>All of the groups; or, of servers that were named, one table.</summary>
    private IEnumerable<(string Title, Server[] Servers)> Compared() =>
        options.Full
            ? Groups.Select(group =>
                (group.Title, group.Servers.SelectMany(name => servers.Where(server => server.Name == name)).ToArray())
            )
            : [("Side by side", [.. servers])];

    private void Compared(StringBuilder text, string title, Server[] group)
    {
        text.AppendLine().AppendLine(CultureInfo.InvariantCulture, $"### {title}").AppendLine();
        Table(text, group, Rows());
        text.AppendLine().AppendLine("Latency, p50 / p99 / max:").AppendLine();
        Table(
            text,
            group,
            options
                .Works.Where(work => work.Unit is Unit.Publish or Unit.Delivery)
                .Select(work => (work.Title, (Func<Server, string>)(server => Cell(work.Name, server, Latency))))
        );
        text.AppendLine().AppendLine("What went wrong, in all rounds:").AppendLine();
        Table(
            text,
            group,
            [
                ("deliveries", server => Sum(server, s => s.Deliveries)),
                ("lost", server => Sum(server, s => s.Lost)),
                ("doubled", server => Sum(server, s => s.Doubled)),
                ("to the wrong subscriber", server => Sum(server, s => s.Misrouted)),
                ("out of order", server => Sum(server, s => s.OutOfOrder)),
            ]
        );
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
                        CpuWithBeside
                    );
                    if (work.Name == "rooms")
                    {
                        yield return Of(work, "MB of RSS after it", s => Number(s.Bytes / 1e6));
                    }

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

    /// <summary>A row is left out where none of the servers has a figure.</summary>
    private static void Table(
        StringBuilder text,
        Server[] group,
        IEnumerable<(string Title, Func<Server, string> Cell)> rows
    )
    {
        text.AppendLine(
            CultureInfo.InvariantCulture,
            $"| | {string.Join(" | ", group.Select(server => server.Title))} |"
        );
        text.AppendLine(CultureInfo.InvariantCulture, $"|---|{string.Concat(group.Select(_ => "---|"))}");
        foreach (var (title, cell) in rows)
        {
            var cells = group.Select(cell).ToArray();
            if (Array.Exists(cells, text => text != None))
            {
                text.AppendLine(CultureInfo.InvariantCulture, $"| {title} | {string.Join(" | ", cells)} |");
            }
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
        var than = other is null ? target.Factor : target.Figure(other) + target.Beyond;
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

    /// <summary>The server's and what runs beside it: its Redis, or the proxy in front of it.</summary>
    private static double Cpu(Sample sample) => sample.CpuUs + sample.BesideUs;

    private static string CpuWithBeside(Sample sample) =>
        sample.BesideUs > 0 ? $"{Number(Cpu(sample))} ({Number(sample.BesideUs)})" : Number(sample.CpuUs);

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
