using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;

namespace Dmb.Telemetry;

/// <summary>
/// Owns the meter <c>Dmb</c> (docs/protocol.md §11). Per-message counters are fields that are read on collection, so
/// that they cost the same with and without a listener.
/// </summary>
internal sealed class BrokerTelemetry : IDisposable
{
    private static readonly string[] Reasons =
    [
        "gap",
        "inputs_full",
        "not_understood",
        "poisoned_key",
        "reserved_event",
        "slow_consumer",
        "spool_expired",
        "spool_lost",
    ];
    private static readonly TimeSpan LagMax = TimeSpan.FromHours(1);

    private readonly TimeProvider _time;
    private readonly Histogram<double> _publishDuration;
    private readonly Histogram<double> _deliveryLag;
    private readonly Dictionary<string, Count> _dropped;
    private readonly Lock _lock = new();
    private readonly Dictionary<int, Count> _closed = [];

    public BrokerTelemetry(IMeterFactory meters, TimeProvider time)
    {
        _time = time;
        Meter = meters.Create("Dmb");
        Published = Counted("dmb.messages.published", "{message}", "Messages taken from publishers.");
        Delivered = Counted("dmb.messages.delivered", "{message}", "Copies queued for sessions.");
        Ignored = Counted("dmb.messages.ignored", "{message}", "Messages of events that are not registered.");
        Repaired = Counted(
            "dmb.messages.repaired",
            "{message}",
            "Bodies with bytes that are not UTF-8, replaced by U+FFFD."
        );
        RoomsLeftOut = Counted(
            "dmb.rooms.left_out",
            "{room}",
            "Entries of `_in`, or an `endpoint`, that name no notification room."
        );
        Meter.CreateObservableGauge(
            "dmb.spool.messages",
            () => Spooled(),
            "{message}",
            "Messages kept while Redis is away."
        );
        Sessions = new Count();
        Meter.CreateObservableUpDownCounter("dmb.sessions", () => Sessions.Value, "{session}", "Open sessions.");
        _dropped = Reasons.ToDictionary(reason => reason, _ => new Count());
        Meter.CreateObservableCounter(
            "dmb.messages.dropped",
            () => _dropped.Select(entry => Measured(entry.Value, "reason", entry.Key)),
            "{message}",
            "Messages or copies not delivered, by reason."
        );
        Meter.CreateObservableCounter(
            "dmb.sessions.closed",
            ReadClosed,
            "{session}",
            "Sessions that the broker closed, by close code."
        );
        _publishDuration = Timed(
            "dmb.publish.duration",
            "From a message's address being known to the backplane having it.",
            [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
        );
        _deliveryLag = Timed(
            "dmb.delivery.lag",
            "From a message's id being given, on any node, to its copies being queued on this one.",
            [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
        );
    }

    public Meter Meter { get; }

    public Count Published { get; }

    public Count Delivered { get; }

    public Count Ignored { get; }

    public Count Repaired { get; }

    public Count RoomsLeftOut { get; }

    public Count Sessions { get; }

    /// <summary>Returns the number of spooled messages; set by the spool, 0 without one.</summary>
    public Func<long> Spooled { get; set; } = static () => 0;

    /// <param name="reason">One of <see cref="Reasons"/>.</param>
    /// <param name="messages">Number of messages.</param>
    public void Dropped(string reason, long messages) => _dropped[reason].Add(messages);

    /// <summary>Messages or copies dropped so far, for all reasons.</summary>
    public long DroppedTotal => _dropped.Values.Sum(count => count.Value);

    /// <summary>Sessions closed by the broker so far, by close code.</summary>
    public Dictionary<int, long> ClosedByCode()
    {
        lock (_lock)
        {
            return _closed.ToDictionary(entry => entry.Key, entry => entry.Value.Value);
        }
    }

    public void Closed(int code)
    {
        lock (_lock)
        {
            if (!_closed.TryGetValue(code, out var count))
            {
                _closed.Add(code, count = new Count());
            }

            count.Add(1);
        }
    }

    /// <summary>Records the duration of a publish.</summary>
    /// <param name="start">Its start, as <see cref="Stopwatch.GetTimestamp"/>.</param>
    public void PublishedSince(long start) => _publishDuration.Record(Stopwatch.GetElapsedTime(start).TotalSeconds);

    /// <summary>
    /// Records the age of a message when it is queued for sessions, from the time in its id: UUIDv7 of the last hour
    /// only. Clamped at 0 against clocks that differ.
    /// </summary>
    public void DeliveredNow(string id)
    {
        if (
            _deliveryLag.Enabled
            && id.Length == Guid.Empty.ToString().Length
            && id[14] == '7'
            && long.TryParse(
                id.AsSpan(0, 8),
                NumberStyles.AllowHexSpecifier,
                CultureInfo.InvariantCulture,
                out var high
            )
            && long.TryParse(id.AsSpan(9, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var low)
        )
        {
            var lag = TimeSpan.FromMilliseconds(_time.GetUtcNow().ToUnixTimeMilliseconds() - ((high << 16) | low));
            if (lag <= LagMax)
            {
                _deliveryLag.Record(Math.Max(0, lag.TotalSeconds));
            }
        }
    }

    public void Dispose() => Meter.Dispose();

    private Count Counted(string name, string unit, string description)
    {
        var count = new Count();
        Meter.CreateObservableCounter(name, () => count.Value, unit, description);
        return count;
    }

    private Histogram<double> Timed(string name, string description, double[] boundaries) =>
        Meter.CreateHistogram(
            name,
            "s",
            description,
            tags: null,
            new InstrumentAdvice<double> { HistogramBucketBoundaries = boundaries }
        );

    private Measurement<long>[] ReadClosed()
    {
        lock (_lock)
        {
            return [.. _closed.Select(entry => Measured(entry.Value, "code", entry.Key))];
        }
    }

    private static Measurement<long> Measured(Count count, string name, object value) =>
        new(count.Value, KeyValuePair.Create<string, object?>(name, value));
}

/// <summary>A thread-safe counter.</summary>
internal sealed class Count
{
    private long _value;

    public long Value => Volatile.Read(ref _value);

    public void Add(long number) => Interlocked.Add(ref _value, number);
}
