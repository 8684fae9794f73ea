using System.Globalization;
using System.IO.Compression;
using System.Text;

namespace Dmb.Bench.Fuzz;

/// <summary>
/// What random cases are made of. All text is Latin-1, a character a byte, so that it can also be no UTF-8. What comes
/// out depends on nothing but the numbers that it begins with.
/// </summary>
internal sealed class Noise(int seed, int number)
{
    /// <summary>Rooms and backends that cases have in common, so that they meet.</summary>
    private static readonly string[] GoodRooms =
    [
        "support",
        "calls",
        "internal",
        "public",
        "everyone",
        "traces",
        "endpoint:1234",
        "number:15005551234",
        "a:1",
        "b:2",
    ];

    private static readonly string[] GoodEvents =
    [
        "call",
        "report_csr",
        "trace",
        "statistics:add",
        "location",
        "pong",
        "mine",
        "yours",
        "a.b-c:d",
        "unheard",
    ];

    private static readonly string[] Bkids =
    [
        "0123456789abcdef0123456789abcdef",
        "fedcba9876543210fedcba9876543210",
        "ABCDEFGHIJKLMNOPQRSTUV",
    ];

    private static readonly string[] Positions =
    [
        "k3f9:431",
        "0:0",
        "a:18446744073709551615",
        "a:9223372036854775807",
        "a:9223372036854775808",
        ":",
        "a:",
        ":1",
        "a:-1",
        "a:01",
        "a:1:2",
        "",
        "%00:1",
        "support=k3f9:431",
        "a:1=b:2",
    ];

    private static readonly string[] Numbers =
    [
        "0",
        "-0",
        "1",
        "-1",
        "42",
        "1.5",
        "1e5",
        "1E+400",
        "-1e999999999",
        "0.1e-400",
        "9007199254740993",
        "18446744073709551616",
        "123456789012345678901234567890",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "NaN",
        "Infinity",
        "0x10",
    ];

    private static readonly string[] Pieces =
    [
        "",
        "a",
        "1234",
        "user-42",
        " ",
        "\\u0000",
        "\\u0031",
        "\\ud800",
        "\\udc00\\ud800",
        "\\ud83d\\ude00",
        "\\\"",
        "\\\\",
        "\\/",
        "\\n",
        "\\x",
        "\\u12",
        "\\",
        "\u00c3\u00a4",
        "\u00e2\u0082\u00ac",
        "\u00f0\u009f\u0098\u0080",
        "\u00ff",
        "\u00c3",
        "\u00ed\u00a0\u0080",
        "\u00c0\u0080",
        "\u00f4\u0090\u0080\u0080",
        "\u007f",
        "\u0001",
        "\t",
        "\n",
        "\0",
        "<script>",
        "'",
        "{{",
        "%s",
        "\u00e2\u0080\u00a8",
    ];

    /// <summary>
    /// What a byte becomes that breaks something: ends of ranges, and what has a meaning to somebody.
    /// </summary>
    private static readonly string[] Tokens =
    [
        "\0",
        "\u00ff",
        "\u007f",
        "\u0080",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        ":",
        ";",
        ",",
        "\"",
        "\\",
        "{",
        "}",
        "[",
        "]",
        "%00",
        "%2F",
        "%ff",
        "%",
        "//",
        "/../",
        "?",
        "#",
        "&",
        "=",
        "\r\n\r\n",
        "\\ud800",
        "null",
        "true",
        "1e999",
        "GET / HTTP/1.1\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\n",
        "0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u00ef\u00bb\u00bf",
        "\u0016\u0003\u0001\u0002\0",
    ];

    private static readonly Dictionary<string, string> Bombs = new()
    {
        ["gzip"] = Compressed(Blank(), stream => new GZipStream(stream, CompressionLevel.Fastest)),
        ["br"] = Compressed(Blank(), stream => new BrotliStream(stream, CompressionLevel.Fastest)),
        ["deflate"] = Compressed(Blank(), stream => new ZLibStream(stream, CompressionLevel.Fastest)),
        ["raw"] = Compressed(Blank(), stream => new DeflateStream(stream, CompressionLevel.Fastest)),
    };

