using System.Buffers;
using System.Text;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Finished pieces of <c>text/event-stream</c> (HTML Living Standard §9.2).</summary>
internal static class EventStreamFrames
{
    private static readonly SearchValues<byte> LineBreaks = SearchValues.Create("\r\n"u8);

    /// <summary>The first thing on a stream: tells the client that its rooms are joined.</summary>
    public static readonly byte[] Connected = ": connected\n\n"u8.ToArray();

    /// <summary>A comment line that keeps what is in between from timing out.</summary>
    public static readonly byte[] Comment = ":\n\n"u8.ToArray();

    /// <summary>One message, its data on one line.</summary>
    public static byte[] Message(Envelope envelope) => Encode(envelope.Event, envelope.Data.Span, envelope.Id);

    /// <summary>An event of the broker's own, without an id.</summary>
    public static byte[] Encode(string @event, ReadOnlySpan<byte> data, string? id)
    {
        var frame = new ArrayBufferWriter<byte>(data.Length + @event.Length + 64);
        frame.Append("event: "u8).Append(Encoding.ASCII.GetBytes(@event)).Append("\ndata: "u8);
        var start = frame.WrittenCount;
        frame.Append(data);
        if (id is not null)
        {
            frame.Append("\nid: "u8).Append(Encoding.UTF8.GetBytes(id));
        }

        var finished = frame.Append("\n\n"u8).WrittenSpan.ToArray();

        // In JSON a line can only break between tokens, where a space says the same.
        finished.AsSpan(start, data.Length).ReplaceAny(LineBreaks, (byte)' ');
        return finished;
    }
}
