using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Dmb.Sockets;

/// <summary>
/// The bodies of polling responses (Engine.IO Protocol, "Encoding"): protocol 4 separates packets by 0x1E, protocol 3
/// writes the length of each before it.
/// </summary>
internal static class EngineIoPayload
{
    /// <summary>Packets of one response; some clients drop a response that has more.</summary>
    public const int PacketsMax = 16;

    /// <summary>Bytes of one response; a larger packet goes alone.</summary>
    public const int BytesMax = 65_536;

    /// <summary>What separates packets in protocol 4.</summary>
    public const byte Separator = 0x1E;

    /// <summary>
    /// Makes a response of finished WebSocket frames: what is queued for a socket can be polled as it is.
    /// </summary>
    /// <param name="version">The protocol.</param>
    /// <param name="frames">Whole frames as a server sends them (RFC 6455 §5.2). Control frames are left out.</param>
    /// <param name="taken">How many bytes of them are in the response.</param>
    /// <returns>The body; empty if there was no text frame.</returns>
    public static byte[] Encode(EngineIoVersion version, ReadOnlySpan<byte> frames, out int taken)
    {
        var payload = new List<byte>(Math.Min(frames.Length, BytesMax) + PacketsMax);
        taken = 0;
        for (var packets = 0; taken < frames.Length && packets < PacketsMax; )
        {
            var packet = Packet(frames[taken..], out var length, out var isText);
            if (packets > 0 && payload.Count + packet.Length > BytesMax)
            {
                break;
            }

            taken += length;
            if (isText)
            {
                Append(payload, version, packet, isFirst: packets == 0);
                packets++;
            }
        }

        return [.. payload];
    }

    /// <summary>A response of one packet.</summary>
    /// <param name="version">The protocol.</param>
    /// <param name="packet">Its text.</param>
    public static byte[] Encode(EngineIoVersion version, ReadOnlySpan<byte> packet)
    {
        var payload = new List<byte>();
        Append(payload, version, packet, isFirst: true);
        return [.. payload];
    }

    private static void Append(List<byte> payload, EngineIoVersion version, ReadOnlySpan<byte> packet, bool isFirst)
    {
        if (version == EngineIoVersion.V4)
        {
            if (!isFirst)
            {
                payload.Add(Separator);
            }
        }
        else
        {
            // In ASCII the length in UTF-16 units is that in bytes, and clients 1.x, which decode twice, read it too.
            packet = Ascii.IsValid(packet) ? packet : Escape(packet);
            payload.AddRange(Encoding.ASCII.GetBytes(packet.Length.ToString(CultureInfo.InvariantCulture)));
            payload.Add((byte)':');
        }

        payload.AddRange(packet);
    }

    /// <summary>JSON with all characters beyond ASCII as <c>\uXXXX</c>: they occur only in its strings.</summary>
    private static byte[] Escape(ReadOnlySpan<byte> packet)
    {
        var escaped = new StringBuilder(packet.Length * 2);
        foreach (var unit in Encoding.UTF8.GetString(packet))
        {
            _ = unit < 0x80 ? escaped.Append(unit) : escaped.Append(CultureInfo.InvariantCulture, $"\\u{(int)unit:x4}");
        }

        return Encoding.ASCII.GetBytes(escaped.ToString());
    }

    private static ReadOnlySpan<byte> Packet(ReadOnlySpan<byte> frames, out int length, out bool isText)
    {
        var (start, size) = frames[1] switch
        {
            126 => (4, BinaryPrimitives.ReadUInt16BigEndian(frames[2..])),
            127 => (10, (int)BinaryPrimitives.ReadUInt64BigEndian(frames[2..])),
            var small => (2, (int)small),
        };
        isText = (frames[0] & 0x0F) == 1;
        length = start + size;
        return frames[start..length];
    }
}
