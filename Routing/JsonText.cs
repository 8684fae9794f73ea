using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>Text in and out of JSON without surprises.</summary>
internal static class JsonText
{
    /// <summary>What stands for nothing sent.</summary>
    public static readonly byte[] EmptyObject = "{}"u8.ToArray();

    private static ReadOnlySpan<byte> ByteOrderMark => [0xEF, 0xBB, 0xBF];

    /// <summary>
    /// The string that the reader stands on, or null when it has no text (an escaped lone surrogate).
    /// </summary>
    public static string? Read(ref Utf8JsonReader reader) => HasText(ref reader) ? reader.GetString() : null;

    /// <summary>Whether the name or string that the reader stands on is this one.</summary>
    public static bool Is(ref Utf8JsonReader reader, ReadOnlySpan<byte> utf8Text) =>
        HasText(ref reader) && reader.ValueTextEquals(utf8Text);

    /// <summary>
    /// Whether its escapes make text: the framework throws where they don't, which a client could make it do a thousand
    /// times.
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

    /// <summary>What needs no escape, and is most ids and rooms.</summary>
    private static readonly SearchValues<char> Plain = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:@+"
    );

    /// <summary>Escapes what JSON has to (RFC 8259 §7), and leaves the plus of a phone number alone.</summary>
    public static readonly JavaScriptEncoder Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping;

    /// <summary>A string as a JSON value, quotes included.</summary>
    public static byte[] Quote(string text)
    {
        var quoted = new byte[QuotedLength(text)];
        Quote(text, quoted);
        return quoted;
    }

    /// <summary>How many bytes <see cref="Quote(string)"/> gives.</summary>
    public static int QuotedLength(string text) =>
        2 + (IsPlain(text) ? text.Length : JsonEncodedText.Encode(text, Encoder).EncodedUtf8Bytes.Length);

    /// <summary>Writes what <see cref="Quote(string)"/> gives, and counts its bytes.</summary>
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
    /// JSON as it was sent, without what surrounds it: byte order mark, white space. Nothing at all is <c>{}</c>; bytes
    /// that are not UTF-8 become U+FFFD and are counted.
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

    /// <summary>
    /// Several runs of bytes as one. (A collection expression adds spans to a list, byte after byte.)
    /// </summary>
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

    /// <summary>Copies bytes to the front, and moves that behind them.</summary>
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
