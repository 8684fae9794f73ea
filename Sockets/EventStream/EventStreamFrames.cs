using System.Buffers;
using System.Globalization;
using System.Text;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Encodes the fields and events of <c>text/event-stream</c> (HTML Living Standard §9.2).</summary>
internal static class EventStreamFrames
{
    private static readonly SearchValues<byte> LineBreaks = SearchValues.Create("\r\n"u8);

    private static ReadOnlySpan<byte> EventField => "event: "u8;

    private static ReadOnlySpan<byte> DataField => "\ndata: "u8;

    /// <summary>The first comment of a stream: its rooms are joined.</summary>
    public static readonly byte[] Connected = ": connected\n\n"u8.ToArray();

    /// <summary>An event that keeps the connection alive, for clients that ask to see it.</summary>
    public static readonly byte[] Heartbeat = "event: ping\ndata: {}\n\n"u8.ToArray();

    /// <summary>A comment line that keeps the connection alive.</summary>
    public static readonly byte[] Comment = ":\n\n"u8.ToArray();

    /// <summary>The <c>retry</c> field: how long the client waits before it reconnects.</summary>
    public static byte[] Retry(TimeSpan wait) =>
        Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"retry: {(int)wait.TotalMilliseconds}\n"));

    /// <summary>
    /// One message, its data on one line. Its id is its position in the stream's single room or, without history, the
    /// message id.
    /// </summary>
    public static byte[] Message(Envelope envelope, int room)
    {
        var id =
            envelope.Positions is { } positions && !positions[room].IsNone
                ? StreamCursor.Entry(envelope.Rooms[room], positions[room])
                : envelope.Id;
        return [.. Head(envelope.Event, envelope.Data.Span), .. Id(id)];
    }

    /// <summary>An event of the broker's own, without an id.</summary>
    public static byte[] Encode(string @event, ReadOnlySpan<byte> data) => [.. Head(@event, data), .. "\n"u8];

    /// <summary>An event without its last line, an id line or an empty one.</summary>
    public static byte[] Head(string @event, ReadOnlySpan<byte> data)
    {
        var head = new byte[EventField.Length + @event.Length + DataField.Length + data.Length + 1];
        var rest = head.AsSpan();
        JsonText.Put(EventField, ref rest);
        rest = rest[Encoding.ASCII.GetBytes(@event, rest)..];
        JsonText.Put(DataField, ref rest);

        // JSON has line breaks only between tokens, where a space is equivalent.
        data.ReplaceAny(rest, LineBreaks, (byte)' ');
        head[^1] = (byte)'\n';
        return head;
    }

    /// <summary>
    /// The id line that a reconnecting client sends as <c>Last-Event-ID</c>, and the end of its event.
    /// </summary>
    public static byte[] Id(string id) => [.. "id: "u8, .. Encoding.UTF8.GetBytes(id), .. "\n\n"u8];
}
