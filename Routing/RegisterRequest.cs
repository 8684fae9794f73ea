using System.Text.Json;

namespace Dmb.Routing;

/// <summary>The body of a registration: <c>{"event":…,"default_room":…?}</c>.</summary>
internal readonly record struct RegisterRequest(string Event, string? DefaultRoom)
{
    /// <summary>
    /// Parses one JSON value; null if it is not an object with a string <c>event</c>. A default room that is not a
    /// string is ignored.
    /// </summary>
    public static RegisterRequest? Read(ReadOnlySpan<byte> json, JsonReaderOptions options)
    {
        string? name = null;
        string? room = null;
        var reader = new Utf8JsonReader(json, options);
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return null;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isEvent = JsonText.Is(ref reader, "event"u8);
            var isRoom = JsonText.Is(ref reader, "default_room"u8);
            reader.Read();
            var text = reader.TokenType == JsonTokenType.String ? JsonText.Read(ref reader) : null;
            (name, room) = (isEvent ? text : name, isRoom ? text : room);
            reader.Skip();
        }

        return name is null ? null : new RegisterRequest(name, room);
    }
}
