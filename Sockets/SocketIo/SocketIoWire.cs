using System.Text;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Sockets;

/// <summary>
/// The format of Socket.IO: <c>42["event",data]</c> in WebSocket text frames, the same for both generations of
/// Engine.IO (Socket.IO Protocol, "Packet encoding"). <see cref="PollingOutput"/> takes the packets out of the frames.
/// </summary>
internal class SocketIoWire(EngineIoVersion version, BrokerTelemetry telemetry) : Wire
{
    private static readonly int Slot = EncodedFrames.ReserveSlot();
    private static readonly byte[] PingPacket = WebSocketFrames.Text("2"u8);
    private static readonly byte[] DisconnectPacket = WebSocketFrames.Text("41"u8);

    public override string Transport => "socketio";

    /// <summary>Clients of protocol 3 ping by themselves.</summary>
    public override byte[] Ping => version == EngineIoVersion.V4 ? PingPacket : [];

    public override byte[] Message(Envelope envelope, int room) => envelope.Frame(Slot, 0) ??= Encode(envelope);

    public override byte[] Event(string @event, ReadOnlySpan<byte> data) => Frame(@event, data, []);

    public override byte[] Ack(ReadOnlySpan<byte> ack, ReadOnlySpan<byte> data) =>
        WebSocketFrames.Text(
            SocketIoAck.HasData(ack)
                ? JsonText.Concat("43"u8, SocketIoAck.Id(ack), "[true,"u8, data, "]"u8)
                : JsonText.Concat("43"u8, SocketIoAck.Id(ack), "[true]"u8, [], [])
        );

    public override byte[] Refusal(ReadOnlySpan<byte> ack, RefusedException refused) =>
        WebSocketFrames.Text(JsonText.Concat("43"u8, SocketIoAck.Id(ack), "[false,"u8, refused.ToJson(), "]"u8));

    /// <summary>
    /// After a lost connection every client comes back, after <c>41</c> none: so <c>41</c> is for those that should
    /// not. The close frame ends a socket; polling leaves it out.
    /// </summary>
    public override byte[] Close(CloseReason reason) =>
        [.. reason.Reconnect ? [] : DisconnectPacket, .. WebSocketFrames.Close(reason.Code, reason.Text)];

    /// <summary>
    /// The packet of an event, with one argument behind the data if <paramref name="last"/> is not empty.
    /// </summary>
    protected static byte[] Frame(string @event, ReadOnlySpan<byte> data, ReadOnlySpan<byte> last) =>
        WebSocketFrames.Text(
            JsonText.Concat("42[\""u8, Encoding.ASCII.GetBytes(@event), "\","u8, data, last.IsEmpty ? "]"u8 : last)
        );

    /// <summary>Whether clients can be sent an event of that name; counted if not.</summary>
    protected bool CanCarry(Envelope envelope)
    {
        var canCarry = !Names.IsReservedByClients(envelope.Event);
        if (!canCarry)
        {
            telemetry.Dropped("reserved_event", 1);
        }

        return canCarry;
    }

    private byte[] Encode(Envelope envelope) => CanCarry(envelope) ? Frame(envelope.Event, envelope.Data.Span, []) : [];
}

/// <summary>
/// The same for one session that can be recovered: every event has the session's offset as its last argument.
/// </summary>
internal sealed class RecoverableSocketIoWire(EngineIoVersion version, BrokerTelemetry telemetry, SocketIoOffset offset)
    : SocketIoWire(version, telemetry)
{
    public override bool IsPerSession => true;

    public override byte[] Message(Envelope envelope, int room)
    {
        if (!CanCarry(envelope))
        {
            return [];
        }

        offset.MoveTo(envelope);
        return Event(envelope.Event, envelope.Data.Span);
    }

    public override byte[] Event(string @event, ReadOnlySpan<byte> data) => Frame(@event, data, offset.LastArgument());
}
