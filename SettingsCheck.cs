using System.Globalization;
using System.Net;
using Dmb.Access;
using Dmb.Endpoints;
using Dmb.Redis;
using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Webhooks;

namespace Dmb;

/// <summary>Validates what ranges cannot express: combinations of settings, names, addresses and files.</summary>
internal static class SettingsCheck
{
    /// <summary>Replaces a secret in error texts.</summary>
    private const string Hidden = "…";

    /// <exception cref="Settings.BadSettingException">The node only publishes, and has no Redis.</exception>
    public static void CheckRole(RoutingOptions options, RedisEndpoint? redis)
    {
        if (options.IsPublishOnly && redis is null)
        {
            throw new Settings.BadSettingException(
                "DMB_ROLE: publish needs Redis, which takes messages to the nodes that have sessions: "
                    + "set REDIS_HOST or REDIS_URL."
            );
        }
    }

    /// <exception cref="Settings.BadValueException">A value is not accepted.</exception>
    public static void Check(NodeOptions options)
    {
        CheckAddresses(options.Http);
        CheckSockets(options.Sockets);
        CheckAccess(options.Http, options.Access);
        CheckRouting(options.Routing);
        DemandEach(
            "DMB_HISTORY_ROOMS",
            options.History.HistoryRooms,
            HistoryPolicy.IsPattern,
            "room=messages or room=messages/seconds, with 0 to 10000 messages and 0 to 86400 seconds; a room may end in *"
        );
        CheckReadable("DMB_WEBHOOKS_FILE", options.Webhooks.WebhooksFile, WebhookFile.Form, static file =>
            WebhookFile.Read(File.ReadAllBytes(file))
        );
        CheckRedis(options.Redis);
    }

    private static void CheckAddresses(HttpOptions options)
    {
        Demand(
            options.Host is "localhost" or "*" or "+" || IPAddress.TryParse(options.Host, out _),
            "DMB_HOST",
            options.Host,
            "an IP address, localhost or *"
        );
        DemandEach(
            "DMB_ALLOWED_ORIGINS",
            options.AllowedOrigins,
            static origin =>
                Uri.TryCreate(origin, UriKind.Absolute, out var uri) && uri.GetLeftPart(UriPartial.Authority) == origin,
            "origins such as https://desk.example.com or http://localhost:3000, without a path"
        );
        DemandEach(
            "DMB_ALLOWED_HOSTS",
            options.AllowedHosts,
            static host => Uri.CheckHostName(host) != UriHostNameType.Unknown,
            "names such as dmb.example.com, without a scheme or port"
        );
        DemandEach(
            "DMB_TRUSTED_PROXIES",
            options.TrustedProxies,
            static proxy => IPAddress.TryParse(proxy, out _) || System.Net.IPNetwork.TryParse(proxy, out _),
            "IP addresses such as 127.0.0.1, and networks such as 10.0.0.0/8"
        );
    }

    private static void CheckSockets(SocketOptions options)
    {
        Demand(
            options.NodeName.Length <= 16 && options.NodeName.All(char.IsAsciiLetterOrDigit),
            "DMB_NODE_NAME",
            options.NodeName,
            "1 to 16 letters and digits"
        );
        Demand(
            options.SilentTimeout > options.PingInterval,
            "DMB_SILENT_TIMEOUT",
            Setting.Write(options.SilentTimeout),
            "more than DMB_PING_INTERVAL"
        );
    }

    private static void CheckAccess(HttpOptions http, AccessOptions options)
    {
        Demand(
            http.IsLoopback || options.HasCredentials || options.Auth == "none",
            "DMB_HOST",
            http.Host,
            "a loopback address unless it is said who may come: DMB_KEYS or DMB_KEYS_FILE for hosts, DMB_JWT_SECRET or "
                + "DMB_JWT_KEYS for users; or DMB_AUTH=none, and every client that reaches the port may do everything"
        );
        Demand(
            !options.HasCredentials || options.Auth != "none",
            "DMB_AUTH",
            options.Auth,
            "nothing where there are keys or tokens"
        );
        Demand(
            options.AuthorizeUrl.Length == 0
                || (
                    Uri.TryCreate(options.AuthorizeUrl, UriKind.Absolute, out var url)
                    && url is { Scheme: "http" or "https", UserInfo: "" }
                ),
            "DMB_AUTHORIZE_URL",
            options.AuthorizeUrl,
            "an http(s):// URL"
        );
        Demand(
            options.JwtSecret.Length == 0 || options.JwtSecretFile.Length == 0,
            "DMB_JWT_SECRET_FILE",
            options.JwtSecretFile,
            "nothing where DMB_JWT_SECRET is set"
        );

        var secretForm = $"{UserTokens.SecretBytesMin} bytes or more";
        CheckSecret("DMB_KEYS", options.Keys, HostKeys.Form, HostKeys.Read);
        CheckSecret("DMB_JWT_SECRET", options.JwtSecret, secretForm, UserTokens.ReadSecret);
        CheckReadable("DMB_KEYS_FILE", options.KeysFile, HostKeys.Form, Read(HostKeys.Read));
        CheckReadable("DMB_JWT_KEYS", options.JwtKeys, UserTokens.KeysForm, Read(UserTokens.ReadKeys));
        CheckReadable("DMB_JWT_SECRET_FILE", options.JwtSecretFile, secretForm, Read(UserTokens.ReadSecret));

        static Func<string, object> Read(Func<string, object> read) => file => read(File.ReadAllText(file));
    }

