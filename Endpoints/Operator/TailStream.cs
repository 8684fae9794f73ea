using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Dmb.Routing;
using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>A trace held for the fan-outs of its message.</summary>
/// <param name="trace">The trace.</param>
/// <param name="until">The tick at which it is due.</param>
internal sealed class HeldTrace(Trace trace, long until)
{
    private readonly List<string> _nodes = [];
    private byte[]? _plain;
    private byte[]? _detailed;

    public Trace Trace => trace;

    public long Until => until;

    /// <summary>Whether it is indexed by its message's id.</summary>
    public bool IsById { get; set; }

    /// <summary>Nodes with sessions that received the message.</summary>
    public int Nodes => _nodes.Count;

    private int Sessions { get; set; }

    /// <summary>Adds a fan-out.</summary>
    public void Add(string node, int sessions)
    {
        Sessions += sessions;
        if (!_nodes.Contains(node))
        {
            _nodes.Add(node);
        }
    }

    /// <summary>The event <c>trace</c>, encoded once for all tails.</summary>
    /// <param name="isDetailed">Whether to include <c>pos</c> and <c>data</c>.</param>
    public byte[] Frame(bool isDetailed) =>
        isDetailed
            ? _detailed ??= EventStreamFrames.Encode("trace", Write(isDetailed: true))
            : _plain ??= EventStreamFrames.Encode("trace", Write(isDetailed: false));

    private byte[] Write(bool isDetailed)
    {
        var json = new ArrayBufferWriter<byte>(512);
        using var writer = new Utf8JsonWriter(json, new JsonWriterOptions { Encoder = JsonText.Encoder });
        writer.WriteStartObject();
        writer.WriteString("time", trace.Time);
        writer.WriteString("event", trace.Event);
        writer.WriteString("id", trace.Id);
        writer.WriteString("from", trace.From);
        writer.WriteString("caller", trace.Caller);
        Write(writer, "rooms", trace.Rooms);
        Write(writer, "left_out", trace.LeftOut);
        writer.WriteNumber("nodes", Nodes);
        writer.WriteNumber("sessions", Sessions);
        writer.WriteString("why", trace.Why ?? (Sessions == 0 ? TraceReason.NoSubscriber : null));
        if (isDetailed)
        {
            Write(writer, "pos", trace.Positions);
            writer.WritePropertyName("data");
            writer.WriteRawValue(trace.Data ?? [.. "null"u8], skipInputValidation: true);
        }

        writer.WriteEndObject();
        writer.Flush();
        return json.WrittenSpan.ToArray();
    }

    private static void Write(Utf8JsonWriter writer, string name, string?[] texts)
    {
        writer.WriteStartArray(name);
        foreach (var text in texts)
        {
            writer.WriteStringValue(text);
        }

        writer.WriteEndArray();
    }
}

/// <summary>Writes the matching traces of one open tail, at most <see cref="Tail.TracesMax"/> a second.</summary>
internal sealed class TailStream(Session session, TailFilter filter, bool wantsData)
{
    private const int FrameBytesMax = 65_536;

    /// <summary>Maximum bytes queued per flush.</summary>
    private const int QueuedBytesMax = 524_288;

    /// <summary>Queued frames of a client above which its traces are left out.</summary>
    private const int QueuedFramesMax = 4;

    private const int TicksASecond = 10;

    private readonly List<byte[]> _frames = [];
    private int _bytes;
    private int _inSecond;

    public TailFilter Filter => filter;

    public bool WantsData => wantsData;

    /// <summary>Traces left out since the last count on the stream.</summary>
    public int LeftOut { get; set; }

    /// <summary>Adds a trace that matches the filter.</summary>
    /// <param name="held">The trace.</param>
    /// <param name="isUncertain">Whether fan-outs may be missing.</param>
    public void Add(HeldTrace held, bool isUncertain)
    {
        var trace = held.Trace;
        if (!filter.Matches(trace.Event, trace.Rooms, trace.LeftOut))
        {
            return;
        }

        var room =
            session.Queued == 0 ? QueuedBytesMax
            : session.Queued <= QueuedFramesMax ? FrameBytesMax
            : 0;
        if (isUncertain || _inSecond >= Tail.TracesMax || _bytes >= room)
        {
            LeftOut++;
            return;
        }

        _inSecond++;
        var frame = held.Frame(wantsData);
        _frames.Add(frame);
        _bytes += frame.Length;
    }

    /// <summary>Queues the added traces and, once a second, the number left out.</summary>
    public void Flush(long tick)
    {
        if (tick % TicksASecond == 0)
        {
            _inSecond = 0;
            if (LeftOut > 0 && session.Queued <= QueuedFramesMax)
            {
                var count = string.Create(CultureInfo.InvariantCulture, $"{{\"count\":{LeftOut}}}");
                _frames.Add(EventStreamFrames.Encode("left_out", System.Text.Encoding.ASCII.GetBytes(count)));
                LeftOut = 0;
            }
        }

        var batch = new ArrayBufferWriter<byte>();
        foreach (var frame in _frames)
        {
            batch.Write(frame);
            if (batch.WrittenCount >= FrameBytesMax)
            {
                session.Send(batch.WrittenSpan.ToArray());
                batch.Clear();
            }
        }

        session.Send(batch.WrittenSpan.ToArray());
        _frames.Clear();
        _bytes = 0;
    }
}
