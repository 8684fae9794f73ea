using System.Buffers;
using System.Text;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Finished pieces of <c>text/event-stream</c> (HTML Living Standard §9.2).</summary>
internal static class EventStreamFrames
{
    /// <summary>The first thing on a stream: tells the client that its rooms are joined.</summary>
    public static readonly byte[] Connected = ": connected\n\n"u8.ToArray();

    /// <summary>A comment line that keeps what is in between from timing out.</summary>
    public static readonly byte[] Comment = ":\n\n"u8.ToArray();

    /// <summary>One message; white space between the tokens of its data that breaks lines makes more <c>data:</c> lines.</summary>
    public static byte[] Message(Envelope envelope) => Encode(envelope.Event, envelope.Data.Span, envelope.Id);

    /// <summary>An event of the broker's own, without an id.</summary>
    public static byte[] Encode(string @event, ReadOnlySpan<byte> data, string? id)
    {
        var frame = new ArrayBufferWriter<byte>(data.Length + @event.Length + 64);
        frame.Append("event: "u8).Append(Encoding.ASCII.GetBytes(@event)).Append("\ndata: "u8);
        for (var end = data.IndexOfAny((byte)'\n', (byte)'\r'); end >= 0; end = data.IndexOfAny((byte)'\n', (byte)'\r'))
        {
            frame.Append(data[..end]).Append("\ndata: "u8);
            var isPair = data[end] == '\r' && end + 1 < data.Length && data[end + 1] == '\n';
            data = data[(end + (isPair ? 2 : 1))..];
        }

        frame.Append(data);
        if (id is not null)
        {
            frame.Append("\nid: "u8).Append(Encoding.UTF8.GetBytes(id));
        }

        return frame.Append("\n\n"u8).WrittenSpan.ToArray();
    }
}
