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
/// <param name="User">The ACL user; null for <c>default</c>.</param>
/// <param name="PasswordFile">A file with the password, read at each attempt to connect; null for none.</param>
internal sealed record RedisEndpoint(
    string Host,
    int Port,
    string? Password = null,
    int Database = 0,
    bool IsTls = false,
    string? User = null,
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

    /// <summary>Parses <c>redis[s]://[[user]:password@]host[:port][/database]</c>.</summary>
    /// <exception cref="FormatException">It does not have that form; the message has the accepted form.</exception>
    internal static RedisEndpoint Read(string url)
    {
        const string Form = "redis://[[user]:password@]host[:port][/database], or rediss:// for TLS";
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
        return new RedisEndpoint(
            WithoutBrackets(uri.Host),
            uri.Port > 0 ? uri.Port : 6379,
            password.Length > 0 ? Uri.UnescapeDataString(password) : null,
            database,
            uri.Scheme == "rediss",
            user is "" or "default" ? null : Uri.UnescapeDataString(user)
        );
    }

    /// <summary>Reads the password, from its file if there is one; null for none.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public string? ReadPassword() =>
        PasswordFile is null ? Password : File.ReadAllText(PasswordFile).TrimEnd('\r', '\n');

    /// <summary>
    /// How the client library connects for commands. It subscribes to nothing, and does not go on without a connection:
    /// <see cref="RedisSupervisor"/> makes a new link.
    /// </summary>
    /// <param name="address">The address of <see cref="Host"/> that answered.</param>
    /// <param name="password">The password, or null.</param>
    public ConfigurationOptions ToOptions(IPEndPoint address, string? password) =>
        new()
        {
            EndPoints = { address },
            ClientName = "dmb",
            User = User,
            Password = User is null ? password : password ?? "",
            DefaultDatabase = Database,
            Ssl = IsTls,
            SslHost = IsTls ? Host : null,
            Protocol = RedisProtocol.Resp2,
            AbortOnConnectFail = true,
            ConnectRetry = 1,
            ConnectTimeout = 5_000,
            // The link has a time for each command.
            AsyncTimeout = 60_000,
            BacklogPolicy = BacklogPolicy.FailFast,
            SetClientLibrary = false,
            TieBreaker = "",
            ConfigurationChannel = "",
            CommandMap = CommandMap.Create(
                ["SUBSCRIBE", "UNSUBSCRIBE", "PSUBSCRIBE", "PUNSUBSCRIBE", "CONFIG", "CLUSTER", "SENTINEL"],
                available: false
            ),
        };

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
