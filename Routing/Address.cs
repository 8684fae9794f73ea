using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Dmb.Routing;

/// <summary>
/// The rooms that a message's data names by <c>_in</c> and <c>endpoint</c> at the top level of an object
/// (docs/protocol.md §2). Parsed in the same pass that validates the JSON.
/// </summary>
internal struct Address
{
    /// <summary>The notification rooms of <c>_in</c>; null if there are none.</summary>
    public List<string>? In;

    /// <summary><c>endpoint:&lt;endpoint&gt;</c>, or null.</summary>
    public string? Endpoint;

    /// <summary>Number of names in <c>_in</c> that are not notification rooms.</summary>
    public int LeftOut;

    /// <summary>The first of these names; null without any.</summary>
    public List<string>? LeftOutNames;

    /// <summary>Number of names in <c>_in</c>.</summary>
    public int InCount;

    /// <summary>
    /// Maximum names of <c>_in</c> that are read: the upper end of the setting's range; more are refused.
    /// </summary>
    private const int InMax = 10_000;

    /// <summary>Maximum of <see cref="LeftOutNames"/>.</summary>
    private const int LeftOutNamesMax = 10;

    /// <summary>Parses one JSON value, from its first token to its last.</summary>
    /// <exception cref="JsonException">It is not JSON, or nested deeper than the reader's limit.</exception>
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
            // The last duplicate counts, as in common JSON parsers.
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
        (In, InCount, LeftOutNames) = (null, 0, null);
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
        var room = InCount <= InMax && reader.TokenType == JsonTokenType.String ? JsonText.Read(ref reader) : null;
        if (room is not null && Names.IsNotificationRoom(room))
        {
            (In ??= []).Add(room);
            return;
        }

        LeaveOut(room);
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
            LeaveOut(room);
        }
    }

    private void LeaveOut(string? name)
    {
        LeftOut++;
        if (name is not null && (LeftOutNames?.Count ?? 0) < LeftOutNamesMax)
        {
            (LeftOutNames ??= []).Add(name);
        }
    }

    /// <summary>The canonical text of a number: <c>1234.0</c> and <c>1.234e3</c> are the endpoint 1234.</summary>
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
