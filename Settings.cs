using System.Globalization;
using System.Text;
using Dmb.Endpoints;
using Dmb.Webhooks;

namespace Dmb;

/// <summary>Reads <see cref="NodeOptions"/> from the configuration, and documents the settings.</summary>
internal static class Settings
{
    private const string Section = "Dmb";

    /// <summary>Of the commands, and no setting of a node.</summary>
    private const string UrlVariable = "DMB_URL";

    private static readonly Setting[] All =
    [
        .. Setting.Of(node => node.Http),
        .. Setting.Of(node => node.Access),
        .. Setting.Of(node => node.Routing),
        .. Setting.Of(node => node.History),
        .. Setting.Of(node => node.Transport),
        .. Setting.Of(node => node.Sockets),
        .. Setting.Of(node => node.Backends),
        .. Setting.Of(node => node.Webhooks),
        .. Setting.Of(node => node.Redis),
        .. Setting.Of(node => node.Log),
    ];

    /// <summary>Prefixes of the framework's own command-line arguments.</summary>
    private static readonly string[] OtherArguments = ["environment", "contentRoot", "applicationName", "Logging:"];

    /// <summary>A fault in the configuration that prevents the start, as one line for stderr.</summary>
    public class BadSettingException(string line) : Exception(line);

    /// <summary>An invalid value: the setting, the value and the accepted values.</summary>
    public sealed class BadValueException(string setting, string? value, string accepted)
        : BadSettingException($"{setting}: '{value}' is not accepted; it takes {accepted}.");

    /// <summary>Creates the app's builder, which reads appsettings.json.</summary>
    /// <exception cref="BadSettingException">An argument is not a setting, or appsettings.json is not JSON.</exception>
    public static WebApplicationBuilder CreateBuilder(string[] args)
    {
        CheckArguments(args);
        try
        {
            // Settings are read once, so appsettings.json is not watched.
            return WebApplication.CreateSlimBuilder(["--hostBuilder:reloadConfigOnChange=false", .. args]);
        }
        catch (InvalidDataException unreadable)
        {
            // The framework's message has the file, the inner exception the position in it.
            throw new BadSettingException(
                $"{unreadable.Message} {unreadable.GetBaseException().Message}".ReplaceLineEndings(" ")
            );
        }
    }

    /// <summary>
    /// Unknown names with a setting's prefix, each with the setting that differs by one letter, if any.
    /// </summary>
    public static IEnumerable<(string Name, string? Meant)> Unknown(IConfiguration configuration)
    {
        var variables = Environment
            .GetEnvironmentVariables()
            .Keys.Cast<string>()
            .Where(name =>
                name.StartsWith(Setting.EnvironmentPrefix, StringComparison.Ordinal)
                || All.Any(s =>
                    !s.Variable.StartsWith(Setting.EnvironmentPrefix, StringComparison.Ordinal) && s.IsMeantBy(name)
                )
            )
            .Where(name => !name.Contains("__", StringComparison.Ordinal) && !ServiceLinks.IsName(name))
            .Where(name => name != UrlVariable && !All.Any(s => s.Variable == name));
        var keys = configuration
            .GetSection(Section)
            .GetChildren()
            .Where(child => !All.Any(s => s.Key.Equals(child.Key, StringComparison.OrdinalIgnoreCase)))
            .Select(child => child.Path);
        return variables
            .Concat(keys)
            .Order(StringComparer.Ordinal)
            .Select(name => (name, All.FirstOrDefault(s => s.IsMeantBy(name.Split(':')[^1]))?.Variable));
    }

