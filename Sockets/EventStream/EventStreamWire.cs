using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// The format of /events: <c>text/event-stream</c> (HTML Living Standard §9.2). The client sends nothing on it.
/// </summary>
/// <param name="hasHeartbeat">Whether keep-alives are events, which the client sees, instead of comments.</param>
internal class EventStreamWire(bool hasHeartbeat) : Wire
{
    private static readonly int Slot = EncodedFrames.ReserveSlot();

    /// <summary>Streams that are kept alive by comments, and whose id lines are message ids.</summary>
    public static readonly EventStreamWire Plain = new(hasHeartbeat: false);

    /// <summary>Streams that are kept alive by events, and whose id lines are message ids.</summary>
    public static readonly EventStreamWire WithHeartbeat = new(hasHeartbeat: true);

    public override bool IsDuplex => false;

    public override string Transport => "sse";

    public override byte[] Ping => hasHeartbeat ? EventStreamFrames.Heartbeat : EventStreamFrames.Comment;

    public override TimeSpan PingInterval(SocketOptions options) =>
        hasHeartbeat ? options.PingInterval : options.CommentInterval;

    public override byte[] Message(Envelope envelope, int room) =>
        envelope.Frame(Slot, room) ??= EventStreamFrames.Message(envelope, room);

    public override byte[] Event(string @event, ReadOnlySpan<byte> data) => EventStreamFrames.Encode(@event, data);

    public override byte[] Ack(ReadOnlySpan<byte> ack, ReadOnlySpan<byte> data) => [];

    public override byte[] Refusal(ReadOnlySpan<byte> ack, RefusedException refused) => [];

    /// <summary>The <c>retry</c> field of the reason.</summary>
    public override byte[] Close(CloseReason reason) =>
        reason.Reconnect
            ? EventStreamRetry.StreamAfter(TimeSpan.FromMilliseconds(reason.DrainMs + reason.AfterMs))
            : [];
}

/// <summary>The format of one stream whose id lines carry a <see cref="StreamCursor"/>.</summary>
internal sealed class CursorEventStreamWire(StreamCursor cursor, bool hasHeartbeat) : EventStreamWire(hasHeartbeat)
{
    private static readonly int HeadSlot = EncodedFrames.ReserveSlot();

    /// <summary>The cursor moves in the order of the session's queue.</summary>
    public override bool IsPerSession => true;

    public override byte[] Message(Envelope envelope, int room)
    {
        cursor.MoveTo(envelope);
        if (cursor.MatchesIdOf(envelope, room))
        {
            return base.Message(envelope, room);
        }

        var head = envelope.Frame(HeadSlot, 0) ??= EventStreamFrames.Head(envelope.Event, envelope.Data.Span);
        return [.. head, .. envelope.Positions is null ? "\n"u8 : cursor.Line()];
    }
}
