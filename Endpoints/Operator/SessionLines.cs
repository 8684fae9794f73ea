using System.Buffers;
using System.Text;
using System.Text.Json;
using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>
/// The form of a node's answer to the question for lines: the node's id and a line break, then for each session its
/// cursor, a space, the session as JSON, and a line break. The asking node passes the JSON on as it is.
/// </summary>
internal static class SessionLines
{
    /// <summary>About the most bytes of a line, so that the buffer does not grow.</summary>
    private const int BytesOfLine = 512;

    /// <summary>Writes an answer.</summary>
    public static byte[] Write(string node, Session[] sessions, Func<Session, SessionEntry> show)
    {
        var written = new ArrayBufferWriter<byte>(BytesOfLine * (sessions.Length + 1));
        written.Write(Encoding.UTF8.GetBytes(node));
        written.Write("\n"u8);
        using var json = new Utf8JsonWriter(written);
        foreach (var session in sessions)
        {
            var entry = show(session);
            written.Write(Encoding.ASCII.GetBytes(SessionKey.Of(entry).ToString()));
            written.Write(" "u8);
            JsonSerializer.Serialize(json, entry, ApiJson.Wire.SessionEntry);
            json.Flush();
            json.Reset();
            written.Write("\n"u8);
        }

        return written.WrittenSpan.ToArray();
    }

    /// <summary>Parses an answer into the node's id and its lines, each with its line break.</summary>
    public static (string Node, Queue<(SessionKey Key, ReadOnlyMemory<byte> Json)> Lines) Read(byte[] answer)
    {
        var end = answer.AsSpan().IndexOf((byte)'\n');
        var node = Encoding.UTF8.GetString(answer, 0, end);
        var lines = new Queue<(SessionKey, ReadOnlyMemory<byte>)>();
        for (var rest = answer.AsMemory(end + 1); !rest.IsEmpty; rest = rest[end..])
        {
            var start = rest.Span.IndexOf((byte)' ') + 1;
            end = rest.Span.IndexOf((byte)'\n') + 1;
            var key = SessionKey.Parse(Encoding.ASCII.GetString(rest.Span[..(start - 1)]))!.Value;
            lines.Enqueue((key, rest[start..end]));
        }

        return (node, lines);
    }
}
