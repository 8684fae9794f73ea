using System.Buffers.Binary;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Dmb.Bench.Fuzz;

/// <summary>What must never come from a broker, whatever it was sent.</summary>
internal static class Answers
{
    private const int Text = 1;
    private const int Close = 8;
    private const int OurFault = 1011;

    /// <summary>
    /// Null, or what is wrong with these bytes, the first of a connection; and the status or the close code that they
    /// tell.
    /// </summary>
    public static string? Fault(ReadOnlySpan<byte> bytes, FuzzCase sent, out string word)
    {
        word = bytes.Length < 12 ? "nothing" : Encoding.Latin1.GetString(bytes[9..12]);
        if (bytes.Length == 0)
        {
            return null;
        }

        // The server answers the preface of HTTP/2 with a frame of it, GOAWAY.
        if (bytes.Length >= 9 && !bytes.StartsWith((ReadOnlySpan<byte>)[0, 0]) && !bytes.StartsWith("HTTP/1.1 "u8))
        {
            return $"an answer that is none: {Shown(bytes)}";
        }

        if (bytes.IndexOf("HTTP/1.1 500 "u8) is >= 0 and var at)
        {
            return $"answered 500: {Shown(bytes[at..])}";
        }

        var head = bytes.IndexOf("\r\n\r\n"u8);
        return sent.IsSocket && head >= 0 && word == "101"
            ? FrameFault(bytes[(head + 4)..], sent.Kind == "socketio", ref word)
            : null;
    }

    private static string? FrameFault(ReadOnlySpan<byte> bytes, bool isSocketIo, ref string word)
    {
        while (bytes.Length >= 2)
        {
            var (opcode, isDeflated) = (bytes[0] & 15, (bytes[0] & 0x40) != 0);
            var header = bytes[1] switch
            {
                126 => 4,
                127 => 10,
                _ => 2,
            };
            if (bytes.Length < header)
            {
                return null;
            }

            var length = header switch
            {
                4 => BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]),
                10 => (int)BinaryPrimitives.ReadUInt64BigEndian(bytes[2..]),
                _ => bytes[1],
            };
            if (bytes.Length < header + length)
            {
                return null;
            }

            var payload = bytes.Slice(header, length);
            if (opcode is not (Text or Close or 9 or 10) || bytes[0] < 128 || (bytes[0] & 0x30) != 0)
            {
                return $"a frame that no broker sends: {Convert.ToHexString(bytes[..Math.Min(bytes.Length, 40)])}";
            }

            if (opcode == Close && length >= 2)
            {
                var code = BinaryPrimitives.ReadUInt16BigEndian(payload);
                word = $"{code}";
                if (code == OurFault)
                {
                    return "closed with 1011";
                }
            }

            if (opcode == Text && !isDeflated && TextFault(payload, isSocketIo) is { } fault)
            {
                return fault;
            }

            bytes = bytes[(header + length)..];
        }

        return null;
    }

    private static string? TextFault(ReadOnlySpan<byte> text, bool isSocketIo)
    {
        if (!Utf8.IsValid(text))
        {
            return $"a frame that is no UTF-8: {Shown(text)}";
        }

        if (isSocketIo)
        {
            if (text.IsEmpty || text[0] is not ((byte)'0' or (byte)'2' or (byte)'3' or (byte)'4'))
            {
                return $"a packet that no server sends: {Shown(text)}";
            }

            if (text[0] is (byte)'2' or (byte)'3' || JsonOf(text) is not { IsEmpty: false } json)
            {
                return null;
            }

            text = json;
        }

        try
        {
            var reader = new Utf8JsonReader(text, new JsonReaderOptions { MaxDepth = 1000 });
            while (reader.Read())
            {
                // To the end.
            }

            return null;
        }
        catch (JsonException e)
        {
            return $"a frame that is no JSON, {e.Message}: {Shown(text)}";
        }
    }

    /// <summary>What follows a packet's types, namespace and id.</summary>
    private static ReadOnlySpan<byte> JsonOf(ReadOnlySpan<byte> packet)
    {
        var rest = packet[Math.Min(packet.Length, packet[0] == '4' ? 2 : 1)..];
        rest = rest.StartsWith("/"u8) ? rest[(rest.IndexOf((byte)',') + 1)..] : rest;
        return rest.TrimStart("0123456789"u8);
    }

    private static string Shown(ReadOnlySpan<byte> bytes) =>
        Encoding.Latin1.GetString(bytes[..Math.Min(bytes.Length, 300)]).ReplaceLineEndings(" ");
}
