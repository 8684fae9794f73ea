using System.Buffers;
using System.Text.Json;

namespace Dmb.Client;

/// <summary>JSON as the broker allows it: data may be nested 64 deep, and is deeper in its frame.</summary>
internal static class Json
{
    public const int DepthMax = 128;

    private static readonly JsonDocumentOptions Deep = new() { MaxDepth = DepthMax };

    public static readonly JsonElement Null = Element("null"u8.ToArray());

    public static JsonElement Element(ReadOnlyMemory<byte> utf8)
    {
        using var document = JsonDocument.Parse(utf8, Deep);
        return document.RootElement.Clone();
    }

    /// <summary>What is written, as UTF-8.</summary>
    public static ReadOnlyMemory<byte> Utf8(Action<Utf8JsonWriter> write)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { MaxDepth = DepthMax });
        write(writer);
        writer.Flush();
        return buffer.WrittenMemory;
    }

    /// <summary>Refuses what is not one value.</summary>
    /// <exception cref="JsonException">It is none.</exception>
    public static void Check(ReadOnlySpan<byte> utf8)
    {
        var reader = new Utf8JsonReader(utf8, new JsonReaderOptions { MaxDepth = DepthMax });
        reader.Read();
        reader.Skip();
        reader.Read();
    }

    /// <summary>Writes what a backend service registers with.</summary>
    public static void WriteBackend(Utf8JsonWriter writer, string name, string? bkid)
    {
        writer.WriteStartObject();
        writer.WriteString("name"u8, name);
        writer.WriteString("bkid"u8, bkid);
        writer.WriteEndObject();
    }

    /// <summary>A member's text, or null.</summary>
    public static string? Text(this JsonElement element, string member) =>
        element.Member(member) is { ValueKind: JsonValueKind.String } text ? text.GetString() : null;

    /// <summary>A member's whole number, or null.</summary>
    public static long? Number(this JsonElement element, string member) =>
        element.Member(member) is { ValueKind: JsonValueKind.Number } number && number.TryGetInt64(out var value)
            ? value
            : null;

    /// <summary>A member, or null.</summary>
    public static JsonElement? Member(this JsonElement element, string member) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(member, out var value) ? value : null;
}
