using System.CommandLine;

namespace Dmb.Commands;

/// <summary>
/// <c>dmb config</c>: prints the configuration of a server beside the broker, with the broker's address and a key.
/// </summary>
internal static class ConfigCommand
{
    private const string DefaultAddress = "127.0.0.1:8082";
    private const string SecretPlace = "<secret>";

    public static Command Create()
    {
        var what = new Argument<string>("WHAT") { Description = "opensips, kamailio, nginx or systemd." };
        what.AcceptOnlyFromAmong("opensips", "kamailio", "nginx", "systemd");
        var command = new Command(
            "config",
            "Print the configuration of a program beside the broker, with DMB_URL and DMB_KEY put in."
        )
        {
            what,
        };
        command.SetAction(parsed =>
        {
            Console.Write(
                parsed.GetValue(what) switch
                {
                    "opensips" => OfSip("opensips.cfg"),
                    "kamailio" => OfSip("kamailio.cfg"),
                    "nginx" => Read("nginx.conf")
                        .Replace(DefaultAddress, BrokerClient.Url.Authority, StringComparison.Ordinal),
                    _ => OfSystemd(),
                }
            );
            return 0;
        });
        return command;
    }

    /// <summary>A script of deploy/.</summary>
    private static string OfSip(string file)
    {
        var script = Read(file)
            .Replace($"http://{DefaultAddress}/", BrokerClient.Url.ToString(), StringComparison.Ordinal);
        if (BrokerClient.Key is not { } key)
        {
            return script;
        }

        // A key in a script must not end its string.
        return key.All(c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-' or ':')
            ? script.Replace(SecretPlace, key, StringComparison.Ordinal)
            : throw new CommandException("DMB_KEY has characters that a script can't have in a string.");
    }

    private static string OfSystemd()
    {
        var unit = Read("dmb.service");
        return Environment.ProcessPath is { } program && Path.GetFileNameWithoutExtension(program) != "dotnet"
            ? unit.Replace("/opt/dmb/Dmb", program, StringComparison.Ordinal)
                .Replace(
                    "WorkingDirectory=/opt/dmb",
                    "WorkingDirectory=" + Path.GetDirectoryName(program),
                    StringComparison.Ordinal
                )
            : unit;
    }

    private static string Read(string name)
    {
        using var text = new StreamReader(typeof(ConfigCommand).Assembly.GetManifestResourceStream(name)!);
        return text.ReadToEnd();
    }
}
