using System.CommandLine;
using System.Text;
using System.Text.Json;

namespace Dmb.Commands;

/// <summary><c>dmb pub EVENT [JSON|-]</c>: publishes one message, and prints the broker's answer.</summary>
internal static class PublishCommand
{
    public static Command Create()
    {
        var @event = new Argument<string>("EVENT") { Description = "The event, such as report_csr." };
        @event.Validators.Add(static result =>
        {
            if (result.Tokens is [{ Value: "" }])
            {
                result.AddError("EVENT is empty.");
            }
        });
        var data = new Argument<string>("JSON")
        {
            Description = "Its data: any JSON, {} without it; - reads it from stdin.",
            DefaultValueFactory = _ => "{}",
        };
        var key = new Option<string?>("--key")
        {
            Description = "The idempotency key: the same one again within 5 minutes delivers nothing.",
        };
        var command = new Command(
            "pub",
            "Publish a message. Exit code 1 when it is refused, or its event is not registered."
        )
        {
            @event,
            data,
            key,
        };
        command.SetAction(
            (parsed, token) => RunAsync(parsed.GetValue(@event)!, parsed.GetValue(data)!, parsed.GetValue(key), token)
        );
        return command;
    }

    private static async Task<int> RunAsync(string @event, string data, string? key, CancellationToken token)
    {
        var body = data == "-" ? await ReadInputAsync(token) : Encoding.UTF8.GetBytes(data);
        (string, string)[] headers = key is null ? [] : [("Idempotency-Key", key)];
        using var client = new BrokerClient();
        var answer = await client.AskAsync(
            HttpMethod.Post,
            "_notify/" + Uri.EscapeDataString(@event),
            token,
            body,
            headers
        );
        Console.WriteLine(answer);
        if (JsonElement.Parse(answer).GetProperty("ok").GetBoolean())
        {
            return 0;
        }

        await Console.Error.WriteLineAsync(
            $"The event {CommandLine.Printable(@event)} is not registered: nothing was sent."
        );
        return CommandLine.Failed;
    }

    private static async Task<byte[]> ReadInputAsync(CancellationToken token)
    {
        await using var input = Console.OpenStandardInput();
        var body = new MemoryStream();
        await input.CopyToAsync(body, token);
        return body.ToArray();
    }
}
