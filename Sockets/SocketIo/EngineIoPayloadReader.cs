using System.Text;
using System.Text.Unicode;

namespace Dmb.Sockets;

/// <summary>
/// Reads the packets of a POST body one by one, so that a body of many costs no more memory than its bytes (Engine.IO
/// Protocol, "Encoding"; for protocol 3 both forms of a payload).
/// </summary>
internal sealed class EngineIoPayloadReader
{
    /// <summary>Digits that a length may have.</summary>
    private const int LengthDigitsMax = 9;

    private const byte LengthEnd = 0xFF;

    private static readonly UTF8Encoding Strict = new(
        encoderShouldEmitUTF8Identifier: false,
        throwOnInvalidBytes: true
    );

    private readonly EngineIoVersion _version;
    private readonly bool _isBinary;

    /// <summary>The body of protocol 3 in its text form: its lengths count UTF-16 units.</summary>
    private readonly string _text = "";
    private ReadOnlyMemory<byte> _rest;
    private int _at;
    private bool _isDone;

    /// <param name="version">The protocol.</param>
    /// <param name="body">The body; borrowed as long as packets are read.</param>
    /// <param name="isBinary">Whether its content type is <c>application/octet-stream</c>.</param>
    public EngineIoPayloadReader(EngineIoVersion version, ReadOnlyMemory<byte> body, bool isBinary)
    {
        (_version, _rest, _isBinary) = (version, body, isBinary && version == EngineIoVersion.V3);
        if (body.IsEmpty || (!_isBinary && !Utf8.IsValid(body.Span)))
        {
            IsMalformed = true;
        }
        else if (version == EngineIoVersion.V3 && !_isBinary)
        {
            _text = Strict.GetString(body.Span);
        }
    }

    /// <summary>
    /// Whether the body is no payload, or what was read last is no packet: then there is no next one.
    /// </summary>
    public bool IsMalformed { get; private set; }

    /// <summary>Reads the next packet; false at the end and at what is malformed.</summary>
    public bool TryRead(out EngineIoPacket packet)
    {
        packet = default;
        if (IsMalformed || _isDone)
        {
            return false;
        }

        var isGood =
            _version == EngineIoVersion.V4 ? ReadSeparated(out packet)
            : _isBinary ? ReadBinary(out packet)
            : ReadCounted(out packet);
        IsMalformed = !isGood;
        return isGood;
    }

    private bool ReadSeparated(out EngineIoPacket packet)
    {
        var end = _rest.Span.IndexOf(EngineIoPayload.Separator);
        var text = end < 0 ? _rest : _rest[..end];
        _isDone = end < 0;
        _rest = end < 0 ? default : _rest[(end + 1)..];
        packet = !text.IsEmpty && text.Span[0] == 'b' ? EngineIoPacket.Binary : new EngineIoPacket(false, text);
        return !text.IsEmpty;
    }

    private bool ReadCounted(out EngineIoPacket packet)
    {
        packet = default;
        var colon = _text.AsSpan(_at, Math.Min(_text.Length - _at, LengthDigitsMax + 1)).IndexOf(':');
        if (colon <= 0 || !IsNumber(_text.AsSpan(_at, colon), out var length) || length == 0)
        {
            return false;
        }

        var start = _at + colon + 1;
        if (length > _text.Length - start)
        {
            return false;
        }

        var text = _text.AsSpan(start, length);
        _at = start + length;
        _isDone = _at == _text.Length;
        if (char.IsLowSurrogate(text[0]) || char.IsHighSurrogate(text[^1]))
        {
            // The length cuts a character in two.
            return false;
        }

        packet = text[0] == 'b' ? EngineIoPacket.Binary : new EngineIoPacket(false, DecodeTwice(text));
        return true;
    }

    private bool ReadBinary(out EngineIoPacket packet)
    {
        packet = default;
        var rest = _rest.Span;
        var length = 0;
        var end = rest[..Math.Min(rest.Length, LengthDigitsMax + 2)].IndexOf(LengthEnd);
        if (end < 2 || rest[0] > 1)
        {
            return false;
        }

        foreach (var digit in rest[1..end])
        {
            if (digit > 9)
            {
                return false;
            }

            length = (length * 10) + digit;
        }

        if (length == 0 || length > rest.Length - end - 1)
        {
            return false;
        }

        var data = _rest.Slice(end + 1, length);
        _rest = _rest[(end + 1 + length)..];
        _isDone = _rest.IsEmpty;
        packet = rest[0] == 1 ? EngineIoPacket.Binary : new EngineIoPacket(false, data);
        return packet.IsBinary || Utf8.IsValid(data.Span);
    }

    /// <summary>
    /// The bytes of a packet. Clients 1.x encode UTF-8 twice: text whose characters are all bytes, and whose bytes are
    /// UTF-8, is decoded once more.
    /// </summary>
    private static byte[] DecodeTwice(ReadOnlySpan<char> text)
    {
        var bytes = new byte[text.Length];
        var isAscii = true;
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] > 0xFF)
            {
                return Encoding.UTF8.GetBytes(text.ToArray());
            }

            isAscii &= text[i] < 0x80;
            bytes[i] = (byte)text[i];
        }

        return isAscii || Utf8.IsValid(bytes) ? bytes : Encoding.UTF8.GetBytes(text.ToArray());
    }

    private static bool IsNumber(ReadOnlySpan<char> text, out int number)
    {
        number = 0;
        foreach (var digit in text)
        {
            if (!char.IsAsciiDigit(digit))
            {
                return false;
            }

            number = (number * 10) + (digit - '0');
        }

        return true;
    }
}
