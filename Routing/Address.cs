using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Dmb.Routing;

/// <summary>
/// Where a message wants to go, by its own data: <c>_in</c> and <c>endpoint</c> at the top level of an object
/// (docs/protocol.md §2). Found in the one pass that also checks the JSON.
/// </summary>
internal struct Address
{
    /// <summary>The notification rooms of <c>_in</c>, or null without any.</summary>
    public List<string>? In;

    /// <summary><c>endpoint:&lt;endpoint&gt;</c>, or null.</summary>
    public string? Endpoint;

    /// <summary>How many names were no notification room.</summary>
    public int LeftOut;

    /// <summary>How many names <c>_in</c> had.</summary>
    public int InCount;

    /// <summary>Names of <c>_in</c> that are looked at; the setting's range ends here, and more are refused.</summary>
    private const int InMax = 10_000;

    /// <summary>Reads one value, from its first token to its last.</summary>
    /// <exception cref="JsonException">It is not JSON, or deeper than the reader allows.</exception>
    public static Address Read(ref Utf8JsonReader reader)
    {
        var address = new Address();
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return address;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            // The last one counts, as with every JSON parser that a SIP server's author has at hand.
            if (JsonText.Is(ref reader, "_in"u8))
            {
                reader.Read();
                address.ReadIn(ref reader);
            }
            else if (JsonText.Is(ref reader, "endpoint"u8))
            {
                reader.Read();
                address.ReadEndpoint(ref reader);
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }

        return address;
    }

    private void ReadIn(ref Utf8JsonReader reader)
    {
        LeftOut -= InCount - (In?.Count ?? 0);
        (In, InCount) = (null, 0);
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            AddIn(ref reader);
            return;
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            AddIn(ref reader);
        }
    }

    private void AddIn(ref Utf8JsonReader reader)
    {
        InCount++;
        if (
            InCount <= InMax
            && reader.TokenType == JsonTokenType.String
            && JsonText.Read(ref reader) is { } room
            && Names.IsNotificationRoom(room)
        )
        {
            (In ??= []).Add(room);
            return;
        }

        LeftOut++;
        reader.Skip();
    }

    private void ReadEndpoint(ref Utf8JsonReader reader)
    {
        Endpoint = null;
        var key = reader.TokenType switch
        {
            JsonTokenType.String => JsonText.Read(ref reader),
            JsonTokenType.Number => NumberText(ref reader),
            JsonTokenType.True => "true",
            JsonTokenType.False => "false",
            _ => null,
        };
        if (key is null)
        {
            reader.Skip();
            return;
        }

        var room = "endpoint:" + key;
        if (key.Length > 0 && Names.IsNotificationRoom(room))
        {
            Endpoint = room;
        }
        else
        {
            LeftOut++;
        }
    }

    /// <summary>A number as its clients write it: <c>1234.0</c> and <c>1.234e3</c> are the endpoint 1234.</summary>
    private static string NumberText(ref Utf8JsonReader reader)
    {
        return reader.TryGetInt64(out var whole) || (reader.TryGetDouble(out var real) && IsWhole(real, out whole))
            ? whole.ToString(CultureInfo.InvariantCulture)
            : Encoding.UTF8.GetString(reader.ValueSpan);
    }

    private static bool IsWhole(double real, out long whole)
    {
        const double ExactMax = 9_007_199_254_740_991;
        whole = Math.Abs(real) <= ExactMax ? (long)real : 0;
        return whole == real;
    }
}
