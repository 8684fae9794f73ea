using System.Buffers.Text;
using System.Net;
using System.Text;

namespace Dmb.Bench.Load;

/// <summary>
/// The requests of subscribers that poll (Engine.IO 4), each on one connection: a GET follows when all that was sent
/// before is answered.
/// </summary>
/// <param name="server">Where they poll.</param>
/// <param name="path">The path that opens a session.</param>
/// <param name="sockets">The connection of each.</param>
internal sealed class Polls(IPEndPoint server, string path, int[] sockets)
{
    private readonly string[] _paths = new string[sockets.Length];
    private readonly byte[][] _gets = new byte[sockets.Length][];
    private readonly int[] _unanswered = new int[sockets.Length];

    public void Open(int subscriber)
    {
        Use(subscriber, path);
        Get(subscriber);
    }

    /// <summary>Polls its session from now on, if this is the open packet.</summary>
    public void TakeOpen(int subscriber, ReadOnlySpan<byte> packet)
    {
        var sid = "\"sid\":\""u8;
        if (packet.StartsWith("0"u8))
        {
            var start = packet.IndexOf(sid) + sid.Length;
            var length = packet[start..].IndexOf((byte)'"');
            Use(subscriber, $"{path}&sid={Encoding.ASCII.GetString(packet.Slice(start, length))}");
        }
    }

    /// <summary>One of its requests is answered.</summary>
    public void GoOn(int subscriber)
    {
        if (--_unanswered[subscriber] == 0)
        {
            Get(subscriber);
        }
    }

    public void Post(int subscriber, ReadOnlySpan<byte> packet)
    {
        _unanswered[subscriber]++;
        var head =
            $"POST {_paths[subscriber]} HTTP/1.1\r\nHost: {server}\r\nContent-Type: text/plain\r\n"
            + $"Content-Length: {packet.Length}\r\n\r\n";
        Linux.Send(sockets[subscriber], [.. Encoding.ASCII.GetBytes(head), .. packet]);
    }

    /// <summary>True when all of a response is there; its body is the payload.</summary>
    public static bool TryReadResponse(ReadOnlySpan<byte> bytes, out int header, out int length)
    {
        header = bytes.IndexOf("\r\n\r\n"u8) + 4;
        length = 0;
        if (header < 4)
        {
            return false;
        }

        // The next number behind a colon of that name; servers write it as the standard does.
        var field = bytes[..header].IndexOf("\r\nContent-Length: "u8);
        if (
            !bytes.StartsWith("HTTP/1.1 200 "u8)
            || field < 0
            || !Utf8Parser.TryParse(bytes[(field + "\r\nContent-Length: ".Length)..], out length, out _)
        )
        {
            throw new IOException($"A poll was answered: {Encoding.ASCII.GetString(bytes[..header])}");
        }

        return bytes.Length >= header + length;
    }

    private void Get(int subscriber)
    {
        _unanswered[subscriber]++;
        Linux.Send(sockets[subscriber], _gets[subscriber]);
    }

    private void Use(int subscriber, string pollPath)
    {
        _paths[subscriber] = pollPath;
        _gets[subscriber] = Encoding.ASCII.GetBytes($"GET {pollPath} HTTP/1.1\r\nHost: {server}\r\n\r\n");
    }
}
