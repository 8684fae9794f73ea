using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>The counts of a node, or of all, in one step of five seconds.</summary>
/// <param name="Time">The end of the step.</param>
/// <param name="Publishes">Messages accepted from publishers.</param>
/// <param name="Deliveries">Copies queued for sessions.</param>
/// <param name="Sessions">Open sessions at its end.</param>
/// <param name="Drops">Messages or copies dropped.</param>
/// <param name="Closes">Sessions that the broker closed, by close code.</param>
/// <param name="LagP50Ms">
/// Median time until messages were queued for sessions, in milliseconds; null without messages.
/// </param>
/// <param name="LagP99Ms">The 99th percentile of that time.</param>
/// <param name="RedisUp">Whether the backplane is up.</param>
internal sealed record StatsEntry(
    DateTimeOffset Time,
    long Publishes,
    long Deliveries,
    long Sessions,
    long Drops,
    IReadOnlyDictionary<string, long> Closes,
    double? LagP50Ms,
    double? LagP99Ms,
    bool RedisUp
);

/// <summary>The last 15 minutes, the oldest step first.</summary>
/// <param name="StepS">Seconds of one step.</param>
/// <param name="Items">The steps.</param>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record StatsAnswer(int StepS, IReadOnlyList<StatsEntry> Items, IReadOnlyList<string> Missing);

/// <summary>Samples the node's counters every five seconds, and keeps the samples for 15 minutes.</summary>
internal sealed class StatsSampler(
    BrokerTelemetry telemetry,
    MetricsPage metrics,
    BackplaneState backplane,
    TimeProvider time
) : IHostedService, IDisposable
{
    /// <summary>Time between two samples.</summary>
    public static readonly TimeSpan Step = TimeSpan.FromSeconds(5);

    private const int SamplesMax = 180;
    private const string Lag = "dmb_delivery_lag_seconds";

    private readonly Lock _lock = new();
    private readonly Queue<StatsEntry> _samples = new();
    private Totals _last = new(0, 0, 0, new Dictionary<int, long>(), []);
    private ITimer? _timer;

    /// <summary>Publishes and deliveries per second, over the last complete step.</summary>
    public (double Publishes, double Deliveries) Rates()
    {
        lock (_lock)
        {
            var last = _samples.LastOrDefault();
            return ((last?.Publishes ?? 0) / Step.TotalSeconds, (last?.Deliveries ?? 0) / Step.TotalSeconds);
        }
    }

    /// <summary>The kept steps, the oldest first.</summary>
    public StatsEntry[] Read()
    {
        lock (_lock)
        {
            return [.. _samples];
        }
    }

    /// <summary>Merges the steps of several nodes: sums, the largest lag, and whether Redis is up for all.</summary>
    public static IReadOnlyList<StatsEntry> Sum(IEnumerable<StatsEntry> entries) =>
        [
            .. entries
                .GroupBy(entry => entry.Time)
                .OrderBy(step => step.Key)
                .Select(step => new StatsEntry(
                    step.Key,
                    step.Sum(entry => entry.Publishes),
                    step.Sum(entry => entry.Deliveries),
                    step.Sum(entry => entry.Sessions),
                    step.Sum(entry => entry.Drops),
                    step.SelectMany(entry => entry.Closes)
                        .GroupBy(close => close.Key)
                        .ToDictionary(close => close.Key, close => close.Sum(one => one.Value)),
                    step.Max(entry => entry.LagP50Ms),
                    step.Max(entry => entry.LagP99Ms),
                    step.All(entry => entry.RedisUp)
                )),
        ];

    public Task StartAsync(CancellationToken cancellationToken)
    {
        // Steps are aligned to the clock, so that they end at the same time on all nodes.
        var first = Step - TimeSpan.FromTicks(time.GetUtcNow().UtcTicks % Step.Ticks);
        _timer = time.CreateTimer(_ => Sample(), null, first, Step);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose() => _timer?.Dispose();

    private void Sample()
    {
        var (boundaries, buckets) = metrics.ReadHistogram(Lag);
        lock (_lock)
        {
            var now = new Totals(
                telemetry.Published.Value,
                telemetry.Delivered.Value,
                telemetry.DroppedTotal,
                telemetry.ClosedByCode(),
                buckets
            );
            var lags = buckets.Select((count, i) => count - (i < _last.Lags.Length ? _last.Lags[i] : 0)).ToArray();
            var ticks = time.GetUtcNow().UtcTicks + (Step.Ticks / 2);
            _samples.Enqueue(
                new StatsEntry(
                    new DateTimeOffset(ticks - (ticks % Step.Ticks), TimeSpan.Zero),
                    now.Published - _last.Published,
                    now.Delivered - _last.Delivered,
                    telemetry.Sessions.Value,
                    now.Dropped - _last.Dropped,
                    now.Closed.Where(close => close.Value > _last.Closed.GetValueOrDefault(close.Key))
                        .ToDictionary(
                            close => $"{close.Key}",
                            close => close.Value - _last.Closed.GetValueOrDefault(close.Key)
                        ),
                    PercentileMs(boundaries, lags, 0.5),
                    PercentileMs(boundaries, lags, 0.99),
                    backplane.Why is null
                )
            );
            if (_samples.Count > SamplesMax)
            {
                _samples.Dequeue();
            }

            _last = now;
        }
    }

    /// <summary>The upper boundary of the percentile's bucket; the lower one for the last bucket.</summary>
    private static double? PercentileMs(double[] boundaries, long[] buckets, double part)
    {
        var rest = buckets.Sum() * part;
        if (rest == 0)
        {
            return null;
        }

        for (var i = 0; i < boundaries.Length; i++)
        {
            rest -= buckets[i];
            if (rest <= 0)
            {
                return boundaries[i] * 1_000;
            }
        }

        return boundaries[^1] * 1_000;
    }

    private sealed record Totals(
        long Published,
        long Delivered,
        long Dropped,
        Dictionary<int, long> Closed,
        long[] Lags
    );
}
