using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>One item of POST /_notify: <c>{"event":…,"data":…,"id":…}</c>, each member as received.</summary>
internal readonly record struct BatchItem(
    string? Event,
    ReadOnlyMemory<byte> Data,
    Address Address,
    string? Id,
    RefusedException? Refused
)
{
    /// <summary>Parses and validates a whole batch in one pass, before any item is published.</summary>
    /// <exception cref="RefusedException">It is not JSON, not an array, or has more items than the limit.</exception>
    public static List<BatchItem> ReadAll(ReadOnlyMemory<byte> json, JsonReaderOptions dataOptions, int maxItems)
    {
        var items = new List<BatchItem>();
        try
        {
            // The array and its items add two levels to the data's nesting.
            var reader = new Utf8JsonReader(json.Span, dataOptions with { MaxDepth = dataOptions.MaxDepth + 2 });
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartArray)
            {
                throw new RefusedException(ErrorCode.BadJson, "A batch is an array of {\"event\":…,\"data\":…}.");
            }

            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                if (items.Count == maxItems)
                {
                    throw new RefusedException(ErrorCode.BadJson, $"A batch has at most {maxItems} items.");
                }

                items.Add(Read(json, ref reader));
            }

            reader.Read();
        }
        catch (JsonException e)
        {
            throw new RefusedException(ErrorCode.BadJson, $"The body is not JSON: {e.Message}");
        }

        return items;
    }

    /// <summary>Applies the checks of a single push.</summary>
    /// <exception cref="RefusedException">The item is refused.</exception>
    public void Check(int maxBytes)
    {
        if (Refused is not null)
        {
            throw Refused;
        }

        if (!Names.IsEvent(Event))
        {
            throw new RefusedException(ErrorCode.BadName, Names.EventForm);
        }

        if (Data.Length > maxBytes)
        {
            throw new RefusedException(ErrorCode.TooBig, $"The data is larger than {maxBytes} bytes.");
        }

        if (Id is not null && !Names.IsId(Id))
        {
            throw new RefusedException(ErrorCode.BadName, Names.IdForm);
        }
    }

    private static BatchItem Read(ReadOnlyMemory<byte> json, ref Utf8JsonReader reader)
    {
        var item = new BatchItem(null, JsonText.EmptyObject, default, null, null);
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return item with
            {
                Refused = new RefusedException(ErrorCode.BadJson, "An item is an object with the member event."),
            };
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isEvent = JsonText.Is(ref reader, "event"u8);
            var isId = JsonText.Is(ref reader, "id"u8);
            var isData = JsonText.Is(ref reader, "data"u8);
            reader.Read();
            if (isData)
            {
                var start = (int)reader.TokenStartIndex;
                var address = Address.Read(ref reader);
                item = item with { Data = json[start..(int)reader.BytesConsumed], Address = address };
            }
            else if (isEvent || (isId && reader.TokenType != JsonTokenType.Null))
            {
                var text = reader.TokenType == JsonTokenType.String ? JsonText.Read(ref reader) ?? "" : "";
                item = isEvent ? item with { Event = text } : item with { Id = text };
                reader.Skip();
            }
            else
            {
                reader.Skip();
            }
        }

        return item;
    }
}
