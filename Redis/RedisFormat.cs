using System.Text;
using System.Text.Json;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Redis;

/// <summary>
/// Encodes and decodes the messages of a room's channel: <c>{"event":…,"data":…,"id":…,"rooms":[…],"from":node}</c>,
/// the data as received. One whose rooms are in several groups has those in the others in <c>"others":[…]</c>. A
/// message sent again has <c>"again":true</c>; a kept one has its position in each of its rooms, or null, and its
/// number, added by the script: <c>"pos":["k3f9:431",null],"n":7</c>; one of a sampled trace has
/// <c>"traceparent":"00-…"</c> last. Readers require event and data and skip unknown members, so that versions are
/// compatible.
/// </summary>
internal static class RedisFormat
{
    private static readonly JsonReaderOptions Options = new() { MaxDepth = 1_002 };

    private static ReadOnlySpan<byte> EventMember => "{\"event\":"u8;

    private static ReadOnlySpan<byte> DataMember => ",\"data\":"u8;

    private static ReadOnlySpan<byte> IdMember => ",\"id\":"u8;

    private static ReadOnlySpan<byte> RoomsMember => ",\"rooms\":["u8;

    private static ReadOnlySpan<byte> OthersMember => "],\"others\":["u8;

    private static ReadOnlySpan<byte> FromMember => "],\"from\":\""u8;

    private static ReadOnlySpan<byte> TraceMember => "\",\"traceparent\":\""u8;

    private static ReadOnlySpan<byte> Close => "\"}"u8;

    /// <summary>Encodes a message.</summary>
    /// <param name="envelope">The message.</param>
    /// <param name="node">This node's id.</param>
    public static byte[] Write(Envelope envelope, string node)
    {
        var (id, rooms, others) = (envelope.Id, envelope.Rooms, envelope.Elsewhere);
        var endLength = EndLength(id, rooms, node, envelope.Traceparent, others);
        var body = new byte[DataStart(envelope.Event) + envelope.Data.Length + endLength];
        var rest = body.AsSpan();
        JsonText.Put(EventMember, ref rest);
        PutQuoted(envelope.Event, ref rest);
        JsonText.Put(DataMember, ref rest);
        JsonText.Put(envelope.Data.Span, ref rest);
        PutEnd(id, rooms, node, envelope.Traceparent, others, rest);
        return body;
    }

    /// <summary>The bytes after the data, of a message that is not traced.</summary>
    public static byte[] End(string id, string[] rooms, string node)
    {
        var end = new byte[EndLength(id, rooms, node, traceparent: null, others: [])];
        PutEnd(id, rooms, node, traceparent: null, others: [], end);
        return end;
    }

    private static int EndLength(string id, string[] rooms, string node, string? traceparent, string[] others) =>
        IdMember.Length
        + JsonText.QuotedLength(id)
        + RoomsMember.Length
        + QuotedLength(rooms)
        + (others.Length > 0 ? OthersMember.Length + QuotedLength(others) : 0)
        + FromMember.Length
        + node.Length
        + (traceparent is null ? 0 : TraceMember.Length + traceparent.Length)
        + Close.Length;

    private static void PutEnd(
        string id,
        string[] rooms,
        string node,
        string? traceparent,
        string[] others,
        Span<byte> rest
    )
    {
        JsonText.Put(IdMember, ref rest);
        PutQuoted(id, ref rest);
        JsonText.Put(RoomsMember, ref rest);
        PutQuoted(rooms, ref rest);
        if (others.Length > 0)
        {
            JsonText.Put(OthersMember, ref rest);
            PutQuoted(others, ref rest);
        }

        JsonText.Put(FromMember, ref rest);
        rest = rest[Encoding.ASCII.GetBytes(node, rest)..];
        if (traceparent is not null)
        {
            JsonText.Put(TraceMember, ref rest);
            rest = rest[Encoding.ASCII.GetBytes(traceparent, rest)..];
        }

        JsonText.Put(Close, ref rest);
    }

    /// <summary>Length of the names, with commas between.</summary>
    private static int QuotedLength(string[] names)
    {
        var length = Math.Max(names.Length - 1, 0);
        foreach (var name in names)
        {
            length += JsonText.QuotedLength(name);
        }

        return length;
    }

    private static void PutQuoted(string[] names, ref Span<byte> rest)
    {
        for (var i = 0; i < names.Length; i++)
        {
            JsonText.Put(i == 0 ? ""u8 : ","u8, ref rest);
            PutQuoted(names[i], ref rest);
        }
    }

