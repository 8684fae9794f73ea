using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Parses the data of <c>subscribe</c>, <c>unsubscribe</c> and <c>configure</c>.</summary>
internal static class RoomRequestReader
{
    /// <summary>
    /// Reads <c>"room"</c>, <c>{"room":…,"since":pos}</c>, or an array of these. Null for other data.
    /// </summary>
    /// <param name="data">One JSON value.</param>
    /// <param name="options">The limit of nesting.</param>
    /// <param name="isArray">Whether the data is an array.</param>
    /// <exception cref="RefusedException">A <c>since</c> is not a position.</exception>
    public static List<RoomRequest>? ReadRooms(ReadOnlySpan<byte> data, JsonReaderOptions options, out bool isArray)
    {
        var rooms = new List<RoomRequest>();
        var reader = new Utf8JsonReader(data, options);
        reader.Read();
        isArray = reader.TokenType == JsonTokenType.StartArray;
        return (isArray ? AddAll(ref reader, rooms) : Add(ref reader, rooms)) ? rooms : null;
    }

    /// <summary>
    /// Reads <c>{"calls":true,"traces":false}</c>: the buses to join and to leave, of those that are configurable. Null
    /// for other data.
    /// </summary>
    public static (HashSet<string> Join, HashSet<string> Leave)? ReadBuses(
        ReadOnlySpan<byte> data,
        JsonReaderOptions options,
        IEnumerable<string> configurable
    )
    {
        var reader = new Utf8JsonReader(data, options);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return null;
        }

        var (join, leave) = (new HashSet<string>(), new HashSet<string>());
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var bus = JsonText.Read(ref reader);
            reader.Read();
            if (
                bus is not null
                && reader.TokenType is JsonTokenType.True or JsonTokenType.False
                && configurable.Contains(bus)
            )
            {
                var isJoin = reader.TokenType == JsonTokenType.True;
                (isJoin ? join : leave).Add(bus);
                (isJoin ? leave : join).Remove(bus);
            }

            reader.Skip();
        }

        return (join, leave);
    }

    private static bool AddAll(ref Utf8JsonReader reader, List<RoomRequest> rooms)
    {
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (!Add(ref reader, rooms))
            {
                return false;
            }
        }

        return rooms.Count > 0;
    }

    private static bool Add(ref Utf8JsonReader reader, List<RoomRequest> rooms)
    {
        string? room = null;
        StreamPosition? since = null;
        if (reader.TokenType == JsonTokenType.String)
        {
            // A string without text (a lone surrogate) becomes an invalid name, which the caller refuses.
            room = JsonText.Read(ref reader) ?? "";
        }
        else if (reader.TokenType == JsonTokenType.StartObject)
        {
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var (isRoom, isSince) = (JsonText.Is(ref reader, "room"u8), JsonText.Is(ref reader, "since"u8));
                reader.Read();
                var text = reader.TokenType == JsonTokenType.String ? JsonText.Read(ref reader) ?? "" : null;
                room = isRoom ? text : room;
                since =
                    !isSince ? since
                    : reader.TokenType == JsonTokenType.Null ? null
                    : Position(text);
                reader.Skip();
            }
        }

        if (room is not null)
        {
            rooms.Add(new RoomRequest(room, since));
        }

        return room is not null;
    }

    private static StreamPosition Position(string? text) =>
        StreamPosition.TryParse(text, out var position)
            ? position
            : throw new RefusedException(ErrorCode.BadFrame, StreamPosition.Form);
}
