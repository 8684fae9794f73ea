using System.Runtime.InteropServices;
using System.Text.Json;

namespace Dmb.Routing;

/// <summary>An object that somebody sent, and its members; of one that comes twice the last counts, unknown ones are skipped.</summary>
internal readonly struct JsonMembers : IDisposable
{
    private readonly JsonDocument _document;
    private readonly string _code;

    private JsonMembers(JsonDocument document, string code)
    {
        (_document, _code) = (document, code);
    }

    /// <summary>Reads one JSON value that has to be an object.</summary>
    /// <param name="json">The text; borrowed until this is disposed.</param>
    /// <param name="maxDepth">Levels of nesting that are allowed.</param>
    /// <param name="code">The <see cref="ErrorCode"/> of what is refused.</param>
    /// <exception cref="RefusedException">It is not JSON, too deep, or no object.</exception>
    public static JsonMembers Read(ReadOnlyMemory<byte> json, int maxDepth, string code)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = maxDepth });
        }
        catch (JsonException e)
        {
            throw new RefusedException(code, $"It is not JSON: {e.Message}");
        }

        if (document.RootElement.ValueKind != JsonValueKind.Object)
        {
            document.Dispose();
            throw new RefusedException(code, "It is no object.");
        }

        return new JsonMembers(document, code);
    }

    /// <summary>A member's text: a string, or a number as it is written. Null when it is missing or null.</summary>
    /// <exception cref="RefusedException">It is of another type, or no text (an escaped lone surrogate).</exception>
    public string? Text(string name) =>
        TextOrNull(name)
            ?? (Raw(name).Span is [] or [(byte)'n', ..] ? null : throw new RefusedException(_code, $"The member {name} is a string or a number."));

    /// <summary>A member's text, or null when it has none.</summary>
    public string? TextOrNull(string name)
    {
        var raw = Raw(name);
        if (raw.IsEmpty)
        {
            return null;
        }

        var reader = new Utf8JsonReader(raw.Span);
        reader.Read();
        return reader.TokenType switch
        {
            JsonTokenType.String => JsonText.Read(ref reader),
            JsonTokenType.Number => System.Text.Encoding.ASCII.GetString(reader.ValueSpan),
            _ => null,
        };
    }

    /// <summary>A member as it was sent; empty when it is missing. Valid as long as the text is.</summary>
    public ReadOnlyMemory<byte> Raw(string name) =>
        _document.RootElement.TryGetProperty(name, out var value) ? JsonMarshal.GetRawUtf8Value(value).ToArray() : default;

    public void Dispose() => _document.Dispose();
}
