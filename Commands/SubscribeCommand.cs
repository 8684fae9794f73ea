using System.CommandLine;
using System.Globalization;
using System.Text;
using Dmb.Routing;

namespace Dmb.Commands;

/// <summary><c>dmb sub ROOM…</c>: prints the messages of rooms, and resumes after a lost connection.</summary>
internal static class SubscribeCommand
{
    public static Command Create()
    {
        var rooms = new Argument<string[]>("ROOM")
        {
            Description = "A room, such as support or endpoint:1234.",
            Arity = ArgumentArity.OneOrMore,
        };
        var json = new Option<bool>("--json")
        {
            Description =
                "Print {\"event\",\"data\",\"id\"} a line. What a resumed stream can no longer have is an event gap.",
        };
        var count = CommandLine.Number("--count", "End after so many messages.", 1, int.MaxValue, "-n");
        var command = new Command("sub", "Print what is published to rooms, a message a line.") { rooms, json, count };
        command.SetAction(
            (parsed, token) => RunAsync(parsed.GetValue(rooms)!, parsed.GetValue(json), parsed.GetValue(count), token)
        );
        return command;
    }

    private static async Task<int> RunAsync(string[] rooms, bool isJson, int? count, CancellationToken token)
    {
        using var client = new BrokerClient();
        var query = BrokerClient.Query([.. rooms.Select(room => ("room", (string?)room)), ("heartbeat", "1")]);
        var printed = 0;
        await EventStreamFollower.RunAsync(
            client,
            "events" + query,
            string.Join(", ", rooms.Select(CommandLine.Printable)),
            one =>
            {
                // The broker's own events, which are not messages of a room.
                var isOwn = one.Name == "gap" || one is { Id: null, Name: "bye" or "drain" or "backplane" };
                if (isOwn && (one.Name != "gap" || !isJson))
                {
                    Console.Error.WriteLine($"{one.Name} {one.Data}");
                    return true;
                }

                Console.WriteLine(isJson ? Json(one) : $"{one.Name} {one.Data}");
                return isOwn || ++printed != count;
            },
            token
        );
        return 0;
    }

    private static string Json(StreamEvent one) =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{{\"event\":{Quoted(one.Name)},\"data\":{one.Data},\"id\":{(one.Id is null ? "null" : Quoted(one.Id))}}}"
        );

    private static string Quoted(string text) => Encoding.UTF8.GetString(JsonText.Quote(text));
}