    /// <summary>
    /// Reads and validates all settings. The command line takes precedence over <c>DMB_*</c>, and that over
    /// appsettings.json.
    /// </summary>
    /// <exception cref="BadValueException">A value is not accepted.</exception>
    public static NodeOptions Read(IConfigurationManager configuration, string[] args)
    {
        var environment = new Dictionary<string, string?>();
        foreach (var setting in All)
        {
            if (
                Environment.GetEnvironmentVariable(setting.Variable) is { } value
                && !ServiceLinks.IsValue(setting.Variable, value)
            )
            {
                environment[$"{Section}:{setting.Key}"] = value;
            }
        }

        configuration.AddInMemoryCollection(environment);
        configuration.AddCommandLine(args);

        var options = new NodeOptions();
        var section = configuration.GetSection(Section);
        foreach (var setting in All)
        {
            if (Text(section.GetSection(setting.Key)) is { } text)
            {
                setting.Set(options, setting.Variable, text);
            }
            else if (setting.Key == nameof(HttpOptions.Port) && configuration["PORT"] is { Length: > 0 } port)
            {
                setting.Set(options, "PORT", port);
            }
        }

        SettingsCheck.Check(options);
        if (!options.Http.IsLoopback)
        {
            foreach (
                var setting in All.Where(setting =>
                    setting.Elsewhere is not null && Text(section.GetSection(setting.Key)) is null
                )
            )
            {
                setting.SetElsewhere(options);
            }
        }

        if (options.Webhooks.WebhookPrivate.Length == 0)
        {
            options.Webhooks.WebhookPrivate =
                options.Http.IsLoopback && !options.Access.HasCredentials ? WebhookOptions.Allowed : "deny";
        }

        return options;
    }

    /// <summary>The settings as a Markdown table, which docs/configuration.md repeats.</summary>
    public static string Table()
    {
        var table = new StringBuilder("| setting | default | takes | meaning |\n|---|---|---|---|\n");
        foreach (var setting in All)
        {
            table.Append(
                CultureInfo.InvariantCulture,
                $"| `{setting.Variable}` | {setting.Default} | {setting.Accepted} | {setting.Meaning} |\n"
            );
        }

        return table.ToString();
    }

    /// <summary>The text of <c>--help</c>.</summary>
    public static string Help(string[] commands) =>
        $"""
            dmb: the Duplex Message Broker

            Settings come from the environment, as below; from appsettings.json and the command line they are called
            Dmb:Port and --Dmb:Port=8082, for DMB_PORT. Durations are in seconds, lists have commas.
            {string.Join(", ", commands[..^1])} and {commands[^1]} are commands;
            dmb pub --help explains pub.
            --health asks the node that runs with the same settings whether it is alive: exit code 0 or 1.
            -h or --help prints this, --version the version.

            {string.Join(
                "\n",
                All.Select(s =>
                    $"{s.Variable, -28} {s.Meaning}\n{"", -28} {s.Accepted}{(s.Default.Length > 0 ? "; default " : "")}"
                    + s.Default.Replace("`", "", StringComparison.Ordinal)
                )
            )}

            """;

    /// <summary>Refuses unknown arguments, so that a mistyped name does not start the node.</summary>
    private static void CheckArguments(string[] args)
    {
        for (var i = 0; i < args.Length; i++)
        {
            var (argument, hasValue) = args[i].Split('=', 2) is [var name, _] ? (name, true) : (args[i], false);
            if (argument == HealthCommand.Argument)
            {
                continue;
            }

            var key = argument.StartsWith("--", StringComparison.Ordinal) ? argument[2..] : "";
            if (
                !key.Equals(Section, StringComparison.OrdinalIgnoreCase)
                && !All.Any(s => $"{key}:".StartsWith($"{Section}:{s.Key}:", StringComparison.OrdinalIgnoreCase))
                && !OtherArguments.Any(other =>
                    other[^1] == ':'
                        ? key.StartsWith(other, StringComparison.OrdinalIgnoreCase)
                        : key.Equals(other, StringComparison.OrdinalIgnoreCase)
                )
            )
            {
                throw new BadSettingException(
                    $"{argument}: there is no such argument or command; a setting is written --Dmb:Port=8082, and "
                        + "--help prints all of them."
                );
            }

            i += hasValue ? 0 : 1;
            if (i == args.Length)
            {
                throw new BadSettingException($"{argument}: a value is missing, as in {argument}=8082.");
            }
        }
    }

    /// <summary>The text of a section; the items of an array, or members of an object, as a list.</summary>
    private static string? Text(IConfigurationSection section)
    {
        var children = section.GetChildren().ToArray();
        return section.Value is { Length: > 0 } || children.Length == 0
            ? section.Value
            : string.Join(',', children.Select(c => int.TryParse(c.Key, out _) ? c.Value : $"{c.Key}={c.Value}"));
    }
}
