using System.Text;

namespace Dmb.Redis;

/// <summary>
/// The checksum by which a Redis Cluster spreads keys over its slots, and the broker rooms over its groups:
/// CRC-16/XMODEM (Redis Cluster specification, "Key distribution model").
/// </summary>
internal static class HashSlot
{
    private const int Slots = 16_384;
    private const int Polynomial = 0x1021;
    private const int ShortMax = 256;

    private static readonly ushort[] Table = [.. Enumerable.Range(0, 256).Select(Remainder)];

    /// <summary>The slot of a key: of what is in its first pair of braces, if there is something.</summary>
    public static int Of(string key) =>
        Checksum(
            key.IndexOf('{', StringComparison.Ordinal) is >= 0 and var open
            && key.IndexOf('}', open) is var close
            && close > open + 1
                ? key.AsSpan(open + 1, close - open - 1)
                : key
        ) % Slots;

    /// <summary>The checksum of a text in UTF-8.</summary>
    public static int Checksum(ReadOnlySpan<char> text)
    {
        Span<byte> bytes = text.Length <= ShortMax ? stackalloc byte[ShortMax * 3] : new byte[text.Length * 3];
        var checksum = 0;
        foreach (var one in bytes[..Encoding.UTF8.GetBytes(text, bytes)])
        {
            checksum = ((checksum << 8) ^ Table[(checksum >> 8) ^ one]) & 0xFFFF;
        }

        return checksum;
    }

    private static ushort Remainder(int value)
    {
        var remainder = value << 8;
        for (var bit = 0; bit < 8; bit++)
        {
            remainder = (remainder & 0x8000) == 0 ? remainder << 1 : (remainder << 1) ^ Polynomial;
        }

        return (ushort)remainder;
    }
}
