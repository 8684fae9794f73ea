using System.CommandLine;

namespace Dmb.Commands;

/// <summary><c>dmb dead</c>: lists dead letters, delivers them again, or drops them.</summary>
internal static class DeadCommands
{
    private static readonly string[] Columns =
    [
        "id",
        "time",
        "reason",
        "webhook",
        "channel",
        "event",
        "subject",
        "attempts",
        "detail",
    ];

    public static Command Create()
    {
        var (reason, hook) = (Reason(), Hook());
        var json = ListCommands.Json();
        var command = new Command("dead", "List what could not be delivered, the newest first.")
        {
            reason,
            hook,
            json,
            Change("replay", "Deliver a dead letter again, or all that fit.", HttpMethod.Post, "/replay"),
            Change("drop", "Delete a dead letter, or all that fit.", HttpMethod.Delete, ""),
        };
        command.SetAction(
            (parsed, token) =>
                ListCommands.ListAsync(
                    "dead",
                    [("reason", parsed.GetValue(reason)), ("webhook", parsed.GetValue(hook))],
                    Columns,
                    parsed.GetValue(json),
                    token
                )
        );
        return command;
    }

    /// <summary>A command for one letter by its id, or for all of a filter.</summary>
    private static Command Change(string name, string description, HttpMethod method, string action)
    {
        var id = new Argument<string?>("ID")
        {
            Description = "The letter, as `dmb dead` lists it.",
            Arity = ArgumentArity.ZeroOrOne,
        };
        var all = new Option<bool>("--all") { Description = "All of them, or those that --reason and --hook choose." };
        var (reason, hook) = (Reason(), Hook());
        var command = new Command(name, description) { id, all, reason, hook };
        command.Validators.Add(result =>
        {
            var isFiltered = result.GetValue(reason) is not null || result.GetValue(hook) is not null;
            if (result.GetValue(id) is null != result.GetValue(all) || (isFiltered && !result.GetValue(all)))
            {
                result.AddError($"dmb dead {name} takes an ID, or --all with --reason and --hook as you like.");
            }
        });
        command.SetAction(
            async (parsed, token) =>
            {
                using var client = new BrokerClient();
                var path = parsed.GetValue(id) is { } letter
                    ? $"dead/{Uri.EscapeDataString(letter)}{action}"
                    : $"dead{action}"
                        + BrokerClient.Query(("reason", parsed.GetValue(reason)), ("webhook", parsed.GetValue(hook)));
                var answer = await client.AskAsync(method, path, token);
                if (answer.Length > 0)
                {
                    Console.WriteLine(answer);
                }

                return 0;
            }
        );
        return command;
    }

    private static Option<string?> Reason() => new("--reason") { Description = "Only those with this reason." };

    private static Option<string?> Hook() => new("--hook") { Description = "Only those of this webhook, by its id." };
}
