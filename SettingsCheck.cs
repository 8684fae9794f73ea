using System.Globalization;
using System.Net;
using Dmb.Access;
using Dmb.Endpoints;
using Dmb.Redis;
using Dmb.Routing;
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
        if (options.Http.Host is not ("localhost" or "*" or "+") && !IPAddress.TryParse(options.Http.Host, out _))
        {
            throw new Settings.BadValueException("DMB_HOST", options.Http.Host, "an IP address, localhost or *");
        }

        if (options.Sockets.NodeName.Length > 16 || !options.Sockets.NodeName.All(char.IsAsciiLetterOrDigit))
        {
            throw new Settings.BadValueException(
                "DMB_NODE_NAME",
                options.Sockets.NodeName,
                "1 to 16 letters and digits"
            );
        }

        CheckAccess(options);
        CheckAddresses(options.Http);

        CheckBuses("DMB_PUBLIC_BUSES", options.Routing.PublicBuses);
        CheckBuses("DMB_HOST_BUSES", options.Routing.HostBuses);
        CheckBuses("DMB_PRIVATE_BUSES", options.Routing.PrivateBuses);
        HashSet<string> buses =
        [
            .. options.Routing.PublicBuses,
            .. options.Routing.HostBuses,
            .. options.Routing.PrivateBuses,
        ];
        foreach (var entry in options.Routing.Events)
        {
            var (name, bus) = EventTable.Split(entry);
            if (
                !Names.IsEvent(name)
                || !entry.Contains('=', StringComparison.Ordinal)
                || (bus.Length > 0 && !buses.Contains(bus))
            )
            {
                throw new Settings.BadValueException(
                    "DMB_EVENTS",
                    entry,
                    "event=bus, the bus being one of DMB_PUBLIC_BUSES, DMB_HOST_BUSES or DMB_PRIVATE_BUSES, or event= "
                        + "for no default bus"
                );
            }
        }

        if (options.Routing.MaxPendingBytes < options.Routing.MaxMessageBytes + 1_024)
        {
            throw new Settings.BadValueException(
                "DMB_MAX_PENDING_BYTES",
                options.Routing.MaxPendingBytes.ToString(CultureInfo.InvariantCulture),
                "at least DMB_MAX_MESSAGE_BYTES and 1024 more"
            );
        }

        CheckCredentials(
            "DMB_WEBHOOKS_FILE",
            options.Webhooks.WebhooksFile,
            WebhookFile.Form,
            () => WebhookFile.Read(File.ReadAllBytes(options.Webhooks.WebhooksFile)),
            options.Webhooks.WebhooksFile.Length > 0
        );

        if (options.Redis.RedisHost.Length > 0 && Uri.CheckHostName(options.Redis.RedisHost) == UriHostNameType.Unknown)
        {
            throw new Settings.BadValueException(
                "REDIS_HOST",
                RedisEndpoint.Masked(options.Redis.RedisHost),
                "a host's name or IP address; its port is REDIS_PORT, and a URL is REDIS_URL"
            );
        }

        if (options.Redis.RedisUrl.Length > 0)
        {
            try
            {
                if (
                    RedisEndpoint.Read(options.Redis.RedisUrl).Discovery is RedisSeeds
                    && !(
                        options.Redis.Prefix.Split('{', 2) is [_, var tag]
                        && tag.IndexOf('}', StringComparison.Ordinal) > 0
                    )
                )
                {
                    throw new Settings.BadValueException(
                        "DMB_PREFIX",
                        options.Redis.Prefix,
                        "with a Redis Cluster a hash tag in braces, such as {dmb}:, which keeps all keys on one server"
                    );
                }
            }
            catch (FormatException e)
            {
                throw new Settings.BadValueException(
                    "REDIS_URL",
                    RedisEndpoint.Masked(options.Redis.RedisUrl),
                    e.Message
                );
            }
        }

        if (
            options.Redis.Prefix.Length is 0 or > 64
            || !Names.IsRoom(options.Redis.Prefix)
            || options.Redis.Prefix.AsSpan().ContainsAny("*?[]\\")
        )
        {
            throw new Settings.BadValueException(
                "DMB_PREFIX",
                options.Redis.Prefix,
                "1 to 64 characters, none of them a space or one of * ? [ ] \\"
            );
        }

        foreach (
            var pattern in options.Redis.NotifyChannels.Where(pattern =>
                pattern.Count(c => c == '*') != 1 || pattern.AsSpan().ContainsAny("?[]\\")
            )
        )
        {
            throw new Settings.BadValueException(
                "DMB_NOTIFY_CHANNELS",
                pattern,
                "patterns with one *, which stands for the event, such as opensips:*"
            );
        }

        foreach (var entry in options.History.HistoryRooms.Where(entry => !HistoryPolicy.IsPattern(entry)))
        {
            throw new Settings.BadValueException(
                "DMB_HISTORY_ROOMS",
                entry,
                "room=messages or room=messages/seconds, with 0 to 10000 messages and 0 to 86400 seconds; a room "
                    + "may end in *"
            );
        }

        if (options.Sockets.SilentTimeout <= options.Sockets.PingInterval)
        {
            throw new Settings.BadValueException(
                "DMB_SILENT_TIMEOUT",
                Setting.Write(options.Sockets.SilentTimeout),
                "more than DMB_PING_INTERVAL"
            );
        }
    }

    private static void CheckAddresses(HttpOptions options)
    {
        foreach (var origin in options.AllowedOrigins)
        {
            if (
                !Uri.TryCreate(origin, UriKind.Absolute, out var uri)
                || uri.GetLeftPart(UriPartial.Authority) != origin
            )
            {
                throw new Settings.BadValueException(
                    "DMB_ALLOWED_ORIGINS",
                    origin,
                    "origins such as https://desk.example.com or http://localhost:3000, without a path"
                );
            }
        }

        foreach (
            var host in options.AllowedHosts.Where(static host => Uri.CheckHostName(host) == UriHostNameType.Unknown)
        )
        {
            throw new Settings.BadValueException(
                "DMB_ALLOWED_HOSTS",
                host,
                "names such as dmb.example.com, without a scheme or port"
            );
        }

        foreach (
            var proxy in options.TrustedProxies.Where(static proxy =>
                !IPAddress.TryParse(proxy, out _) && !System.Net.IPNetwork.TryParse(proxy, out _)
            )
        )
        {
            throw new Settings.BadValueException(
                "DMB_TRUSTED_PROXIES",
                proxy,
                "IP addresses such as 127.0.0.1, and networks such as 10.0.0.0/8"
            );
        }
    }

    private static void CheckAccess(NodeOptions options)
    {
        if (!options.Http.IsLoopback && !options.Access.HasCredentials && options.Access.Auth != "none")
        {
            throw new Settings.BadValueException(
                "DMB_HOST",
                options.Http.Host,
                "a loopback address unless it is said who may come: DMB_KEYS or DMB_KEYS_FILE for hosts, "
                    + "DMB_JWT_SECRET or DMB_JWT_KEYS for users; or DMB_AUTH=none, and everybody who reaches the "
                    + "port may do everything"
            );
        }

        if (options.Access.HasCredentials && options.Access.Auth == "none")
        {
            throw new Settings.BadValueException(
                "DMB_AUTH",
                options.Access.Auth,
                "nothing where there are keys or tokens"
            );
        }

        if (
            options.Access.AuthorizeUrl.Length > 0
            && !(
                Uri.TryCreate(options.Access.AuthorizeUrl, UriKind.Absolute, out var url)
                && url is { Scheme: "http" or "https", UserInfo: "" }
            )
        )
        {
            throw new Settings.BadValueException("DMB_AUTHORIZE_URL", options.Access.AuthorizeUrl, "an http(s):// URL");
        }

        CheckCredentials("DMB_KEYS", Hidden, HostKeys.Form, () => HostKeys.Read(options.Access.Keys));
        CheckCredentials(
            "DMB_KEYS_FILE",
            options.Access.KeysFile,
            HostKeys.Form,
            () => HostKeys.Read(File.ReadAllText(options.Access.KeysFile)),
            options.Access.KeysFile.Length > 0
        );
        CheckCredentials(
            "DMB_JWT_KEYS",
            options.Access.JwtKeys,
            UserTokens.KeysForm,
            () => UserTokens.ReadKeys(File.ReadAllText(options.Access.JwtKeys)),
            options.Access.JwtKeys.Length > 0
        );
        var secretForm = $"{UserTokens.SecretBytesMin} bytes or more";
        CheckCredentials(
            "DMB_JWT_SECRET",
            Hidden,
            secretForm,
            () => UserTokens.ReadSecret(options.Access.JwtSecret),
            options.Access.JwtSecret.Length > 0
        );
        CheckCredentials(
            "DMB_JWT_SECRET_FILE",
            options.Access.JwtSecretFile,
            secretForm,
            () => UserTokens.ReadSecret(File.ReadAllText(options.Access.JwtSecretFile)),
            options.Access.JwtSecretFile.Length > 0
        );
        if (options.Access.JwtSecret.Length > 0 && options.Access.JwtSecretFile.Length > 0)
        {
            throw new Settings.BadValueException(
                "DMB_JWT_SECRET_FILE",
                options.Access.JwtSecretFile,
                "nothing where DMB_JWT_SECRET is set"
            );
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
        catch (FormatException e)
        {
            throw new Settings.BadValueException(setting, shown, $"{form}. Wrong here: {e.Message.TrimEnd('.')}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new Settings.BadValueException(
                setting,
                shown,
                $"a file that this user can read. {e.Message.TrimEnd('.')}"
            );
        }
    }

    private static void CheckBuses(string setting, string[] buses)
    {
        foreach (var bus in buses.Where(bus => !Names.IsRoom(bus)))
        {
            throw new Settings.BadValueException(setting, bus, "names of rooms: 1 to 200 bytes without spaces");
        }
    }
}
