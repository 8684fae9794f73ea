using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace Dmb.Redis;

/// <summary>
/// Reads the subset of MessagePack that has a JSON form (MessagePack specification, "Formats"): nil, booleans, numbers,
/// strings, arrays, and maps with strings as keys.
/// </summary>
/// <param name="bytes">One value, from <paramref name="depthMax"/> levels deep at most; borrowed.</param>
/// <param name="depthMax">Levels of arrays and maps that are read.</param>
internal ref struct MessagePackJson(ReadOnlySpan<byte> bytes, int depthMax)
{
    private const byte Nil = 0xC0;
    private ReadOnlySpan<byte> _rest = bytes;

    /// <summary>Whether everything has been read.</summary>
    public readonly bool IsAtEnd => _rest.IsEmpty;

    /// <summary>Reads the start of an array; its length.</summary>
    /// <exception cref="FormatException">It is something else, or incomplete.</exception>
    public int ReadArray() =>
        Take() switch
        {
            >= 0x90 and <= 0x9F and var code => code & 0x0F,
            0xDC => (int)TakeNumber(2),
            0xDD => Length(TakeNumber(4)),
            _ => throw Unexpected(),
        };

    /// <summary>Reads the start of a map; its number of entries.</summary>
    /// <exception cref="FormatException">It is something else, or incomplete.</exception>
    public int ReadMap() =>
        Take() switch
        {
            >= 0x80 and <= 0x8F and var code => code & 0x0F,
            0xDE => (int)TakeNumber(2),
            0xDF => Length(TakeNumber(4)),
            _ => throw Unexpected(),
        };

    /// <summary>Reads a string.</summary>
    /// <exception cref="FormatException">It is something else, or incomplete.</exception>
    public string ReadString() =>
        Encoding.UTF8.GetString(
            Take() switch
            {
                >= 0xA0 and <= 0xBF and var code => TakeBytes(code & 0x1F),
                0xD9 => TakeBytes((int)TakeNumber(1)),
                0xDA => TakeBytes((int)TakeNumber(2)),
                0xDB => TakeBytes(Length(TakeNumber(4))),
                _ => throw Unexpected(),
            }
        );

    /// <summary>Reads nil or, of anything else, nothing.</summary>
    public bool TryReadNil()
    {
        if (_rest.IsEmpty || _rest[0] != Nil)
        {
            return false;
        }

        _rest = _rest[1..];
        return true;
    }

    /// <summary>Reads one value and gives it as JSON in UTF-8.</summary>
    /// <exception cref="FormatException">It is binary or an extension, incomplete, or too deep.</exception>
    public byte[] ReadJson()
    {
        using var stream = new MemoryStream();
        using (var json = new Utf8JsonWriter(stream))
        {
            Write(json, 0);
        }

        return stream.ToArray();
    }

    /// <summary>Reads one value and drops it.</summary>
    /// <exception cref="FormatException">It is binary or an extension, incomplete, or too deep.</exception>
    public void Skip() => ReadJson();

    private void Write(Utf8JsonWriter json, int depth)
    {
        switch (_rest.IsEmpty ? throw Unexpected() : _rest[0])
        {
            case (>= 0x80 and <= 0x8F) or 0xDE or 0xDF:
                json.WriteStartObject();
                for (var left = ReadMap(); left > 0; left--)
                {
                    json.WritePropertyName(ReadString());
                    Write(json, Deeper(depth));
                }

                json.WriteEndObject();
                return;
            case (>= 0x90 and <= 0x9F) or 0xDC or 0xDD:
                json.WriteStartArray();
                for (var left = ReadArray(); left > 0; left--)
                {
                    Write(json, Deeper(depth));
                }

                json.WriteEndArray();
                return;
            case (>= 0xA0 and <= 0xBF) or 0xD9 or 0xDA or 0xDB:
                json.WriteStringValue(ReadString());
                return;
            default:
                WriteScalar(json);
                return;
        }
    }

    private void WriteScalar(Utf8JsonWriter json)
    {
        switch (Take())
        {
            case <= 0x7F and var positive:
                json.WriteNumberValue(positive);
                return;
            case >= 0xE0 and var negative:
                json.WriteNumberValue((sbyte)negative);
                return;
            case Nil:
                json.WriteNullValue();
                return;
            case (0xC2 or 0xC3) and var boolean:
                json.WriteBooleanValue(boolean == 0xC3);
                return;
            case 0xCA:
                WriteNumber(json, BitConverter.UInt32BitsToSingle((uint)TakeNumber(4)));
                return;
            case 0xCB:
                WriteNumber(json, BitConverter.UInt64BitsToDouble(TakeNumber(8)));
                return;
            case >= 0xCC and <= 0xCF and var unsigned:
                json.WriteNumberValue(TakeNumber(1 << (unsigned - 0xCC)));
                return;
            case 0xD0:
                json.WriteNumberValue((sbyte)TakeNumber(1));
                return;
            case 0xD1:
                json.WriteNumberValue((short)TakeNumber(2));
                return;
            case 0xD2:
                json.WriteNumberValue((int)TakeNumber(4));
                return;
            case 0xD3:
                json.WriteNumberValue((long)TakeNumber(8));
                return;
            default:
                throw new FormatException("Binary data and extensions have no JSON form.");
        }
    }

    /// <summary>A number; <c>null</c>, as JavaScript's JSON has it, if it is none.</summary>
    private static void WriteNumber(Utf8JsonWriter json, double number)
    {
        if (double.IsFinite(number))
        {
            json.WriteNumberValue(number);
        }
        else
        {
            json.WriteNullValue();
        }
    }

    private readonly int Deeper(int depth) =>
        depth < depthMax ? depth + 1 : throw new FormatException($"It is nested deeper than {depthMax} levels.");

    private byte Take() => TakeBytes(1)[0];

    private ulong TakeNumber(int size)
    {
        Span<byte> padded = stackalloc byte[sizeof(ulong)];
        padded.Clear();
        TakeBytes(size).CopyTo(padded[^size..]);
        return BinaryPrimitives.ReadUInt64BigEndian(padded);
    }

    private ReadOnlySpan<byte> TakeBytes(int count)
    {
        if (count > _rest.Length)
        {
            throw Unexpected();
        }

        var taken = _rest[..count];
        _rest = _rest[count..];
        return taken;
    }

    /// <summary>A length that can't exceed what is there, as each item has at least one byte.</summary>
    private readonly int Length(ulong length) => length <= (ulong)_rest.Length ? (int)length : throw Unexpected();

    private static FormatException Unexpected() => new("It is not the MessagePack of an emitter.");
}
