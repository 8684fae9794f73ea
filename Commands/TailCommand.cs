using System.CommandLine;
using System.Globalization;
using System.Text.Json;

namespace Dmb.Commands;

/// <summary><c>dmb tail</c>: prints the outcome of each publish.</summary>
internal static class TailCommand
{
    public static Command Create()
    {
        var @event = new Option<string?>("--event") { Description = "Only publishes of this event." };
        var room = new Option<string?>("--room") { Description = "Only publishes to this room." };
        var why = new Option<bool>("--why") { Description = "Say in words why a message reached no session." };
        var json = new Option<bool>("--json") { Description = "Print the traces as they come, JSON a line." };
        var count = CommandLine.Number("--count", "End after so many lines.", 1, int.MaxValue, "-n");
        var command = new Command(
            "tail",
            "Print what becomes of each publish: time, event, way in, rooms, sessions, and why none."
        )
        {
            @event,
            room,
            why,
            json,
            count,
        };
        command.SetAction(
            (parsed, token) =>
                RunAsync(
                    BrokerClient.Query(
                        ("event", parsed.GetValue(@event)),
                        ("room", parsed.GetValue(room)),
                        ("heartbeat", "1")
                    ),
                    parsed.GetValue(why),
                    parsed.GetValue(json),
                    parsed.GetValue(count),
                    token
                )
        );
        return command;
    }

    private static async Task<int> RunAsync(
        string query,
        bool hasWords,
        bool isJson,
        int? count,
        CancellationToken token
    )
    {
        using var client = new BrokerClient();
        var printed = 0;
        await EventStreamFollower.RunAsync(
            client,
            "tail" + query,
            "publishes",
            one =>
            {
                if (one.Name != "trace")
                {
                    Console.Error.WriteLine($"{one.Name} {one.Data}");
                    return true;
                }

                Console.WriteLine(isJson ? one.Data : Line(JsonElement.Parse(one.Data), hasWords));
                return ++printed != count;
            },
            token
        );
        return 0;
    }

    private static string Line(JsonElement trace, bool hasWords)
    {
        var rooms = string.Join(',', trace.GetProperty("rooms").EnumerateArray().Select(room => room.GetString()));
        var why = trace.GetProperty("why").GetString();
        var line = string.Create(
            CultureInfo.InvariantCulture,
            $"{trace.GetProperty("time").GetDateTimeOffset().ToLocalTime():HH:mm:ss.fff} "
                + $"{Text(trace.GetProperty("event").GetString())} {trace.GetProperty("from").GetString()} {Text(rooms)} "
                + $"sessions={trace.GetProperty("sessions").GetInt32()} {why ?? "ok"}"
        );
        return hasWords && why is not null ? $"{line}: {Meaning(why, trace)}" : line;
    }

    private static string Text(string? text) => CommandLine.Printable(text is "" ? null : text);

    /// <summary>docs/operations.md says more.</summary>
    private static string Meaning(string why, JsonElement trace)
    {
        var leftOut = string.Join(
            ", ",
            trace.GetProperty("left_out").EnumerateArray().Select(name => name.GetString())
        );
        return why switch
        {
            "unknown_event" => "the event is not registered; register it, or mend its name",
            "no_room" when leftOut.Length > 0 => $"these are no notification rooms: {CommandLine.Printable(leftOut)}",
            "no_room" => "the event has no default bus, and the data names no room in _in or endpoint",
            "no_subscriber" => "no session is in these rooms; `dmb sessions --room` shows who is",
            "duplicate" => "a message with this key was published before",
            "spooled" => "Redis is away; sessions of other nodes get it when it is back",
            _ => "the publish was refused, and its caller was told",
        };
    }
}
