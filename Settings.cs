using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Reflection;
using System.Text;
using Dmb.Access;
using Dmb.Endpoints;
using Dmb.Routing;

namespace Dmb;

/// <summary>Reads <see cref="BrokerOptions"/> from the configuration, and tells people what there is to set.</summary>
internal static class Settings
{
    private const string Section = "Dmb";
    private const string EnvironmentPrefix = "DMB_";

    /// <summary>What is shown of a secret.</summary>
    private const string Hidden = "…";

    private static readonly Setting[] All = [.. Properties(typeof(BrokerOptions)).Where(p => p.CanWrite).Select(p => new Setting(p))];

    /// <summary>What is on the command line besides settings of the broker: the framework's own.</summary>
    private static readonly string[] OtherArguments = ["environment", "contentRoot", "applicationName", "Logging:"];

    /// <summary>Something is set that the broker can't start with, told in one line for stderr.</summary>
    public class BadSettingException(string line) : Exception(line);

    /// <summary>A bad value: the setting, the value and what is accepted.</summary>
    public sealed class BadValueException(string setting, string? value, string accepted)
        : BadSettingException($"{setting}: '{value}' is not accepted; it takes {accepted}.");

    /// <summary>Makes the app's builder, which reads appsettings.json.</summary>
    /// <exception cref="BadSettingException">The command line has something that is no setting, or the file is no JSON.</exception>
    public static WebApplicationBuilder CreateBuilder(string[] args)
    {
        CheckArguments(args);
        try
        {
            // Settings are read once: nobody need watch appsettings.json.
            return WebApplication.CreateSlimBuilder(["--hostBuilder:reloadConfigOnChange=false", .. args]);
        }
        catch (InvalidDataException unreadable)
        {
            // What the framework says names the file; what is inside it says where in the file.
            throw new BadSettingException($"{unreadable.Message} {unreadable.GetBaseException().Message}".ReplaceLineEndings(" "));
        }
    }

    /// <summary>Names that look like settings and are none.</summary>
    public static IEnumerable<string> Unknown(IConfiguration configuration)
    {
        var variables = Environment.GetEnvironmentVariables().Keys.Cast<string>()
            .Where(name => name.StartsWith(EnvironmentPrefix, StringComparison.Ordinal) && !name.Contains("__", StringComparison.Ordinal))
            .Where(name => !All.Any(s => s.Variable == name));
        var keys = configuration.GetSection(Section).GetChildren()
            .Where(child => !All.Any(s => s.Key.Equals(child.Key, StringComparison.OrdinalIgnoreCase)))
            .Select(child => child.Path);
        return variables.Concat(keys).Order(StringComparer.Ordinal);
    }

    /// <summary>Reads and checks all settings: the command line before <c>DMB_*</c> before appsettings.json.</summary>
    /// <exception cref="BadValueException">A value is not what the setting takes.</exception>
    public static BrokerOptions Read(IConfigurationManager configuration, string[] args)
    {
        var environment = new Dictionary<string, string?>();
        foreach (var setting in All)
        {
            if (Environment.GetEnvironmentVariable(setting.Variable) is { } value)
            {
                environment[$"{Section}:{setting.Key}"] = value;
            }
        }

        configuration.AddInMemoryCollection(environment);
        configuration.AddCommandLine(args);

        var options = new BrokerOptions();
        var section = configuration.GetSection(Section);
        foreach (var setting in All)
        {
            if (Text(section.GetSection(setting.Key)) is { } text)
            {
                setting.Set(options, setting.Variable, text);
            }
            else if (setting.Key == nameof(BrokerOptions.Port) && configuration["PORT"] is { Length: > 0 } port)
            {
                setting.Set(options, "PORT", port);
            }
        }

        Check(options);
        if (!IsLoopback(options))
        {
            foreach (var setting in All.Where(setting => setting.Elsewhere is not null && Text(section.GetSection(setting.Key)) is null))
            {
                setting.SetElsewhere(options);
            }
        }

        return options;
    }

