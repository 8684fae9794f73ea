using System.Globalization;
using Dmb.Bench.Load;

namespace Dmb.Bench.Compare;

/// <summary>
/// What one server did in one round of one work. "Us" is microseconds; CPU is user and system, by the work's unit.
/// </summary>
internal sealed record Sample(int Round, string Work, string Server)
{
    public const string Header =
        "round work           server              cpu_us beside_us    gen_us     p50_us     p99_us     max_us"
        + "   per_sec publishes deliveries lost doubled misrouted disorder      bytes       ms load";

    public double CpuUs { get; init; }
    public double BesideUs { get; init; }
    public double GeneratorUs { get; init; }
    public double P50Us { get; init; }
    public double P99Us { get; init; }
    public double MaxUs { get; init; }
    public double PerSecond { get; init; }
    public int Publishes { get; init; }
    public long Deliveries { get; init; }
    public long Lost { get; init; }
    public long Doubled { get; init; }
    public long Misrouted { get; init; }
    public long OutOfOrder { get; init; }

    /// <summary>RSS: of an idle connection; of the whole server at "start", and after "rooms".</summary>
    public double Bytes { get; init; }

    /// <summary>From exec to the first answered publish.</summary>
    public double StartMs { get; init; }

    private string LoadAverage { get; } = File.ReadAllText("/proc/loadavg").Split(' ')[0];

    public long Wrong => Lost + Doubled + Misrouted + OutOfOrder;

    /// <summary>CPU time and latencies of a round of publishes.</summary>
    public Sample With(Unit unit, Tally tally, Usage usage)
    {
        var times = unit == Unit.Delivery || tally.Delivered > 0 ? tally.DeliveryTimes : tally.AnswerTimes;
        return With(usage, unit == Unit.Delivery ? tally.Delivered : tally.Answered) with
        {
            P50Us = times.Percentile(0.5),
            P99Us = times.Percentile(0.99),
            MaxUs = times.Max / 1e3,
            Publishes = tally.Answered,
            Deliveries = tally.Delivered,
            Lost = tally.Expected - tally.Delivered + tally.Publishes - tally.Answered + tally.Refused,
            Doubled = tally.Doubled,
            Misrouted = tally.Misrouted,
            OutOfOrder = tally.OutOfOrder,
        };
    }

    public Sample With(Usage usage, long count) =>
        this with
        {
            CpuUs = usage.Server.TotalMicroseconds / count,
            BesideUs = usage.Beside.TotalMicroseconds / count,
            GeneratorUs = usage.Generator.TotalMicroseconds / count,
            PerSecond = count / usage.Elapsed.TotalSeconds,
        };

    public string ToLine() =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{Round, 5} {Work, -14} {Server, -16} {CpuUs, 9:F2} {BesideUs, 9:F2} {GeneratorUs, 9:F2} {P50Us, 10:F0} "
                + $"{P99Us, 10:F0} {MaxUs, 10:F0}"
                + $" {PerSecond, 9:F0} {Publishes, 9} {Deliveries, 10} {Lost, 4} {Doubled, 7} {Misrouted, 9} "
                + $"{OutOfOrder, 8} {Bytes, 10:F0} {StartMs, 8:F1} {LoadAverage}"
        );

    /// <summary>The median of each figure, and the sums of what went wrong.</summary>
    public static Sample Median(IReadOnlyCollection<Sample> samples)
    {
        double Of(Func<Sample, double> figure)
        {
            var sorted = samples.Select(figure).Order().ToArray();
            return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
        }

        return samples.First() with
        {
            CpuUs = Of(s => s.CpuUs),
            BesideUs = Of(s => s.BesideUs),
            GeneratorUs = Of(s => s.GeneratorUs),
            P50Us = Of(s => s.P50Us),
            P99Us = Of(s => s.P99Us),
            MaxUs = Of(s => s.MaxUs),
            PerSecond = Of(s => s.PerSecond),
            Bytes = Of(s => s.Bytes),
            StartMs = Of(s => s.StartMs),
            Lost = samples.Sum(s => s.Lost),
            Doubled = samples.Sum(s => s.Doubled),
            Misrouted = samples.Sum(s => s.Misrouted),
            OutOfOrder = samples.Sum(s => s.OutOfOrder),
        };
    }
}