    /// <summary>
    /// How much of a case may still be large: with more, making cases takes longer than sending them.
    /// </summary>
    private int _large = 2;

    private readonly Random _random = new(Mix(seed, number));

    public int Next(int below) => _random.Next(below);

    public bool Chance(int percent) => _random.Next(100) < percent;

    public string Pick(params ReadOnlySpan<string> choices) => choices[_random.Next(choices.Length)];

    public string Event() =>
        Chance(92) ? Pick(GoodEvents)
        : Chance(50) ? $"e{Next(30_000)}"
        : Odd(Pick(GoodEvents));

    public string Room() =>
        Chance(91) ? Pick(GoodRooms)
        : Chance(50) ? $"r:{Next(1000)}"
        : Odd(Pick(GoodRooms));

    public string Bkid() => Chance(94) ? Pick(Bkids) : Odd(Pick(Bkids));

    public string Position() => Pick(Positions);

    public string Id() => Chance(70) ? $"id-{Next(100)}" : Odd("id");

    /// <summary>Something like it.</summary>
    public string Odd(string text) =>
        Next(6) switch
        {
            0 => "",
            1 => new string('x', Next(300)),
            2 => text + Pick(Pieces),
            3 => Pick(Pieces) + text,
            4 => Bytes(Next(40)),
            _ => Mutated(text),
        };

    public string Bytes(int count)
    {
        var text = new StringBuilder();
        for (var i = 0; i < count; i++)
        {
            text.Append((char)Next(256));
        }

        return text.ToString();
    }

    public string Spaces() => Chance(90) ? "" : Pick(" ", "\t", "\r\n", "  \n", "\u00ef\u00bb\u00bf", "/*x*/");

    /// <summary>A JSON string.</summary>
    public static string Quoted(string text) => $"\"{text}\"";

    public string Number() => Chance(70) ? $"{Next(1000)}" : Pick(Numbers);

    /// <summary>Any JSON value, nearly always well formed.</summary>
    public string Json(int depth = 4)
    {
        switch (Next(depth > 0 ? 12 : 7))
        {
            case 0:
                return Pick("null", "true", "false");
            case 1:
                return Chance(98) || --_large < 0
                    ? Number()
                    : $"[{string.Join(',', Enumerable.Range(0, Next(30_000)))}]";
            case 2:
                return Pick("{}", "[]", "\"\"");
            case < 5:
                return Quoted(
                    string.Concat(
                        Enumerable
                            .Range(0, Next(4))
                            .Select(_ => Chance(93) ? Pick("abc", "1234", "x y", "support", "a:1") : Pick(Pieces))
                    )
                );
            case 5:
                return Quoted(Room());
            case 6:
                return Chance(80) || --_large < 0 ? "7"
                    : Chance(60) ? Quoted(new string('x', Next(300_000)))
                    : Deep();
            case < 10:
                return Object(
                    Enumerable
                        .Range(0, Next(5))
                        .Select(i =>
                            (
                                Pick("a", "b", "event", "data", "ack", "_in", "endpoint", "room", "since", $"m{i}"),
                                Json(depth - 1)
                            )
                        )
                );
            default:
                return $"[{string.Join(',', Enumerable.Range(0, Next(5)).Select(_ => Json(depth - 1)))}]";
        }
    }

    /// <summary>Members in any order, some left out, said twice, of another shape, or foreign.</summary>
    public string Members(params ReadOnlySpan<(string Name, string Value)> members)
    {
        var chosen = new List<(string, string)>();
        foreach (var (name, value) in members)
        {
            for (var times = Chance(92) ? 1 : Next(3); times > 0; times--)
            {
                chosen.Insert(
                    Chance(85) ? chosen.Count : Next(chosen.Count + 1),
                    (Chance(97) ? name : Odd(name), Chance(90) ? value : Json(2))
                );
            }
        }

        if (Chance(8))
        {
            chosen.Insert(Next(chosen.Count + 1), (Pick("extra", "event", "data", ""), Json(3)));
        }

        return Object(chosen);
    }