    /// <summary>Where to listen: null stands for all addresses.</summary>
    public static IPAddress? Address(BrokerOptions options) => options.Host switch
    {
        "localhost" => IPAddress.Loopback,
        "*" or "+" => null,
        var host => IPAddress.Parse(host),
    };

    /// <summary>Whether only this machine can reach the node.</summary>
    public static bool IsLoopback(BrokerOptions options) => Address(options) is { } address && IPAddress.IsLoopback(address);

    /// <summary>The settings as a Markdown table, which docs/configuration.md repeats.</summary>
    public static string Table()
    {
        var table = new StringBuilder("| setting | default | takes | meaning |\n|---|---|---|---|\n");
        foreach (var setting in All)
        {
            table.Append(CultureInfo.InvariantCulture, $"| `{setting.Variable}` | {setting.Default} | {setting.Accepted} | {setting.Meaning} |\n");
        }

        return table.ToString();
    }

    /// <summary>What <c>--help</c> prints.</summary>
    public static string Help() => $"""
        dmb: the Duplex Message Broker

        Settings come from the environment, as below; from appsettings.json and the command line they are called
        Dmb:Port and --Dmb:Port=8082, for DMB_PORT. Durations are in seconds, lists have commas.
        --health asks the node that runs with the same settings whether it is alive: exit code 0 or 1.

        {string.Join("\n", All.Select(s => $"{s.Variable,-28} {s.Meaning}\n{"",-28} {s.Accepted}; default {s.Default.Replace("`", "", StringComparison.Ordinal)}"))}
        """;

    /// <summary>Whoever types a name wrong is told so, and does not start something else than was meant.</summary>
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
            if (!key.Equals(Section, StringComparison.OrdinalIgnoreCase)
                && !All.Any(s => $"{key}:".StartsWith($"{Section}:{s.Key}:", StringComparison.OrdinalIgnoreCase))
                && !OtherArguments.Any(other => other[^1] == ':' ? key.StartsWith(other, StringComparison.OrdinalIgnoreCase) : key.Equals(other, StringComparison.OrdinalIgnoreCase)))
            {
                throw new BadSettingException($"{argument}: there is no such argument; a setting is written --Dmb:Port=8082, and --help prints those there are.");
            }

