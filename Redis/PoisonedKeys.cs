using Dmb.Telemetry;

namespace Dmb.Redis;

/// <summary>Counts and logs, once a minute, what keys that hold something else did to rooms and backends.</summary>
internal sealed partial class PoisonedKeys(TimeProvider time, BrokerTelemetry telemetry, ILogger<PoisonedKeys> logger)
{
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private long _count;
    private long? _lastWarned;

    /// <summary>A command was refused.</summary>
    /// <param name="keys">The keys that the command declares; one of them is the cause.</param>
    /// <param name="why">What Redis answered.</param>
    public void Refused(string keys, string why) => Note(keys, why);

    /// <summary>A room's history or position was no such thing, was removed, and began anew.</summary>
    public void BeganAnew(IEnumerable<string> rooms) =>
        Note(string.Join(", ", rooms), "what was kept of one of these rooms was removed, and begins anew");

    private void Note(string where, string why)
    {
        telemetry.Dropped("poisoned_key", 1);
        lock (_lock)
        {
            _count++;
            if (_lastWarned is not { } last || time.GetElapsedTime(last) >= WarningInterval)
            {
                LogPoisoned(logger, _count, where, why);
                (_count, _lastWarned) = (0, time.GetTimestamp());
            }
        }
    }

    [LoggerMessage(
        3040,
        LogLevel.Warning,
        "{Messages} times a key in Redis held something else than it should; the last time, at {Where}: {Why}."
    )]
    private static partial void LogPoisoned(ILogger logger, long messages, string where, string why);
}
