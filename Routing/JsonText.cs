using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>Reads and writes text in JSON.</summary>
internal static class JsonText
{
    /// <summary><c>{}</c>, the data of an empty message.</summary>
    public static readonly byte[] EmptyObject = "{}"u8.ToArray();

    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>The reader's current string; null if it contains an escaped lone surrogate.</summary>
    public static string? Read(ref Utf8JsonReader reader) => HasText(ref reader) ? reader.GetString() : null;

    /// <summary>Whether the reader's current name or string equals a text.</summary>
    public static bool Is(ref Utf8JsonReader reader, ReadOnlySpan<byte> utf8Text) =>
        HasText(ref reader) && reader.ValueTextEquals(utf8Text);

    /// <summary>
    /// Whether the escapes are valid text. Checked, since the framework throws otherwise, which a client could provoke
    /// cheaply.
    /// </summary>
    private static bool HasText(ref Utf8JsonReader reader)
    {
        if (!reader.ValueIsEscaped)
        {
            return true;
        }

        var rest = reader.ValueSpan;
        var isHalf = false;
        for (var at = rest.IndexOf((byte)'\\'); at >= 0; at = rest.IndexOf((byte)'\\'))
        {
            var unit =
                rest[at + 1] == 'u' && Utf8Parser.TryParse(rest.Slice(at + 2, 4), out ushort parsed, out _, 'x')
                    ? (char)parsed
                    : ' ';
            if (isHalf != char.IsLowSurrogate(unit) || (isHalf && at > 0))
            {
                return false;
            }

            isHalf = char.IsHighSurrogate(unit);
            rest = rest[(at + (rest[at + 1] == 'u' ? 6 : 2))..];
        }

        return !isHalf;
    }

    /// <summary>Characters that need no escape; most ids and rooms consist of them.</summary>
    private static readonly SearchValues<char> Plain = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:@+"
    );

    /// <summary>Escapes only what RFC 8259 §7 requires; the plus of a phone number stays.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>Encodes a string as a JSON value, quotes included.</summary>
    public static byte[] Quote(string text)
    {
        var quoted = new byte[QuotedLength(text)];
        Quote(text, quoted);
        return quoted;
    }

    /// <summary>Length of <see cref="Quote(string)"/> in bytes.</summary>
    public static int QuotedLength(string text) =>
        2 + (IsPlain(text) ? text.Length : JsonEncodedText.Encode(text, Encoder).EncodedUtf8Bytes.Length);

    /// <summary>Writes a string as a JSON value; returns its length in bytes.</summary>
    public static int Quote(string text, Span<byte> target)
    {
        target[0] = (byte)'"';
        int length;
        if (IsPlain(text))
        {
            length = Encoding.ASCII.GetBytes(text, target[1..]);
        }
        else
        {
            var escaped = JsonEncodedText.Encode(text, Encoder).EncodedUtf8Bytes;
            escaped.CopyTo(target[1..]);
            length = escaped.Length;
        }

        target[length + 1] = (byte)'"';
        return length + 2;
    }

    private static bool IsPlain(string text) => !text.AsSpan().ContainsAnyExcept(Plain);

    /// <summary>
    /// Trims the byte order mark and white space of JSON. Empty text becomes <c>{}</c>; invalid UTF-8 becomes U+FFFD
    /// and is counted.
    /// </summary>
    public static ReadOnlyMemory<byte> Clean(ReadOnlyMemory<byte> text, BrokerTelemetry telemetry)
    {
        if (text.Span.StartsWith(ByteOrderMark))
        {
            text = text[3..];
        }

        text = text[(text.Length - text.Span.TrimStart(" \t\r\n"u8).Length)..];
        text = text[..text.Span.TrimEnd(" \t\r\n"u8).Length];
        if (text.IsEmpty)
        {
            return EmptyObject;
        }

        if (!Utf8.IsValid(text.Span))
        {
            telemetry.Repaired.Add(1);
            return Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(text.Span));
        }

        return text;
    }

    /// <summary>Concatenates spans. (A collection expression would copy them byte by byte.)</summary>
    public static byte[] Concat(
        ReadOnlySpan<byte> first,
        ReadOnlySpan<byte> second,
        ReadOnlySpan<byte> third,
        ReadOnlySpan<byte> fourth,
        ReadOnlySpan<byte> fifth
    )
    {
        var all = new byte[first.Length + second.Length + third.Length + fourth.Length + fifth.Length];
        var rest = all.AsSpan();
        Put(first, ref rest);
        Put(second, ref rest);
        Put(third, ref rest);
        Put(fourth, ref rest);
        Put(fifth, ref rest);
        return all;
    }

    /// <summary>Copies bytes to the start of the target, and advances the target past them.</summary>
    public static void Put(ReadOnlySpan<byte> bytes, ref Span<byte> target)
    {
        bytes.CopyTo(target);
        target = target[bytes.Length..];
    }

    /// <summary>Appends bytes.</summary>
    public static ArrayBufferWriter<byte> Append(this ArrayBufferWriter<byte> target, ReadOnlySpan<byte> bytes)
    {
        target.Write(bytes);
        return target;
    }
}