            i += hasValue ? 0 : 1;
            if (i == args.Length)
            {
                throw new BadSettingException($"{argument}: a value is missing, as in {argument}=8082.");
            }
        }
    }

    private static void Check(BrokerOptions options)
    {
        if (options.Host is not ("localhost" or "*" or "+") && !IPAddress.TryParse(options.Host, out _))
        {
            throw new BadValueException("DMB_HOST", options.Host, "an IP address, localhost or *");
        }

        CheckAccess(options);

        CheckBuses("DMB_PUBLIC_BUSES", options.PublicBuses);
        CheckBuses("DMB_HOST_BUSES", options.HostBuses);
        CheckBuses("DMB_PRIVATE_BUSES", options.PrivateBuses);
        HashSet<string> buses = [.. options.PublicBuses, .. options.HostBuses, .. options.PrivateBuses];
        foreach (var entry in options.Events)
        {
            var (name, bus) = EventTable.Split(entry);
            if (!Names.IsEvent(name) || (bus.Length > 0 && !buses.Contains(bus)))
            {
                throw new BadValueException("DMB_EVENTS", $"{name}={bus}", "event=bus, the bus being one of the DMB_*_BUSES");
            }
        }

        foreach (var origin in options.AllowedOrigins)
        {
            if (!Uri.TryCreate(origin, UriKind.Absolute, out var uri) || uri.GetLeftPart(UriPartial.Authority) != origin)
            {
                throw new BadValueException("DMB_ALLOWED_ORIGINS", origin, "origins such as https://desk.example.com or http://localhost:3000, without a path");
            }
        }

        foreach (var proxy in options.TrustedProxies.Where(proxy => !IPAddress.TryParse(proxy, out _) && !System.Net.IPNetwork.TryParse(proxy, out _)))
        {
            throw new BadValueException("DMB_TRUSTED_PROXIES", proxy, "IP addresses such as 127.0.0.1, and networks such as 10.0.0.0/8");
        }

        if (options.MaxPendingBytes < options.MaxMessageBytes + 1_024)
        {
            throw new BadValueException("DMB_MAX_PENDING_BYTES", options.MaxPendingBytes.ToString(CultureInfo.InvariantCulture), "at least DMB_MAX_MESSAGE_BYTES and 1024 more");
        }

        if (options.Prefix.Length is 0 or > 64 || !Names.IsRoom(options.Prefix) || options.Prefix.AsSpan().ContainsAny("*?[]\\"))
        {
            throw new BadValueException("DMB_PREFIX", options.Prefix, "1 to 64 characters, none of them a space or one of * ? [ ] \\");
        }

        foreach (var pattern in options.NotifyChannels.Where(pattern => pattern.Count(c => c == '*') != 1 || pattern.AsSpan().ContainsAny("?[]\\")))
        {
            throw new BadValueException("DMB_NOTIFY_CHANNELS", pattern, "patterns with one *, which stands for the event, such as opensips:*");
        }

        foreach (var entry in options.HistoryRooms.Where(entry => !HistoryPolicy.IsPattern(entry)))
        {
            throw new BadValueException("DMB_HISTORY_ROOMS", entry, "room=messages or room=messages/seconds, with 0 to 10000 messages and 0 to 86400 seconds; a room may end in *");
        }

        if (options.SilentTimeout <= options.PingInterval)
        {
            throw new BadValueException("DMB_SILENT_TIMEOUT", Setting.Write(options.SilentTimeout), "more than DMB_PING_INTERVAL");
        }
    }

    private static void CheckAccess(BrokerOptions options)
    {
        if (!IsLoopback(options) && !options.HasCredentials && options.Auth != "none")
        {
            throw new BadValueException(
                "DMB_HOST", options.Host,
                "a loopback address unless it is said who may come: DMB_KEYS or DMB_KEYS_FILE for hosts, DMB_JWT_SECRET or DMB_JWT_KEYS for users; or DMB_AUTH=none, and everybody who reaches the port may do everything");
        }

        if (options.HasCredentials && options.Auth == "none")
        {
            throw new BadValueException("DMB_AUTH", options.Auth, "nothing where there are keys or tokens");
        }

        CheckCredentials("DMB_KEYS", Hidden, HostKeys.Form, () => HostKeys.Read(options.Keys));
        CheckCredentials("DMB_KEYS_FILE", options.KeysFile, HostKeys.Form, () => HostKeys.Read(File.ReadAllText(options.KeysFile)), options.KeysFile.Length > 0);
        CheckCredentials("DMB_JWT_KEYS", options.JwtKeys, UserTokens.KeysForm, () => UserTokens.ReadKeys(File.ReadAllText(options.JwtKeys)), options.JwtKeys.Length > 0);
        if (options.JwtSecret.Length > 0 && Encoding.UTF8.GetByteCount(options.JwtSecret) < UserTokens.SecretBytesMin)
        {
            throw new BadValueException("DMB_JWT_SECRET", Hidden, $"{UserTokens.SecretBytesMin} bytes or more");
        }
    }

    private static void CheckCredentials(string setting, string shown, string form, Action read, bool isSet = true)
    {
        try
        {
            if (isSet)
            {
                read();
            }
        }
        catch (Exception e) when (e is FormatException or IOException or UnauthorizedAccessException)
        {
            throw new BadValueException(setting, shown, $"{form}. {e.Message}");
        }
    }

    private static void CheckBuses(string setting, string[] buses)
    {
        foreach (var bus in buses.Where(bus => !Names.IsRoom(bus)))
        {
            throw new BadValueException(setting, bus, "names of rooms: 1 to 200 bytes without spaces");
        }
    }

    /// <summary>One value; an array's items or an object's members are one list.</summary>
    private static string? Text(IConfigurationSection section)
    {
        var children = section.GetChildren().ToArray();
        return section.Value is { Length: > 0 } || children.Length == 0
            ? section.Value
            : string.Join(',', children.Select(c => int.TryParse(c.Key, out _) ? c.Value : $"{c.Key}={c.Value}"));
    }

    private static PropertyInfo[] Properties([DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] Type type) =>
        type.GetProperties();

    /// <summary>One property of the options, as people set it.</summary>
    private sealed class Setting(PropertyInfo property)
    {
        private readonly RangeAttribute? _range = property.GetCustomAttribute<RangeAttribute>();
        private readonly AllowedValuesAttribute? _allowed = property.GetCustomAttribute<AllowedValuesAttribute>();

        public string Key => property.Name;

        public string Variable { get; } = property.GetCustomAttribute<VariableAttribute>()?.Name
            ?? EnvironmentPrefix + VariableOf(property.Name);

        public string Meaning => property.GetCustomAttribute<DescriptionAttribute>()!.Description;

        public string Default => Write(property.GetValue(new BrokerOptions())) is not { Length: > 0 } text ? ""
            : Elsewhere is null ? $"`{text}`" : $"`{text}` on loopback, else `{Elsewhere}`";

        /// <summary>The default of a node that others than this machine can reach, where it is another.</summary>
        public int? Elsewhere { get; } = property.GetCustomAttribute<ElsewhereAttribute>()?.Value;

        public string Accepted => this switch
        {
            { _allowed: { } allowed } => string.Join(" or ", allowed.Values.Select(v => v is "" ? "nothing" : $"`{v}`")),
            { _range: { } range } when property.PropertyType == typeof(TimeSpan) => $"{range.Minimum} to {range.Maximum} seconds",
            { _range: { } range } => $"{range.Minimum} to {range.Maximum}",
            _ when property.PropertyType == typeof(bool) => "`true` or `false`",
            _ when property.PropertyType == typeof(string[]) => "a list",
            _ => "text",
        };

        public void Set(BrokerOptions options, string name, string text)
        {
            property.SetValue(options, Parse(text.Trim()) ?? throw new BadValueException(name, text, Accepted));
        }

        public void SetElsewhere(BrokerOptions options) => property.SetValue(options, Elsewhere);

        public static string Write(object? value) => value switch
        {
            string[] list => string.Join(',', list),
            TimeSpan time => time.TotalSeconds.ToString(CultureInfo.InvariantCulture),
            bool flag => flag ? "true" : "false",
            _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
        };

        /// <summary>Words in capitals, with underscores between them.</summary>
        private static string VariableOf(string property)
        {
            var name = new StringBuilder();
            foreach (var letter in property)
            {
                name.Append(name.Length > 0 && char.IsUpper(letter) ? "_" : "").Append(char.ToUpperInvariant(letter));
            }

            return name.ToString();
        }

        private object? Parse(string text)
        {
            if (property.PropertyType == typeof(int))
            {
                return int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
                    && number >= (int)_range!.Minimum && number <= (int)_range.Maximum ? number : null;
            }

            if (property.PropertyType == typeof(TimeSpan))
            {
                return double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds)
                    && seconds >= (int)_range!.Minimum && seconds <= (int)_range.Maximum ? TimeSpan.FromSeconds(seconds) : null;
            }

            if (property.PropertyType == typeof(bool))
            {
                return bool.TryParse(text, out var flag) ? flag : null;
            }

            if (property.PropertyType == typeof(string[]))
            {
                return text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            }

            return _allowed is null || _allowed.Values.Contains(text) ? text : null;
        }
    }
}
