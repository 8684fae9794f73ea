using System.Globalization;
using System.Net.Sockets;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Where Redis is, as the settings have it.</summary>
internal static class RedisEndpoint
{
    private static readonly TimeSpan Detection = TimeSpan.FromMilliseconds(300);

    /// <summary>How to connect, or null for a node that runs alone. Where nothing is set, <c>localhost:6379</c> is tried once.</summary>
    /// <exception cref="Settings.BadValueException">REDIS_URL is not one that can be used.</exception>
    public static async Task<ConfigurationOptions?> FindAsync(BrokerOptions options)
    {
        if (options.RedisUrl.Length > 0)
        {
            return Read(options.RedisUrl);
        }

        return options.RedisHost switch
        {
            "none" => null,
            "" => await AnswersAsync("localhost", options.RedisPort) ? Plain("localhost", options.RedisPort) : null,
            var host => Plain(host, options.RedisPort),
        };
    }

    /// <summary>Reads <c>redis[s]://[:password@]host[:port][/database]</c>.</summary>
    internal static ConfigurationOptions Read(string url)
    {
        const string Form = "redis://[:password@]host[:port][/database], or rediss:// for TLS";
        if (!Uri.TryCreate(url, UriKind.Absolute, out var uri) || uri.Scheme is not ("redis" or "rediss") || uri.Host.Length == 0)
        {
            throw new Settings.BadValueException("REDIS_URL", Masked(url), Form);
        }

        var database = 0;
        var path = uri.AbsolutePath.Trim('/');
        if (path.Length > 0 && !int.TryParse(path, NumberStyles.None, CultureInfo.InvariantCulture, out database))
        {
            throw new Settings.BadValueException("REDIS_URL", Masked(url), Form);
        }

        var (user, password) = uri.UserInfo.Split(':', 2) is [var name, var secret] ? (name, secret) : (uri.UserInfo, "");
        if (user is not ("" or "default"))
        {
            throw new Settings.BadValueException("REDIS_URL", Masked(url), "no user name but `default`, which may be restricted by rules of its own: the Redis client in use cannot send another");
        }

        var found = Plain(uri.Host, uri.Port > 0 ? uri.Port : 6379);
        found.Password = password.Length > 0 ? Uri.UnescapeDataString(password) : null;
        found.DefaultDatabase = database;
        found.Ssl = uri.Scheme == "rediss";
        found.SslHost = uri.Host;
        return found;
    }

    private static string Masked(string url) => url.IndexOf('@', StringComparison.Ordinal) is >= 0 and var at ? "…" + url[at..] : url;

    private static ConfigurationOptions Plain(string host, int port)
    {
        // As tried out: a shorter connectTimeout loses subscriptions without a sign.
        var found = ConfigurationOptions.Parse("abortConnect=false,connectTimeout=5000,syncTimeout=2000,keepAlive=10,connectRetry=1,allowAdmin=false");
        found.EndPoints.Add(host, port);
        found.ClientName = "dmb";
        return found;
    }

    private static async Task<bool> AnswersAsync(string host, int port)
    {
        using var patience = new CancellationTokenSource(Detection, TimeProvider.System);
        using var tcp = new TcpClient();
        try
        {
            await tcp.ConnectAsync(host, port, patience.Token);
            var stream = tcp.GetStream();
            await stream.WriteAsync("PING\r\n"u8.ToArray(), patience.Token);
            var answer = new byte[5];
            await stream.ReadExactlyAsync(answer, patience.Token);
            return answer.AsSpan().SequenceEqual("+PONG"u8);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException)
        {
            // Nothing there, or something else: then the node runs alone, and its first log lines say so.
            return false;
        }
    }
}
