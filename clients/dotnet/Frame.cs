using System.Text.Json;

namespace Dmb.Client;

/// <summary>
/// A frame of the broker (docs/protocol.md §4): a message, an event of its own, or the answer to a request.
/// </summary>
internal readonly struct Frame
{
    private static readonly JsonReaderOptions Deep = new() { MaxDepth = Json.DepthMax };

    public string? Event { get; private init; }
    public ReadOnlyMemory<byte> Data { get; private init; }
    public long? Ack { get; private init; }
    public bool Ok { get; private init; }
    public JsonElement? Error { get; private init; }
    public string? Id { get; private init; }
    public string? Room { get; private init; }
    public string? Position { get; private init; }
    public (string Room, string Position)[] Also { get; private init; }

    /// <summary>Its event and its room alone.</summary>
    public Frame Names => new() { Event = Event, Room = Room };

    /// <summary>Reads one from UTF-8; its data is a copy.</summary>
    /// <param name="utf8">The frame.</param>
    /// <param name="before">The frame before it, whose event and room it often has: their texts are shared.</param>
    /// <exception cref="JsonException">It is no such frame.</exception>
    public static Frame Read(ReadOnlySpan<byte> utf8, in Frame before)
    {
        var reader = new Utf8JsonReader(utf8, Deep);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            throw new JsonException("A frame is an object.");
        }

        string? @event = null,
            id = null,
            room = null,
            position = null;
        ReadOnlyMemory<byte> data = default;
        long? ack = null;
        var ok = false;
        JsonElement? error = null;
        (string, string)[] also = [];
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("event"u8))
            {
                @event = ReadText(ref reader, before.Event);
            }
            else if (reader.ValueTextEquals("data"u8))
            {
                data = ReadRaw(ref reader, utf8);
            }
            else if (reader.ValueTextEquals("id"u8))
            {
                id = ReadText(ref reader);
            }
            else if (reader.ValueTextEquals("room"u8))
            {
                room = ReadText(ref reader, before.Room);
            }
            else if (reader.ValueTextEquals("pos"u8))
            {
                position = ReadText(ref reader);
            }
            else if (reader.ValueTextEquals("ack"u8))
            {
                reader.Read();
                ack = reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var number) ? number : -1;
                reader.Skip();
            }
            else if (reader.ValueTextEquals("ok"u8))
            {
                reader.Read();
                ok = reader.TokenType == JsonTokenType.True;
                reader.Skip();
            }
            else if (reader.ValueTextEquals("error"u8))
            {
                error = Json.Element(ReadRaw(ref reader, utf8));
            }
            else if (reader.ValueTextEquals("also"u8))
            {
                also = ReadAlso(Json.Element(ReadRaw(ref reader, utf8)));
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }

        if (reader.TokenType != JsonTokenType.EndObject || (@event is null && ack is null))
        {
            throw new JsonException("A frame has an event or an ack.");
        }

        return new Frame
        {
            Event = @event,
            Data = data.IsEmpty ? "null"u8.ToArray() : data,
            Ack = ack,
            Ok = ok,
            Error = error,
            Id = id,
            Room = room,
            Position = position,
            Also = also,
        };
    }

    private static string ReadText(ref Utf8JsonReader reader, string? likely = null) =>
        reader.Read() && reader.TokenType == JsonTokenType.String
            ? likely is not null && reader.ValueTextEquals(likely)
                ? likely
                : reader.GetString()!
            : throw new JsonException("A member that is a text has another type.");

    private static byte[] ReadRaw(ref Utf8JsonReader reader, ReadOnlySpan<byte> utf8)
    {
        reader.Read();
        var start = (int)reader.TokenStartIndex;
        reader.Skip();
        return utf8[start..(int)reader.BytesConsumed].ToArray();
    }

    private static (string, string)[] ReadAlso(JsonElement also) =>
        also.ValueKind == JsonValueKind.Object
            ? [.. also.EnumerateObject().Select(one => (one.Name, one.Value.GetString() ?? ""))]
            : throw new JsonException("The member also is no object.");
}
