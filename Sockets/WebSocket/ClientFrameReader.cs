using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Parses the text messages of /ws (docs/protocol.md §4).</summary>
internal static class ClientFrameReader
{
    private const int AckLengthMax = 64;
    private static readonly byte[] Null = "null"u8.ToArray();

    /// <summary>
    /// Parses a frame in one pass. The last of duplicate members counts; unknown members are skipped.
    /// </summary>
    /// <exception cref="RefusedException">The text is not a frame, or is nested deeper than the limit.</exception>
    public static ClientFrame Read(ReadOnlyMemory<byte> text, JsonReaderOptions dataOptions)
    {
        try
        {
            var reader = new Utf8JsonReader(text.Span, dataOptions with { MaxDepth = dataOptions.MaxDepth + 1 });
            return Read(text, ref reader);
        }
        catch (JsonException e)
        {
            throw IsJson(text.Span)
                ? new RefusedException(
                    ErrorCode.TooBig,
                    $"The data is nested deeper than {dataOptions.MaxDepth} levels."
                )
                : new RefusedException(ErrorCode.BadFrame, $"The frame is not JSON: {e.Message}");
        }
    }

    private static ClientFrame Read(ReadOnlyMemory<byte> text, ref Utf8JsonReader reader)
    {
        string? name = null;
        ReadOnlyMemory<byte> data = Null;
        ReadOnlyMemory<byte> ack = default;
        Address address = default;
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw new RefusedException(ErrorCode.BadFrame, "A frame is an object with the member event.");
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Is(ref reader, "event"u8))
            {
                reader.Read();
                name = reader.TokenType == JsonTokenType.String ? JsonText.Read(ref reader) : null;
                reader.Skip();
            }
            else if (JsonText.Is(ref reader, "data"u8))
            {
                reader.Read();
                var start = (int)reader.TokenStartIndex;
                address = Address.Read(ref reader);
                data = text[start..(int)reader.BytesConsumed];
            }
            else if (JsonText.Is(ref reader, "ack"u8))
            {
                reader.Read();
                ack = ReadAck(text, ref reader);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }

        reader.Read();
        return new ClientFrame(name, data, address, ack);
    }

    /// <summary>Whether a text is one JSON value, of any depth.</summary>
    public static bool IsJson(ReadOnlySpan<byte> text)
    {
        var reader = new Utf8JsonReader(text, new JsonReaderOptions { MaxDepth = text.Length });
        try
        {
            while (reader.Read())
            {
                // To the end.
            }

            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static ReadOnlyMemory<byte> ReadAck(ReadOnlyMemory<byte> text, ref Utf8JsonReader reader)
    {
        var isGood = reader.TokenType switch
        {
            JsonTokenType.Null => true,
            JsonTokenType.Number => reader.ValueSpan.Length <= AckLengthMax,
            JsonTokenType.String => JsonText.Read(ref reader) is { Length: <= AckLengthMax },
            _ => false,
        };
        return !isGood
                ? throw new RefusedException(
                    ErrorCode.BadFrame,
                    "An ack is a number or a string of at most 64 characters."
                )
            : reader.TokenType == JsonTokenType.Null ? default
            : text[(int)reader.TokenStartIndex..(int)reader.BytesConsumed];
    }
}
