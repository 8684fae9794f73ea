using System.Text.Json;

namespace Dmb.Tests.Deploy;

/// <summary>An event of a SIP server, as a stream of events has it.</summary>
internal sealed record SipEvent(string Event, JsonElement Data)
{
    /// <summary>The next event of a stream.</summary>
    public static async Task<SipEvent> NextAsync(EventReader events)
    {
        string[] lines;
        do
        {
            lines = (await events.ReadAsync()).Split('\n');
        } while (!lines[0].StartsWith("event: ", StringComparison.Ordinal));

        return new SipEvent(lines[0]["event: ".Length..], JsonElement.Parse(lines[1]["data: ".Length..]));
    }

    /// <summary>The state of the next event, read past records of calls.</summary>
    public static async Task<string> StateAsync(EventReader events)
    {
        SipEvent next;
        do
        {
            next = await NextAsync(events);
        } while (next.Event == "statistics:add");

        return next.Text("state");
    }

    /// <summary>The event's name and state.</summary>
    public override string ToString() => $"{Event} {Text("state")}";

    /// <summary>A member of its data that is a string.</summary>
    public string Text(string name) => Data.GetProperty(name).GetString()!;
}
