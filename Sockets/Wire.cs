using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// A wire format: the finished bytes of everything that a session sends. A <see cref="Session"/> queues these bytes and
/// writes them to its <see cref="IFrameOutput"/>; it knows neither the protocol nor the transport.
/// </summary>
/// <remarks>
/// To add a format:
/// <list type="number">
/// <item>Derive a class from <see cref="Wire"/> in a folder of its own. One instance serves all sessions of the format.
/// Reserve a slot, <c>private readonly int _slot = EncodedFrames.ReserveSlot();</c>, and write
/// <c>Message(envelope, room) => envelope.Frame(_slot, room) ??= Encode(envelope, room)</c>: a message is then encoded
/// once, and all sessions of the format share the array. A returned array is never changed. An empty array means that
/// the format can't carry this message: the session skips it.</item>
/// <item>A format that adds what only one session knows (the cursor of a stream, an offset) has one instance a session
/// and <see cref="IsPerSession"/>: the session then calls it in the order of its queue, one call at a time.</item>
/// <item>Give the session an <see cref="IFrameOutput"/>: <see cref="SocketFrameOutput"/> and
/// <see cref="StreamFrameOutput"/> exist. <see cref="Session.SwapOutput"/> replaces it later.</item>
/// <item>Read the client in an <see cref="IClientTransport"/>: turn each of its messages into a
/// <see cref="ClientFrame"/> and hand it to <see cref="SocketClient.HandleAsync"/>. <see cref="ClientFrame.Ack"/> comes
/// back unread in <see cref="Ack"/> or <see cref="Refusal"/>, so it may hold what the format needs to answer (an id,
/// the shape of the answer). Call <see cref="Session.RecordActivity"/> for everything that arrives.</item>
/// <item>Run it with <see cref="SocketSessions.RunAsync"/>, which registers, welcomes and removes the session.
/// <see cref="WebSocketWire"/> with <see cref="WebSocketSessions"/> is the example.</item>
/// </list>
/// </remarks>
internal abstract class Wire
{
    /// <summary>
    /// True if clients send frames on the same connection. Duplex sessions are pinged, closed when silent, have
    /// <see cref="SocketOptions.AuthTimeout"/> to authenticate, and receive the node's state events.
    /// </summary>
    public virtual bool IsDuplex => true;

    /// <summary>The transport's name in the operator API.</summary>
    public virtual string Transport => "websocket";

    /// <summary>True if a frame's bytes depend on earlier frames of the session.</summary>
    public virtual bool IsPerSession => false;

    /// <summary>Encodes one message, as delivered by one of its rooms.</summary>
    /// <param name="envelope">The message.</param>
    /// <param name="room">Index in <see cref="Envelope.Rooms"/> of the room that the session is reached by.</param>
    /// <returns>A shared array; empty if the format cannot carry the message.</returns>
    public abstract byte[] Message(Envelope envelope, int room);

    /// <summary>Encodes an event of the broker's own: <c>welcome</c>, <c>joined</c>, <c>failed</c>, …</summary>
    /// <param name="event">ASCII name.</param>
    /// <param name="data">One JSON value in UTF-8.</param>
    public abstract byte[] Event(string @event, ReadOnlySpan<byte> data);

    /// <summary>Encodes the answer to a frame that requested an ack and was executed.</summary>
    /// <param name="ack"><see cref="ClientFrame.Ack"/> of that frame.</param>
    /// <param name="data">One JSON value in UTF-8.</param>
    public abstract byte[] Ack(ReadOnlySpan<byte> ack, ReadOnlySpan<byte> data);

    /// <summary>Encodes the answer to a frame that requested an ack and was refused.</summary>
    /// <param name="ack"><see cref="ClientFrame.Ack"/> of that frame.</param>
    /// <param name="refused">The error code, its text, and whether a retry can succeed.</param>
    public abstract byte[] Refusal(ReadOnlySpan<byte> ack, RefusedException refused);

    /// <summary>The keep-alive frame, sent every <see cref="PingInterval"/>; empty if the client pings.</summary>
    public abstract byte[] Ping { get; }

    /// <summary>Time between two pings.</summary>
    public virtual TimeSpan PingInterval(SocketOptions options) => options.PingInterval;

    /// <summary>Encodes the protocol's close frame, sent after <c>bye</c>; empty if the protocol has none.</summary>
    public abstract byte[] Close(CloseReason reason);
}
