using System.Text;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>The format of /ws: JSON objects in text frames (docs/protocol.md §4; RFC 6455).</summary>
internal class WebSocketWire : Wire
{
    /// <summary>Messages without compression and trace.</summary>
    public static readonly WebSocketWire Plain = new();

    /// <summary>Messages compressed by permessage-deflate (RFC 7692).</summary>
    public static readonly WebSocketWire Deflated = new DeflatedWebSocketWire();

    /// <summary>Messages of a sampled trace with their <c>traceparent</c>; not compressed.</summary>
    public static readonly WebSocketWire Traced = new TracedWebSocketWire();

    private readonly int _slot = EncodedFrames.ReserveSlot();

    public override byte[] Ping => WebSocketFrames.Ping;

    public override byte[] Message(Envelope envelope, int room) =>
        envelope.Frame(_slot, room) ??= Encode(envelope, room);

    public override byte[] Event(string @event, ReadOnlySpan<byte> data) =>
        WebSocketFrames.Text(
            JsonText.Concat("{\"event\":\""u8, Encoding.ASCII.GetBytes(@event), "\",\"data\":"u8, data, "}"u8)
        );

    public override byte[] Ack(ReadOnlySpan<byte> ack, ReadOnlySpan<byte> data) =>
        WebSocketFrames.Text(JsonText.Concat("{\"ack\":"u8, ack, ",\"ok\":true,\"data\":"u8, data, "}"u8));

    public override byte[] Refusal(ReadOnlySpan<byte> ack, RefusedException refused) =>
        WebSocketFrames.Text(
            JsonText.Concat("{\"ack\":"u8, ack, ",\"ok\":false,\"error\":"u8, refused.ToJson(), "}"u8)
        );

    public override byte[] Close(CloseReason reason) => WebSocketFrames.Close(reason.Code, reason.Text);

    /// <summary>Encodes the frame of one message.</summary>
    protected virtual byte[] Encode(Envelope envelope, int room) => WebSocketFrames.Message(envelope, room);

    private sealed class DeflatedWebSocketWire : WebSocketWire
    {
        protected override byte[] Encode(Envelope envelope, int room) =>
            WebSocketFrames.DeflatedMessage(envelope, room);
    }

    private sealed class TracedWebSocketWire : WebSocketWire
    {
        /// <summary>A message without a trace has the plain frame.</summary>
        public override byte[] Message(Envelope envelope, int room) =>
            envelope.Traceparent is null ? Plain.Message(envelope, room) : base.Message(envelope, room);

        protected override byte[] Encode(Envelope envelope, int room) =>
            WebSocketFrames.Message(envelope, room, envelope.Traceparent);
    }
}
