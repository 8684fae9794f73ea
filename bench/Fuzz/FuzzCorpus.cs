using System.Globalization;
using System.Text;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Fuzz;

/// <summary>
/// Cases that once failed, a file each in bench/Fuzz/Corpus, sent before any new one. A file's first line has the kind
/// and how the client goes (<see cref="Leaving"/>), and <c>awaits</c> if it waits for the answer's head; each further
/// line is a piece, with <c>\r</c>, <c>\n</c>, <c>\\</c> and <c>\xNN</c> for bytes that are not printed; <c>9*</c>
/// before a piece repeats it.
/// </summary>
internal static class FuzzCorpus
{
    private static readonly string Folder = Path.Combine(Build.Repository, "bench", "Fuzz", "Corpus");

    /// <summary>All cases, numbered from -1 downwards in the order of their files' names.</summary>
    /// <exception cref="FormatException">A file is not such a case.</exception>
    public static FuzzCase[] Read() =>
        [
            .. Directory
                .GetFiles(Folder, "*.txt")
                .Order(StringComparer.Ordinal)
                .Select((file, i) => Parse(-1 - i, File.ReadAllLines(file), file)),
        ];

    /// <summary>Adds a case; gives its file.</summary>
    public static string Keep(int seed, FuzzCase failed)
    {
        var head = $"{failed.Kind} {failed.Leaving}{(failed.AwaitsHead ? " awaits" : "")}";
        var file = Path.Combine(Folder, $"{failed.Kind}-{seed}-{failed.Number}.txt");
        File.WriteAllLines(file, [head, .. failed.Pieces.Select(piece => Escaped(piece))]);
        return file;
    }

    /// <summary>Bytes as a line of text.</summary>
    public static string Escaped(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder();
        foreach (var b in bytes)
        {
            text.Append(
                b switch
                {
                    (byte)'\\' => @"\\",
                    (byte)'\r' => @"\r",
                    (byte)'\n' => @"\n",
                    >= 32 and < 127 => $"{(char)b}",
                    _ => $"\\x{b:x2}",
                }
            );
        }

        return text.ToString();
    }

    private static FuzzCase Parse(int number, string[] lines, string file)
    {
        var head = lines.Length > 1 ? lines[0].Split(' ') : [];
        return head is [var kind, var leaving, .. var rest] && FuzzCase.Kinds.Contains(kind)
            ? new FuzzCase(
                number,
                kind,
                [.. lines[1..].Select(Piece)],
                rest is ["awaits"],
                Enum.Parse<Leaving>(leaving)
            )
            : throw new FormatException($"{file} is no case: its first line is like 'http EndAfterAnswer'.");
    }

    private static byte[] Piece(string line)
    {
        var star = line.IndexOf('*', StringComparison.Ordinal);
        var times = star > 0 && int.TryParse(line.AsSpan(0, star), NumberStyles.None, null, out var count) ? count : 0;
        var bytes = Unescaped(times > 0 ? line[(star + 1)..] : line);
        return [.. Enumerable.Repeat(bytes, Math.Max(times, 1)).SelectMany(piece => piece)];
    }

    private static byte[] Unescaped(string text)
    {
        var bytes = new List<byte>();
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\')
            {
                bytes.Add((byte)text[i]);
                continue;
            }

            i++;
            bytes.Add(
                text[i] switch
                {
                    'r' => (byte)'\r',
                    'n' => (byte)'\n',
                    'x' => byte.Parse(text.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, null),
                    var other => (byte)other,
                }
            );
            i += text[i] == 'x' ? 2 : 0;
        }

        return [.. bytes];
    }
}
