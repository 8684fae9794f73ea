using System.Globalization;
using System.Net;
using System.Net.Sockets;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The address and credentials of Redis, by the settings. Without one the client library is not loaded.
/// </summary>
/// <param name="Host">A name or an address.</param>
/// <param name="Port">The port.</param>
/// <param name="Password">The password, or null.</param>
/// <param name="Database">The number of the database.</param>
/// <param name="IsTls">Whether to use TLS.</param>
/// <param name="PasswordFile">A file with the password, read at each attempt to connect; null for none.</param>
internal sealed record RedisEndpoint(
    string Host,
    int Port,
    string? Password = null,
    int Database = 0,
    bool IsTls = false,
    string? PasswordFile = null
)
{
    private static readonly TimeSpan Detection = TimeSpan.FromMilliseconds(300);

    /// <summary>
    /// Determines the endpoint; null for a single node. Without settings, tries <c>localhost:6379</c> once.
    /// </summary>
    /// <exception cref="FormatException">REDIS_URL is invalid; the message has the accepted form.</exception>
    public static async Task<RedisEndpoint?> FindAsync(RedisOptions options)
    {
        var file = options.RedisPasswordFile is { Length: > 0 } name ? name : null;
        if (options.RedisUrl.Length > 0)
        {
            return Read(options.RedisUrl) with { PasswordFile = file };
        }

        return options.RedisHost switch
        {
            "none" => null,
            "" => file is not null || await AnswersAsync("localhost", options.RedisPort)
                ? new RedisEndpoint("localhost", options.RedisPort, PasswordFile: file)
                : null,
            var host => new RedisEndpoint(WithoutBrackets(host), options.RedisPort, PasswordFile: file),
        };
    }

    /// <summary>Parses <c>redis[s]://[:password@]host[:port][/database]</c>.</summary>
    /// <exception cref="FormatException">It does not have that form; the message has the accepted form.</exception>
    internal static RedisEndpoint Read(string url)
    {
        const string Form = "redis://[:password@]host[:port][/database], or rediss:// for TLS";
        if (
            !Uri.TryCreate(url, UriKind.Absolute, out var uri)
            || uri.Scheme is not ("redis" or "rediss")
            || uri.Host.Length == 0
        )
        {
            throw new FormatException(Form);
        }

        var database = 0;
        var path = uri.AbsolutePath.Trim('/');
        if (path.Length > 0 && !int.TryParse(path, NumberStyles.None, CultureInfo.InvariantCulture, out database))
        {
            throw new FormatException(Form);
        }

        var (user, password) = uri.UserInfo.Split(':', 2) is [var name, var secret]
            ? (name, secret)
            : (uri.UserInfo, "");
        if (user is not ("" or "default"))
        {
            throw new FormatException(
                "no user name but `default`, which may be restricted by rules of its own: the Redis client in use "
                    + "cannot send another"
            );
        }

        return new RedisEndpoint(
            WithoutBrackets(uri.Host),
            uri.Port > 0 ? uri.Port : 6379,
            password.Length > 0 ? Uri.UnescapeDataString(password) : null,
            database,
            uri.Scheme == "rediss"
        );
    }

    /// <summary>Reads the password, from its file if there is one; null for none.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public string? ReadPassword() =>
        PasswordFile is null ? Password : File.ReadAllText(PasswordFile).TrimEnd('\r', '\n');

    /// <summary>Creates the client library's options.</summary>
    /// <param name="address">
    /// The address of <see cref="Host"/> that answered, since the library does not try a name's IPv6 addresses.
    /// </param>
    /// <param name="password">The password, or null.</param>
    public ConfigurationOptions ToOptions(IPEndPoint address, string? password)
    {
        // Found by tests: a shorter connectTimeout loses subscriptions silently.
        var options = ConfigurationOptions.Parse(
            "abortConnect=false,connectTimeout=5000,syncTimeout=2000,keepAlive=10,connectRetry=1,allowAdmin=false"
        );
        options.EndPoints.Add(address);
        options.ClientName = "dmb";
        (options.Password, options.DefaultDatabase, options.Ssl, options.SslHost) = (
            password,
            Database,
            IsTls,
            IsTls ? Host : null
        );
        return options;
    }

    /// <summary>
    /// The URL without its credentials: everything before the last <c>@</c>; the whole text if it is not a URL.
    /// </summary>
    internal static string Masked(string url) =>
        url.LastIndexOf('@') is >= 0 and var at ? "…" + url[at..]
        : Uri.TryCreate(url, UriKind.Absolute, out _) ? url
        : "…";

    private static string WithoutBrackets(string host) => host is ['[', .. var address, ']'] ? address : host;

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
            // No Redis there: the node runs as a single node, as its first log lines show.
            return false;
        }
    }
}