    /// <summary>Nested around the limit of 64, or far past it.</summary>
    public string Deep()
    {
        var levels = Chance(60) ? 60 + Next(10) : Next(20_000);
        var (open, close) = Chance(50) ? ("[", "]") : ("{\"a\":", "}");
        return string.Concat(Enumerable.Repeat(open, levels))
            + "1"
            + string.Concat(Enumerable.Repeat(close, Chance(90) ? levels : Next(levels + 1)));
    }

    /// <summary>One to four mistakes.</summary>
    public string Mutated(string text)
    {
        for (var mistakes = 1 + Next(4); mistakes > 0; mistakes--)
        {
            var at = Next(text.Length + 1);
            var length = Math.Min(Next(Chance(80) ? 8 : text.Length + 1), text.Length - at);
            text = Next(8) switch
            {
                0 when at < text.Length => $"{text[..at]}{(char)(text[at] ^ (1 << Next(8)))}{text[(at + 1)..]}",
                1 when at < text.Length => $"{text[..at]}{(char)Next(256)}{text[(at + 1)..]}",
                2 => text.Remove(at, length),
                3 => text.Insert(at, text.Substring(at, length)),
                4 => text.Insert(at, Bytes(1 + Next(8))),
                5 when Chance(30) => text[..at],
                6 when Chance(20) => text.Insert(
                    at,
                    new string(text.Length > 0 ? text[Math.Min(at, text.Length - 1)] : 'x', Next(5000))
                ),
                _ => text.Insert(at, Pick(Tokens)),
            };
        }

        return text;
    }

    /// <summary>Now and then with mistakes.</summary>
    public string MaybeMutated(string text, int percent) => Chance(percent) ? Mutated(text) : text;

    /// <summary>Percent-encoded where it must be, and here and there where it need not, or wrongly.</summary>
    public string Escaped(string text)
    {
        var escaped = new StringBuilder();
        foreach (var c in text)
        {
            if (c is <= ' ' or >= '\u007f' or '%' or '?' or '#' or '/' ? Chance(95) : Chance(5))
            {
                escaped.Append(CultureInfo.InvariantCulture, $"%{(int)c:X2}");
            }
            else
            {
                escaped.Append(c);
            }
        }

        return escaped.ToString();
    }

    /// <summary>Little that becomes more than any limit.</summary>
    public static string Bomb(string format) => Bombs[format];

    public static byte[] ToBytes(string text) => Encoding.Latin1.GetBytes(text);

    /// <summary>Compressed; not by what the broker uses to compress, but by the same library.</summary>
    public static string Compressed(string text, Func<Stream, Stream> format)
    {
        using var compressed = new MemoryStream();
        using (var stream = format(compressed))
        {
            stream.Write(ToBytes(text));
        }

        return Encoding.Latin1.GetString(compressed.ToArray());
    }

    public string Compressed(string text, string format) =>
        format switch
        {
            "gzip" => Compressed(text, stream => new GZipStream(stream, CompressionLevel.Fastest)),
            "br" => Compressed(text, stream => new BrotliStream(stream, CompressionLevel.Fastest)),
            _ => Chance(80)
                ? Compressed(text, stream => new ZLibStream(stream, CompressionLevel.Fastest))
                : Compressed(text, stream => new DeflateStream(stream, CompressionLevel.Fastest)),
        };

    private string Object(IEnumerable<(string Name, string Value)> members) =>
        $"{{{Spaces()}{string.Join(',', members.Select(member => $"{Quoted(member.Name)}:{Spaces()}{member.Value}"))}}}";

    private static string Blank() => new(' ', 10_000_000);

    /// <summary>Neighbours have nothing in common (splitmix64).</summary>
    private static int Mix(int seed, int number)
    {
        unchecked
        {
            var x = ((ulong)(uint)seed << 32 | (uint)number) + 0x9E3779B97F4A7C15;
            x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
            x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
            return (int)(x ^ (x >> 31));
        }
    }
}
