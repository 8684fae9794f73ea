using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Dmb.Commands;

/// <summary>
/// The commands of the program, <c>dmb pub</c> and the others. Data goes to stdout, all else to stderr. Exit codes: 0,
/// 1 for a refusal, a failure or a finding, 2 for an invalid command line.
/// </summary>
internal static class CommandLine
{
    public const int Failed = 1;
    private const int BadUsage = 2;

    /// <summary>The names of commands; every other command line starts the broker.</summary>
    public static readonly string[] Names =
    [
        "pub",
        "sub",
        "tail",
        "rooms",
        "sessions",
        "kick",
        "dead",
        "token",
        "key",
        "check",
        "config",
    ];

    /// <summary>Whether a command line is a command; otherwise it starts the broker.</summary>
    public static bool IsCommand(string[] args) => args.Length > 0 && Names.Contains(args[0]);

    /// <summary>Runs a command; returns the exit code.</summary>
    public static async Task<int> RunAsync(string[] args)
    {
        var root = new RootCommand(
            "DMB, the Duplex Message Broker. DMB_URL and DMB_KEY say which broker, and by which key."
        )
        {
            PublishCommand.Create(),
            SubscribeCommand.Create(),
            TailCommand.Create(),
            ListCommands.CreateRooms(),
            ListCommands.CreateSessions(),
            ListCommands.CreateKick(),
            DeadCommands.Create(),
            CredentialCommands.CreateToken(),
            CredentialCommands.CreateKey(),
            CheckCommand.Create(),
            ConfigCommand.Create(),
        };
        var parsed = root.Parse(args);
        if (parsed.Errors.Count > 0)
        {
            foreach (var error in parsed.Errors)
            {
                await Console.Error.WriteLineAsync(error.Message);
            }

            await Console.Error.WriteLineAsync($"dmb {args[0]} --help prints how it is used.");
            return BadUsage;
        }

        // The parser takes an unknown option for an argument, such as a room.
        var unknown = parsed
            .Tokens.TakeWhile(static token => token.Type != TokenType.DoubleDash)
            .FirstOrDefault(static token =>
                token.Type == TokenType.Argument && token.Value.StartsWith("--", StringComparison.Ordinal)
            );
        if (unknown is not null)
        {
            await Console.Error.WriteLineAsync(
                $"There is no option {unknown.Value}; an argument that begins so stands behind a --."
            );
            await Console.Error.WriteLineAsync($"dmb {args[0]} --help prints how it is used.");
            return BadUsage;
        }

        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (CommandException failed)
        {
            await Console.Error.WriteLineAsync(failed.Message);
            return failed.ExitCode;
        }
        catch (OperationCanceledException)
        {
            // Ctrl+C.
            return 130;
        }
        catch (IOException closed)
        {
            // The reader of the output has ended, as head does.
            await Console.Error.WriteLineAsync(closed.Message);
            return Failed;
        }
    }

    /// <summary>An option whose value is a number within bounds; null where it is not given.</summary>
    public static Option<int?> Number(string name, string description, int min, int max, params string[] aliases) =>
        new(name, aliases)
        {
            Description = description,
            CustomParser = result =>
            {
                var text = result.Tokens[^1].Value;
                if (
                    int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                    && number >= min
                    && number <= max
                )
                {
                    return number;
                }

                result.AddError(
                    $"{name}: '{text}' is no number from {min} {(max == int.MaxValue ? "on" : $"to {max}")}."
                );
                return null;
            },
        };

    /// <summary>Escapes text from the network for a terminal: control characters could move its cursor.</summary>
    public static string Printable(string? text) =>
        text is null ? "-"
        : text.Any(char.IsControl) ? string.Concat(text.Select(c => char.IsControl(c) ? '\uFFFD' : c))
        : text;
}

/// <summary>A command failed; the message is for stderr.</summary>
internal sealed class CommandException(string message, int exitCode = CommandLine.Failed) : Exception(message)
{
    public int ExitCode { get; } = exitCode;

    /// <summary>Whether a retry can succeed.</summary>
    public bool MayPass { get; init; }
}
