using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Dmb.Routing;
using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>A trace held for the fan-outs of its message.</summary>
/// <param name="trace">The trace.</param>
/// <param name="until">The tick at which it is due.</param>
/// <param name="encoder">Encodes it.</param>
internal sealed class HeldTrace(Trace trace, long until, TraceEncoder encoder)
{
    private string? _node;
    private HashSet<string>? _nodes;
    private byte[]? _plain;
    private byte[]? _detailed;

    public Trace Trace => trace;

    public long Until => until;

    /// <summary>Whether it is indexed by its message's id.</summary>
    public bool IsById { get; set; }

    /// <summary>Nodes with sessions that received the message.</summary>
    public int Nodes => _nodes?.Count ?? (_node is null ? 0 : 1);

    /// <summary>Sessions that received the message.</summary>
    public int Sessions { get; private set; }

    /// <summary>Adds a fan-out.</summary>
    public void Add(string node, int sessions)
    {
        Sessions += sessions;
        _node ??= node;
        if (_node != node)
        {
            (_nodes ??= [_node]).Add(node);
        }
    }

    /// <summary>The event <c>trace</c>, encoded once for all tails.</summary>
    /// <param name="isDetailed">Whether to include <c>pos</c> and <c>data</c>.</param>
    public byte[] Frame(bool isDetailed) =>
        isDetailed
            ? _detailed ??= encoder.Encode(this, isDetailed: true)
            : _plain ??= encoder.Encode(this, isDetailed: false);
}

/// <summary>Encodes traces as events of a stream, in a buffer that it reuses. Not thread-safe.</summary>
internal sealed class TraceEncoder
{
    private static readonly SearchValues<byte> LineBreaks = SearchValues.Create("\r\n"u8);

    private static readonly JsonWriterOptions Options = new() { Encoder = JsonText.Encoder, SkipValidation = true };

    private readonly ArrayBufferWriter<byte> _frame = new(1_024);

    public byte[] Encode(HeldTrace held, bool isDetailed)
    {
        _frame.ResetWrittenCount();
        _frame.Write("event: trace\ndata: "u8);
        using (var json = new Utf8JsonWriter(_frame, Options))
        {
            Write(json, held, isDetailed);
        }

        _frame.Write("\n\n"u8);
        var frame = _frame.WrittenSpan.ToArray();

        // Only data has line breaks, between its tokens.
        var head = "event: trace\n"u8.Length;
        frame.AsSpan(head, frame.Length - head - 2).ReplaceAny(LineBreaks, (byte)' ');
        return frame;
    }

    private static void Write(Utf8JsonWriter json, HeldTrace held, bool isDetailed)
    {
        var trace = held.Trace;
        json.WriteStartObject();
        json.WriteString("time"u8, trace.Time);
        json.WriteString("event"u8, trace.Event);
        json.WriteString("id"u8, trace.Id);
        json.WriteString("from"u8, trace.From);
        json.WriteString("caller"u8, trace.Caller);
        Write(json, "rooms"u8, trace.Rooms);
        Write(json, "left_out"u8, trace.LeftOut);
        json.WriteNumber("nodes"u8, held.Nodes);
        json.WriteNumber("sessions"u8, held.Sessions);
        json.WriteString("why"u8, trace.Why ?? (held.Sessions == 0 ? TraceReason.NoSubscriber : null));
        if (isDetailed)
        {
            Write(json, "pos"u8, trace.Positions);
            json.WritePropertyName("data"u8);
            json.WriteRawValue(trace.Data ?? [.. "null"u8], skipInputValidation: true);
        }

        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, ReadOnlySpan<byte> name, string?[] texts)
    {
        json.WriteStartArray(name);
        foreach (var text in texts)
        {
            json.WriteStringValue(text);
        }

        json.WriteEndArray();
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
    private const int FrameSlack = 8_192;

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

        if (_frames.Count == 0)
        {
            return;
        }

        var batch = new ArrayBufferWriter<byte>(Math.Min(_bytes, FrameBytesMax) + FrameSlack);
        foreach (var frame in _frames)
        {
            batch.Write(frame);
            if (batch.WrittenCount >= FrameBytesMax)
            {
                session.Send(batch.WrittenSpan.ToArray());
                batch.ResetWrittenCount();
            }
        }

        session.Send(batch.WrittenSpan.ToArray());
        _frames.Clear();
        _bytes = 0;
    }
}
