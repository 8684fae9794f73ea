using System.Text;
using System.Text.Json;

namespace Dmb.Routing;

/// <summary>Reads members of a JSON object by name; the last duplicate counts.</summary>
internal readonly struct JsonMembers
{
    private readonly ReadOnlyMemory<byte> _json;
    private readonly JsonReaderOptions _options;
    private readonly string _code;

    private JsonMembers(ReadOnlyMemory<byte> json, JsonReaderOptions options, string code)
    {
        (_json, _options, _code) = (json, options, code);
    }

    /// <summary>Parses one JSON value, which has to be an object.</summary>
    /// <param name="json">The text; borrowed while members are read.</param>
    /// <param name="maxDepth">Maximum levels of nesting.</param>
    /// <param name="code">The <see cref="ErrorCode"/> of a refusal.</param>
    /// <exception cref="RefusedException">It is not JSON, is nested too deep, or is not an object.</exception>
    public static JsonMembers Read(ReadOnlyMemory<byte> json, int maxDepth, string code)
    {
        var options = new JsonReaderOptions { MaxDepth = maxDepth };
        try
        {
            var reader = new Utf8JsonReader(json.Span, options);
            reader.Read();
            var isObject = reader.TokenType == JsonTokenType.StartObject;
            reader.Skip();
            reader.Read();
            return isObject
                ? new JsonMembers(json, options, code)
                : throw new RefusedException(code, "It is no object.");
        }
        catch (JsonException e)
        {
            throw new RefusedException(code, $"It is not JSON: {e.Message}");
        }
    }

    /// <summary>A member's text: a string, or a number as written. Null if it is missing or null.</summary>
    /// <exception cref="RefusedException">It has another type, or contains an escaped lone surrogate.</exception>
    public string? Text(string name) =>
        TextOrNull(name)
        ?? (
            Raw(name).Span is [] or [(byte)'n', ..]
                ? null
                : throw new RefusedException(_code, $"The member {name} is a string or a number.")
        );

    /// <summary>A member's text; null if it has none.</summary>
    public string? TextOrNull(string name)
    {
        var raw = Raw(name);
        if (raw.IsEmpty)
        {
            return null;
        }

        var reader = new Utf8JsonReader(raw.Span, _options);
        reader.Read();
        return reader.TokenType switch
        {
            JsonTokenType.String => JsonText.Read(ref reader),
            JsonTokenType.Number => Encoding.ASCII.GetString(reader.ValueSpan),
            _ => null,
        };
    }

    /// <summary>A copy of a member's JSON as received; empty if it is missing.</summary>
    public ReadOnlyMemory<byte> Raw(string name)
    {
        var reader = new Utf8JsonReader(_json.Span, _options);
        var utf8Name = Encoding.UTF8.GetBytes(name);
        var (start, end) = (0, 0);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isIt = JsonText.Is(ref reader, utf8Name);
            reader.Read();
            var valueStart = (int)reader.TokenStartIndex;
            reader.Skip();
            (start, end) = isIt ? (valueStart, (int)reader.BytesConsumed) : (start, end);
        }

        return _json.Span[start..end].ToArray();
    }
}