    private static void PutQuoted(string text, ref Span<byte> rest) => rest = rest[JsonText.Quote(text, rest)..];

    /// <summary>The offset of the data in an encoded message, in bytes.</summary>
    public static int DataStart(string @event) =>
        EventMember.Length + JsonText.QuotedLength(@event) + DataMember.Length;

    /// <summary>A copy of the message, marked as sent again.</summary>
    public static byte[] MarkAgain(byte[] body) => [.. body.AsSpan(0, body.Length - 1), .. ",\"again\":true}"u8];

    /// <summary>Decodes a message of a room's channel; null, with the reason, if it is invalid.</summary>
    public static Envelope? Read(byte[] body, string? room, TimeProvider time, out string why)
    {
        try
        {
            return Read(body, room, time, new Utf8JsonReader(body, Options), out why);
        }
        catch (JsonException e)
        {
            why = e.Message;
            return null;
        }
    }

    private static Envelope? Read(byte[] body, string? room, TimeProvider time, Utf8JsonReader reader, out string why)
    {
        why = "it is no object with the members event and data";
        string? name = null;
        string? id = null;
        string? traceparent = null;
        string[]? rooms = null;
        string[] others = [];
        StreamPosition[]? positions = null;
        var number = 0L;
        var isAgain = false;
        ReadOnlyMemory<byte> data = default;
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return null;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var (isEvent, isId) = (JsonText.Is(ref reader, "event"u8), JsonText.Is(ref reader, "id"u8));
            var (isData, isRooms) = (JsonText.Is(ref reader, "data"u8), JsonText.Is(ref reader, "rooms"u8));
            var (isPos, isNumber) = (JsonText.Is(ref reader, "pos"u8), JsonText.Is(ref reader, "n"u8));
            var isOthers = JsonText.Is(ref reader, "others"u8);
            var (isTrace, isMark) = (JsonText.Is(ref reader, "traceparent"u8), JsonText.Is(ref reader, "again"u8));
            reader.Read();
            var start = (int)reader.TokenStartIndex;
            if (isRooms && reader.TokenType == JsonTokenType.StartArray)
            {
                rooms = ReadRooms(ref reader);
                continue;
            }

            if (isOthers && reader.TokenType == JsonTokenType.StartArray)
            {
                others = ReadRooms(ref reader);
                continue;
            }

            if (isPos && reader.TokenType == JsonTokenType.StartArray)
            {
                positions = ReadPositions(ref reader);
                continue;
            }

            if (isNumber && reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var counted))
            {
                number = counted;
            }

            isAgain |= isMark && reader.TokenType == JsonTokenType.True;
            var text =
                (isEvent || isId || isTrace) && reader.TokenType == JsonTokenType.String
                    ? JsonText.Read(ref reader)
                    : null;
            (name, id, traceparent) = (isEvent ? text : name, isId ? text : id, isTrace ? text : traceparent);
            reader.Skip();
            data = isData ? body.AsMemory(start..(int)reader.BytesConsumed) : data;
        }

        reader.Read();
        rooms ??= room is null ? null : [room];
        if (
            name is null
            || data.IsEmpty
            || rooms is null
            || !Names.IsEvent(name)
            || !System.Text.Unicode.Utf8.IsValid(data.Span)
        )
        {
            return null;
        }

        return new Envelope(
            name,
            id is not null && Names.IsId(id) ? id : MessageId.New(time),
            rooms,
            data,
            isKept: true
        )
        {
            Positions = positions?.Length == rooms.Length ? positions : null,
            Number = number,
            IsAgain = isAgain,
            Elsewhere = others,
            Traceparent = Tracing.Carried(traceparent),
        };
    }

    private static StreamPosition[] ReadPositions(ref Utf8JsonReader reader)
    {
        var positions = new List<StreamPosition>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            positions.Add(
                reader.TokenType == JsonTokenType.String
                && StreamPosition.TryParse(JsonText.Read(ref reader), out var position)
                    ? position
                    : default
            );
            reader.Skip();
        }

        return [.. positions];
    }

    private static string[] ReadRooms(ref Utf8JsonReader reader)
    {
        var rooms = new List<string>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (
                reader.TokenType == JsonTokenType.String
                && JsonText.Read(ref reader) is { } room
                && !rooms.Contains(room)
            )
            {
                rooms.Add(room);
            }

            reader.Skip();
        }

        return [.. rooms];
    }
}
