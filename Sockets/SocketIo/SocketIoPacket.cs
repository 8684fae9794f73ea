using System.Globalization;
using System.Text;
using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>What a packet of Socket.IO is (Socket.IO Protocol, "Packet types").</summary>
internal enum SocketIoType
{
    Connect,
    Disconnect,
    Event,
    Ack,
    ConnectError,
    BinaryEvent,
    BinaryAck,
}

/// <summary>
/// One packet of Socket.IO from a client: <c>type[attachments-][/namespace,][id][json]</c> (Socket.IO Protocol, "Packet
/// encoding"). All memory is borrowed.
/// </summary>
/// <param name="Type">What it is.</param>
/// <param name="Attachments">How many binary messages follow that belong to it.</param>
/// <param name="Namespace">Its namespace without a query; empty for the default one.</param>
/// <param name="Id">The digits of its id; empty if it has none.</param>
/// <param name="Json">The rest, unread; empty if there is none.</param>
internal readonly record struct SocketIoPacket(
    SocketIoType Type,
    int Attachments,
    ReadOnlyMemory<byte> Namespace,
    ReadOnlyMemory<byte> Id,
    ReadOnlyMemory<byte> Json
)
{
    /// <summary>Binary messages that may belong to one packet.</summary>
    private const int AttachmentsMax = 10;

    private const int IdDigitsMax = 19;

    /// <summary>Reads a packet up to its JSON; false if it is none.</summary>
    public static bool TryRead(ReadOnlyMemory<byte> text, out SocketIoPacket packet)
    {
        packet = default;
        if (text.IsEmpty || text.Span[0] is < (byte)'0' or > (byte)'6')
        {
            return false;
        }

        var type = (SocketIoType)(text.Span[0] - '0');
        text = text[1..];
        var attachments = 0;
        if (type is SocketIoType.BinaryEvent or SocketIoType.BinaryAck)
        {
            var digits = Digits(text.Span);
            if (digits is 0 or > 2 || digits == text.Length || text.Span[digits] != '-')
            {
                return false;
            }

            attachments = int.Parse(Encoding.ASCII.GetString(text.Span[..digits]), CultureInfo.InvariantCulture);
            text = text[(digits + 1)..];
        }

        ReadOnlyMemory<byte> name = default;
        if (!text.IsEmpty && text.Span[0] == '/')
        {
            var comma = text.Span.IndexOf((byte)',');
            name = comma < 0 ? text : text[..comma];
            text = comma < 0 ? default : text[(comma + 1)..];
            var query = name.Span.IndexOf((byte)'?');
            name = query < 0 ? name : name[..query];
            name = name.Length == 1 ? default : name;
        }

        var idDigits = Digits(text.Span);
        packet = new SocketIoPacket(type, attachments, name, text[..idDigits], text[idDigits..]);
        return attachments <= AttachmentsMax && idDigits <= IdDigitsMax;
    }

    /// <summary>Reads the event of a packet: its name, and its first argument as the data.</summary>
    /// <param name="options">How deep the data may be.</param>
    /// <param name="frame">What it asks for; its ack is <see cref="SocketIoAck"/>.</param>
    /// <returns>False if it is no array that begins with the name of an event.</returns>
    /// <exception cref="RefusedException">It is nested deeper than the limit.</exception>
    public bool TryReadEvent(JsonReaderOptions options, out ClientFrame frame)
    {
        frame = default;
        try
        {
            var reader = new Utf8JsonReader(Json.Span, options with { MaxDepth = options.MaxDepth + 1 });
            if (
                !reader.Read()
                || reader.TokenType != JsonTokenType.StartArray
                || !reader.Read()
                || reader.TokenType != JsonTokenType.String
                || JsonText.Read(ref reader) is not { } name
                || Names.IsReservedByClients(name)
            )
            {
                return false;
            }

            ReadOnlyMemory<byte> data = "null"u8.ToArray();
            Address address = default;
            reader.Read();
            if (reader.TokenType != JsonTokenType.EndArray)
            {
                var start = (int)reader.TokenStartIndex;
                address = Address.Read(ref reader);
                data = Json[start..(int)reader.BytesConsumed];
                while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
                {
                    reader.Skip();
                }
            }

            reader.Read();
            frame = new ClientFrame(
                name,
                data,
                address,
                Id.IsEmpty ? default : SocketIoAck.Of(name, data.Span, Id.Span)
            );
            return true;
        }
        catch (JsonException)
        {
            return ClientFrameReader.IsJson(Json.Span)
                ? throw new RefusedException(
                    ErrorCode.TooBig,
                    $"The data is nested deeper than {options.MaxDepth} levels."
                )
                : false;
        }
    }

    private static int Digits(ReadOnlySpan<byte> text)
    {
        var end = text.IndexOfAnyExceptInRange((byte)'0', (byte)'9');
        return end < 0 ? text.Length : end;
    }
}

/// <summary>
/// What a Socket.IO session keeps of a frame that asked for an ack: a letter for the form of the answer, and the
/// digits of the id.
/// </summary>
internal static class SocketIoAck
{
    private const byte Plain = (byte)'p';
    private const byte WithData = (byte)'d';

    /// <summary>
    /// What the answer needs. <c>subscribe</c>, <c>join</c>, <c>unsubscribe</c> and <c>leave</c> of one room by its
    /// name are answered with <c>true</c> alone (docs/protocol.md §5).
    /// </summary>
    public static byte[] Of(string @event, ReadOnlySpan<byte> data, ReadOnlySpan<byte> id) =>
        [@event is "subscribe" or "join" or "unsubscribe" or "leave" && data[0] == '"' ? Plain : WithData, .. id];

    /// <summary>Whether the answer has data.</summary>
    public static bool HasData(ReadOnlySpan<byte> ack) => ack[0] == WithData;

    /// <summary>The digits of the id.</summary>
    public static ReadOnlySpan<byte> Id(ReadOnlySpan<byte> ack) => ack[1..];
}
