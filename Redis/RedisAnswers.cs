using System.Buffers.Text;
using System.Text;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Reads answers of Redis (RESP2: Redis serialization protocol specification).</summary>
internal static class RedisAnswers
{
    /// <summary>Reads all complete answers; returns the bytes that they take.</summary>
    /// <exception cref="InvalidDataException">It is no answer.</exception>
    public static int Read(ReadOnlySpan<byte> input, List<RedisResult> answers)
    {
        var used = 0;
        while (TryRead(input[used..], out var length) is { } answer)
        {
            answers.Add(answer);
            used += length;
        }

        return used;
    }

    /// <summary>Reads one answer; null if it is incomplete.</summary>
    private static RedisResult? TryRead(ReadOnlySpan<byte> input, out int used)
    {
        used = 0;
        var end = input.IndexOf("\r\n"u8);
        if (end < 0)
        {
            return null;
        }

        used = end + 2;
        var line = input[1..end];
        return input[0] switch
        {
            (byte)'$' => TryReadText(input, Number(line), ref used),
            (byte)'*' => TryReadArray(input, Number(line), ref used),
            (byte)':' => RedisResult.Create(Number(line), ResultType.Integer),
            (byte)'+' => RedisResult.Create(Encoding.UTF8.GetString(line), ResultType.SimpleString),
            (byte)'-' => RedisResult.Create(Encoding.UTF8.GetString(line), ResultType.Error),
            _ => throw new InvalidDataException("Redis sent what is no answer"),
        };
    }

    private static RedisResult? TryReadText(ReadOnlySpan<byte> input, long length, ref int used)
    {
        if (length < 0)
        {
            return RedisResult.Create(RedisValue.Null, ResultType.BulkString);
        }

        var start = used;
        used += (int)length + 2;
        return used > input.Length
            ? null
            : RedisResult.Create(input.Slice(start, (int)length).ToArray(), ResultType.BulkString);
    }

    private static RedisResult? TryReadArray(ReadOnlySpan<byte> input, long length, ref int used)
    {
        if (length < 0)
        {
            return RedisResult.Create((RedisResult[])null!, ResultType.Array);
        }

        var items = new RedisResult[length];
        for (var i = 0; i < items.Length; i++)
        {
            if (TryRead(input[used..], out var taken) is not { } item)
            {
                return null;
            }

            items[i] = item;
            used += taken;
        }

        return RedisResult.Create(items, ResultType.Array);
    }

    private static long Number(ReadOnlySpan<byte> text) =>
        Utf8Parser.TryParse(text, out long number, out var read) && read == text.Length
            ? number
            : throw new InvalidDataException("Redis sent a number that is none");
}