    private static void CheckRouting(RoutingOptions options)
    {
        CheckBuses("DMB_PUBLIC_BUSES", options.PublicBuses);
        CheckBuses("DMB_HOST_BUSES", options.HostBuses);
        CheckBuses("DMB_PRIVATE_BUSES", options.PrivateBuses);
        HashSet<string> buses = ["", .. options.PublicBuses, .. options.HostBuses, .. options.PrivateBuses];
        DemandEach(
            "DMB_EVENTS",
            options.Events,
            entry =>
                EventTable.Split(entry) is var (name, bus)
                && entry.Contains('=', StringComparison.Ordinal)
                && Names.IsEvent(name)
                && buses.Contains(bus),
            "event=bus, the bus being one of DMB_PUBLIC_BUSES, DMB_HOST_BUSES or DMB_PRIVATE_BUSES, or event= for no "
                + "default bus"
        );
        Demand(
            options.MaxPendingBytes >= options.MaxMessageBytes + 1_024,
            "DMB_MAX_PENDING_BYTES",
            options.MaxPendingBytes.ToString(CultureInfo.InvariantCulture),
            "at least DMB_MAX_MESSAGE_BYTES and 1024 more"
        );

        static void CheckBuses(string setting, string[] buses) =>
            DemandEach(
                setting,
                buses,
                static bus => Names.IsRoom(bus),
                "names of rooms: 1 to 200 bytes without spaces"
            );
    }

    private static void CheckRedis(RedisOptions options)
    {
        Demand(
            options.RedisHost.Length == 0 || Uri.CheckHostName(options.RedisHost) != UriHostNameType.Unknown,
            "REDIS_HOST",
            RedisEndpoint.Masked(options.RedisHost),
            "a host's name or IP address; its port is REDIS_PORT, and a URL is REDIS_URL"
        );
        Demand(
            options.Prefix.Length is > 0 and <= 64
                && Names.IsRoom(options.Prefix)
                && !options.Prefix.AsSpan().ContainsAny("*?[]\\"),
            "DMB_PREFIX",
            options.Prefix,
            "1 to 64 characters, none of them a space or one of * ? [ ] \\"
        );
        DemandEach(
            "DMB_NOTIFY_CHANNELS",
            options.NotifyChannels,
            static pattern => pattern.Count(c => c == '*') == 1 && !pattern.AsSpan().ContainsAny("?[]\\"),
            "patterns with one *, which stands for the event, such as opensips:*"
        );
        if (options.RedisUrl.Length == 0)
        {
            return;
        }

        try
        {
            Demand(
                RedisEndpoint.Read(options.RedisUrl).Discovery is not RedisSeeds || HasHashTag(options.Prefix),
                "DMB_PREFIX",
                options.Prefix,
                "with a Redis Cluster a hash tag in braces, such as {dmb}:, which keeps all keys on one server"
            );
        }
        catch (FormatException e)
        {
            throw new Settings.BadValueException("REDIS_URL", RedisEndpoint.Masked(options.RedisUrl), e.Message);
        }

        static bool HasHashTag(string prefix) =>
            prefix.Split('{', 2) is [_, var tag] && tag.IndexOf('}', StringComparison.Ordinal) > 0;
    }

    /// <summary>Checks a secret that is set in the environment; no error repeats it.</summary>
    private static void CheckSecret(string setting, string secret, string form, Func<string, object> read)
    {
        try
        {
            if (secret.Length > 0)
            {
                read(secret);
            }
        }
        catch (FormatException e)
        {
            throw Malformed(setting, Hidden, form, e);
        }
    }

    /// <summary>Checks a file, if it is set; no error repeats what is in it.</summary>
    private static void CheckReadable(string setting, string file, string form, Func<string, object> read)
    {
        try
        {
            if (file.Length > 0)
            {
                read(file);
            }
        }
        catch (FormatException e)
        {
            throw Malformed(setting, file, form, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new Settings.BadValueException(
                setting,
                file,
                $"a file that this user can read. {e.Message.TrimEnd('.')}"
            );
        }
    }

    private static Settings.BadValueException Malformed(string setting, string value, string form, FormatException e) =>
        new(setting, value, $"{form}. Wrong here: {e.Message.TrimEnd('.')}");

    private static void DemandEach(string setting, string[] values, Predicate<string> isAccepted, string form)
    {
        foreach (var value in values)
        {
            Demand(isAccepted(value), setting, value, form);
        }
    }

    private static void Demand(bool isAccepted, string setting, string value, string form)
    {
        if (!isAccepted)
        {
            throw new Settings.BadValueException(setting, value, form);
        }
    }
}
