using System.Buffers;
using System.Globalization;
using System.Text;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Writes commands: an array of bulk strings (RESP2: Redis serialization protocol specification).</summary>
internal static class RespWriter
{
    /// <summary>Begins an array.</summary>
    public static void WriteArray(this ArrayBufferWriter<byte> output, int count) => output.WriteHead('*', count);

    /// <summary>Writes a bulk string.</summary>
    public static void WriteBulk(this ArrayBufferWriter<byte> output, string text) => output.WriteBulk(text, "");

    /// <summary>Writes a bulk string of two parts.</summary>
    public static void WriteBulk(this ArrayBufferWriter<byte> output, string start, string end)
    {
        output.WriteHead('$', Encoding.UTF8.GetByteCount(start) + Encoding.UTF8.GetByteCount(end));
        Encoding.UTF8.GetBytes(start, output);
        Encoding.UTF8.GetBytes(end, output);
        output.Write("\r\n"u8);
    }

    /// <summary>Writes a bulk string.</summary>
    public static void WriteBulk(this ArrayBufferWriter<byte> output, RedisValue value)
    {
        var length = value.GetByteCount();
        output.WriteHead('$', length);
        value.CopyTo(output.GetSpan(length));
        output.Advance(length);
        output.Write("\r\n"u8);
    }

    private static void WriteHead(this ArrayBufferWriter<byte> output, char type, int number)
    {
        var line = output.GetSpan(16);
        line[0] = (byte)type;
        number.TryFormat(line[1..], out var digits, default, CultureInfo.InvariantCulture);
        "\r\n"u8.CopyTo(line[(1 + digits)..]);
        output.Advance(digits + 3);
    }
}
