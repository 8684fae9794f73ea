using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Unicode;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Encodes WebSocket frames, unmasked as a server sends them (RFC 6455 §5.2).</summary>
internal static class WebSocketFrames
{
    private const byte Final = 0x80;
    private const byte Compressed = 0x40;
    private const byte TextOpcode = 0x1;
    private const byte CloseOpcode = 0x8;
    private const byte PingOpcode = 0x9;

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? _memberBuffer;

    /// <summary>A ping without payload.</summary>
    public static readonly byte[] Ping = [Final | PingOpcode, 0];

    /// <summary>A text frame of encoded JSON.</summary>
    public static byte[] Text(ReadOnlySpan<byte> json)
    {
        var frame = Header(Final | TextOpcode, json.Length, out var start);
        json.CopyTo(frame.AsSpan(start));
        return frame;
    }

    /// <summary>
    /// <c>{"event":…,"data":…,"id":…}</c>, the data as received; with history also its position in the room, and the
    /// trace if one is given.
    /// </summary>
    public static byte[] Message(Envelope envelope, int room, string? traceparent = null)
    {
        var members = PositionMembers(envelope, room);
        if (traceparent is not null)
        {
            members = (byte[])
                [.. members, .. ",\"traceparent\":\""u8, .. Encoding.ASCII.GetBytes(traceparent), .. "\""u8];
        }

        var frame = Header(Final | TextOpcode, MessageLength(envelope, members), out var start);
        WriteMessage(envelope, members, frame.AsSpan(start));
        return frame;
    }

    /// <summary>
    /// The frame of <see cref="Message"/> under permessage-deflate, without context takeover so that sessions share it
    /// (RFC 7692 §7.2.1).
    /// </summary>
    public static byte[] DeflatedMessage(Envelope envelope, int room)
    {
        var members = PositionMembers(envelope, room);
        var json = new byte[MessageLength(envelope, members)];
        WriteMessage(envelope, members, json);

        using var deflated = new MemoryStream();
        using (var deflate = new DeflateStream(deflated, CompressionLevel.Fastest, leaveOpen: true))
        {
            deflate.Write(json);
            deflate.Flush();

            // A flush ends with an empty stored block, 00 00 FF FF, which the receiver adds again.
            var payload = deflated.GetBuffer().AsSpan(0, (int)deflated.Length - 4);
            var frame = Header(Final | Compressed | TextOpcode, payload.Length, out var start);
            payload.CopyTo(frame.AsSpan(start));
            return frame;
        }
    }

    /// <summary>
    /// The members after <c>id</c> of a message with positions: the room and its position there, and the positions in
    /// the other rooms. Valid until this thread's next call.
    /// </summary>
    private static ReadOnlySpan<byte> PositionMembers(Envelope envelope, int room)
    {
        if (envelope.Positions is not { } positions || envelope.Id.Length == 0)
        {
            return [];
        }

        var members = _memberBuffer ??= new ArrayBufferWriter<byte>(256);
        members.ResetWrittenCount();
        if (!positions[room].IsNone)
        {
            members.Append(",\"room\":"u8);
            Put(members, envelope.Rooms[room]);
            members.Append(",\"pos\":"u8);
            Put(members, positions[room]);
        }

        var others = 0;
        for (var i = 0; i < positions.Length; i++)
        {
            if (i != room && !positions[i].IsNone)
            {
                members.Append(others++ == 0 ? ",\"also\":{"u8 : ","u8);
                Put(members, envelope.Rooms[i]);
                members.Append(":"u8);
                Put(members, positions[i]);
            }
        }

        return (others == 0 ? members : members.Append("}"u8)).WrittenSpan;
    }

    private static void Put(ArrayBufferWriter<byte> target, string text) =>
        target.Advance(JsonText.Quote(text, target.GetSpan(JsonText.QuotedLength(text))));

    private static void Put(ArrayBufferWriter<byte> target, StreamPosition position)
    {
        Utf8.TryWrite(
            target.GetSpan(64),
            CultureInfo.InvariantCulture,
            $"\"{position.Epoch}:{position.Seq}\"",
            out var written
        );
        target.Advance(written);
    }

    /// <summary>A close frame.</summary>
    public static byte[] Close(int code, string text)
    {
        var frame = Header(Final | CloseOpcode, 2 + Encoding.UTF8.GetByteCount(text), out var start);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(start), (ushort)code);
        Encoding.UTF8.GetBytes(text, frame.AsSpan(start + 2));
        return frame;
    }

    private static int MessageLength(Envelope envelope, ReadOnlySpan<byte> members) =>
        "{'event':'','data':}".Length
        + envelope.Event.Length
        + envelope.Data.Length
        + members.Length
        + (envelope.Id.Length > 0 ? ",'id':".Length + JsonText.QuotedLength(envelope.Id) : 0);

    private static void WriteMessage(Envelope envelope, ReadOnlySpan<byte> members, Span<byte> target)
    {
        JsonText.Put("{\"event\":\""u8, ref target);
        target = target[Encoding.ASCII.GetBytes(envelope.Event, target)..];
        JsonText.Put("\",\"data\":"u8, ref target);
        JsonText.Put(envelope.Data.Span, ref target);
        if (envelope.Id.Length > 0)
        {
            JsonText.Put(",\"id\":"u8, ref target);
            target = target[JsonText.Quote(envelope.Id, target)..];
        }

        JsonText.Put(members, ref target);
        JsonText.Put("}"u8, ref target);
    }

    private static byte[] Header(byte first, int length, out int start)
    {
        start = length switch
        {
            < 126 => 2,
            <= ushort.MaxValue => 4,
            _ => 10,
        };
        var frame = new byte[start + length];
        frame[0] = first;
        switch (start)
        {
            case 2:
                frame[1] = (byte)length;
                break;
            case 4:
                frame[1] = 126;
                BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(2), (ushort)length);
                break;
            default:
                frame[1] = 127;
                BinaryPrimitives.WriteUInt64BigEndian(frame.AsSpan(2), (ulong)length);
                break;
        }

        return frame;
    }
}
