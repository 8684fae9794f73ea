using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Dmb.Routing;

/// <summary>Text in and out of JSON without surprises.</summary>
internal static class JsonText
{
    /// <summary>The string that the reader stands on, or null when it has no text (an escaped lone surrogate).</summary>
    public static string? Read(ref Utf8JsonReader reader)
    {
        try
        {
            return reader.GetString();
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>A string as a JSON value, quotes included.</summary>
    public static byte[] Quote(string text)
    {
        var escaped = JsonEncodedText.Encode(text).EncodedUtf8Bytes;
        return [(byte)'"', .. escaped, (byte)'"'];
    }

    /// <summary>The same text with each byte that is not UTF-8 replaced by U+FFFD.</summary>
    public static byte[] Repair(ReadOnlySpan<byte> text) => Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(text));

    /// <summary>Appends bytes.</summary>
    public static ArrayBufferWriter<byte> Append(this ArrayBufferWriter<byte> target, ReadOnlySpan<byte> bytes)
    {
        target.Write(bytes);
        return target;
    }
}
