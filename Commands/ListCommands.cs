using System.CommandLine;
using System.Text.Json;

namespace Dmb.Commands;

/// <summary>
/// <c>dmb rooms</c>, <c>dmb sessions</c> and <c>dmb kick</c>: lists the rooms and sessions of all nodes, and closes
/// sessions.
/// </summary>
internal static class ListCommands
{
    public static Command CreateRooms()
    {
        var prefix = new Argument<string?>("PREFIX")
        {
            Description = "What their names begin with.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var json = Json();
        var command = new Command("rooms", "List the rooms that have sessions, by name.") { prefix, json };
        command.SetAction(
            (parsed, token) =>
                ListAsync(
                    "rooms",
                    [("prefix", parsed.GetValue(prefix))],
                    ["room", "sessions", "pos", "kept"],
                    parsed.GetValue(json),
                    token
                )
        );
        return command;
    }

    public static Command CreateSessions()
    {
        var user = new Option<string?>("--user") { Description = "Only those of a user, by its key or token." };
        var room = new Option<string?>("--room") { Description = "Only those in a room." };
        var address = new Option<string?>("--address") { Description = "Only those from an address." };
        var json = Json();
        var command = new Command("sessions", "List the sessions of all nodes, the newest first.")
        {
            user,
            room,
            address,
            json,
        };
        command.SetAction(
            (parsed, token) =>
                ListAsync(
                    "sessions",
                    [
                        ("user", parsed.GetValue(user)),
                        ("room", parsed.GetValue(room)),
                        ("address", parsed.GetValue(address)),
                    ],
                    ["session", "user", "node", "address", "transport", "since", "queued", "rooms"],
                    parsed.GetValue(json),
                    token
                )
        );
        return command;
    }

    public static Command CreateKick()
    {
        var id = new Argument<string>("ID") { Description = "The session, as `dmb sessions` lists it." };
        var code = CommandLine.Number("--code", "The close code, 4000 to 4099; 4001 without it.", 4_000, 4_099);
        var reason = new Option<string?>("--reason") { Description = "What its client is told." };
        var command = new Command("kick", "Close a session, whatever node it is on.") { id, code, reason };
        command.SetAction(
            async (parsed, token) =>
            {
                using var client = new BrokerClient();
                var query = BrokerClient.Query(
                    ("code", parsed.GetValue(code)?.ToString(System.Globalization.CultureInfo.InvariantCulture)),
                    ("reason", parsed.GetValue(reason))
                );
                await client.AskAsync(
                    HttpMethod.Delete,
                    "sessions/" + Uri.EscapeDataString(parsed.GetValue(id)!) + query,
                    token
                );
                return 0;
            }
        );
        return command;
    }

    public static Option<bool> Json() => new("--json") { Description = "Print each as JSON, one a line." };

    /// <summary>Prints a list of the broker, an item a line; returns the exit code.</summary>
    public static async Task<int> ListAsync(
        string path,
        (string, string?)[] query,
        string[] columns,
        bool isJson,
        CancellationToken token
    )
    {
        using var client = new BrokerClient();
        if (!isJson && !Console.IsOutputRedirected)
        {
            await Console.Error.WriteLineAsync(string.Join('\t', columns));
        }

        await foreach (var item in client.ListAsync(path, query, token))
        {
            Console.WriteLine(
                isJson ? item.GetRawText() : string.Join('\t', columns.Select(column => Cell(item.GetProperty(column))))
            );
        }

        return 0;
    }

    private static string Cell(JsonElement value) =>
        value.ValueKind switch
        {
            JsonValueKind.Array => CommandLine.Printable(
                string.Join(',', value.EnumerateArray().Select(one => one.GetString()))
            ),
            JsonValueKind.String => CommandLine.Printable(value.GetString()),
            JsonValueKind.Null => "-",
            _ => value.GetRawText(),
        };
}
