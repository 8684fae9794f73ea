using System.Buffers.Binary;

namespace Dmb.Routing;

/// <summary>Creates message ids: unique over the cluster, and sortable by time (UUIDv7, RFC 9562 §5.7).</summary>
internal static class MessageId
{
    private const int RandomBytes = 10;

    /// <summary>
    /// Ids per read of the system's random source; a read per id would cost more than the rest of it.
    /// </summary>
    private const int Ids = 256;

    [ThreadStatic]
    private static byte[]? _random;

    [ThreadStatic]
    private static int _left;

    /// <summary>Creates an id of 36 characters.</summary>
    public static string New(TimeProvider time)
    {
        var random = _random ??= new byte[RandomBytes * Ids];
        if (_left == 0)
        {
            SystemRandom.Fill(random);
            _left = random.Length;
        }

        _left -= RandomBytes;
        Span<byte> id = stackalloc byte[16];
        BinaryPrimitives.WriteInt64BigEndian(id, time.GetUtcNow().ToUnixTimeMilliseconds() << 16);
        random.AsSpan(_left, RandomBytes).CopyTo(id[^RandomBytes..]);
        id[6] = (byte)(0x70 | (id[6] & 0x0F));
        id[8] = (byte)(0x80 | (id[8] & 0x3F));
        return new Guid(id, bigEndian: true).ToString();
    }
}
