using System.Diagnostics.Metrics;

namespace Dmb.Telemetry;

/// <summary>The meter <c>Dmb</c> (docs/protocol.md §11). An instrument that nobody listens to costs next to nothing.</summary>
internal sealed class BrokerTelemetry : IDisposable
{
    private readonly Meter _meter;
    private readonly Counter<long> _dropped;
    private readonly Counter<long> _closed;

    public BrokerTelemetry(IMeterFactory meters)
    {
        _meter = meters.Create("Dmb");
        Published = _meter.CreateCounter<long>("dmb.messages.published", "{message}", "Messages taken from publishers.");
        Delivered = _meter.CreateCounter<long>("dmb.messages.delivered", "{message}", "Copies queued for sessions.");
        Ignored = _meter.CreateCounter<long>("dmb.messages.ignored", "{message}", "Messages of events that nobody registered.");
        Repaired = _meter.CreateCounter<long>("dmb.messages.repaired", "{message}", "Bodies with bytes that are not UTF-8, replaced by U+FFFD.");
        RoomsLeftOut = _meter.CreateCounter<long>("dmb.rooms.left_out", "{room}", "Entries of `_in`, or an `endpoint`, that name no notification room.");
        _dropped = _meter.CreateCounter<long>("dmb.messages.dropped", "{message}", "Copies not delivered, by reason.");
        Sessions = _meter.CreateUpDownCounter<long>("dmb.sessions", "{session}", "Open sessions.");
        _closed = _meter.CreateCounter<long>("dmb.sessions.closed", "{session}", "Sessions that the broker closed, by code.");
    }

    public Counter<long> Published { get; }

    public Counter<long> Delivered { get; }

    public Counter<long> Ignored { get; }

    public Counter<long> Repaired { get; }

    public Counter<long> RoomsLeftOut { get; }

    public UpDownCounter<long> Sessions { get; }

    public void Dropped(string reason, long messages) => _dropped.Add(messages, KeyValuePair.Create<string, object?>("reason", reason));

    public void Closed(int code) => _closed.Add(1, KeyValuePair.Create<string, object?>("code", code));

    public void Dispose() => _meter.Dispose();
}
