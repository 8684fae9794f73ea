using Dmb.Redis;
using Dmb.Routing;
using Dmb.Sockets;

namespace Dmb.Telemetry;

/// <summary>What is true of the node now, read when somebody asks: instruments of <see cref="BrokerTelemetry"/>'s meter.</summary>
internal sealed class NodeGauges
{
    public NodeGauges(BrokerTelemetry telemetry, RoomTable rooms, SessionTable sessions, BackplaneState backplane, IServiceProvider services)
    {
        // Nothing is spooled by a node that runs alone.
        var publisher = services.GetService<RedisPublisher>();
        var meter = telemetry.Meter;
        meter.CreateObservableUpDownCounter("dmb.rooms", () => (long)rooms.Count, "{room}", "Rooms that somebody on this node is in.");
        meter.CreateObservableGauge("dmb.session.queue", () => sessions.CountQueued().Sum, "{message}", "Messages that wait for this node's sessions.");
        meter.CreateObservableGauge("dmb.session.queue.max", () => sessions.CountQueued().Max, "{message}", "Messages that wait for the session that has most.");
        meter.CreateObservableGauge("dmb.backplane.up", () => backplane.Why is null ? 1L : 0L, unit: null, "Whether messages go to and come from all nodes: 1 or 0.");
        meter.CreateObservableGauge("dmb.spool.messages", () => (long)(publisher?.Spooled ?? 0), "{message}", "Messages kept while Redis is away.");
    }
}
