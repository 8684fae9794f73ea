using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
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

    /// <summary>Whether the name or string that the reader stands on is this one; what has no text is none.</summary>
    public static bool Is(ref Utf8JsonReader reader, ReadOnlySpan<byte> utf8Text)
    {
        try
        {
            return reader.ValueTextEquals(utf8Text);
        }
        catch (InvalidOperationException)
        {
            return false;
        }
    }

    /// <summary>Escapes what JSON has to (RFC 8259 §7), and leaves the plus of a phone number alone.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>A string as a JSON value, quotes included.</summary>
    public static byte[] Quote(string text)
    {
        var escaped = JsonEncodedText.Encode(text, Encoder).EncodedUtf8Bytes;
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
