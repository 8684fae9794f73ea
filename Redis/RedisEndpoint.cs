using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
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
/// <param name="Discovery">
/// Who says where the server is, at each attempt to connect; then it has no host and no port. Null: it is always there.
/// </param>
/// <param name="IsClustered">Whether it is to be one of a Redis Cluster.</param>
internal sealed partial record RedisEndpoint(
    string Host,
    int Port,
    string? Password = null,
    int Database = 0,
    bool IsTls = false,
    string? User = null,
    string? PasswordFile = null,
    RedisDiscovery? Discovery = null,
    bool IsClustered = false
)
{
    private const int DefaultPort = 6379;
    private const int SentinelPort = 26379;
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
            return Read(options.RedisUrl).WithPasswordFiles(file, options.RedisSentinelPasswordFile);
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

    /// <summary>
    /// Parses <c>redis[s]://[[user]:password@]host[:port][/database]</c>, or the same with several hosts, the
    /// sentinels, and <c>?sentinel=master[&amp;sentinel_user=…][&amp;sentinel_password=…]</c> at the end; or with
    /// servers of a Redis Cluster and <c>?cluster=true</c>.
    /// </summary>
    /// <exception cref="FormatException">It does not have that form; the message has the accepted form.</exception>
    internal static RedisEndpoint Read(string url)
    {
        const string Form =
            "redis://[[user]:password@]host[:port][/database], or rediss:// for TLS; or with sentinels "
            + "redis://[[user]:password@]host[:port],host[:port][/database]?sentinel=master; or a cluster "
            + "redis://[[user]:password@]host[:port],host[:port]?cluster=true";
        var parts = Parts().Match(url);
        var number = parts.Groups["database"].Value;
        if (
            !parts.Success
            || !int.TryParse("0" + number, NumberStyles.None, CultureInfo.InvariantCulture, out var database)
            || ReadQuery(parts.Groups["query"].Value) is not { } query
        )
        {
            throw new FormatException(Form);
        }

        var (user, password) = ReadLogin(parts.Groups["login"].Value);
        var endpoint = new RedisEndpoint(
            "",
            0,
            password,
            database,
            parts.Groups["scheme"].Value.Equals("rediss", StringComparison.OrdinalIgnoreCase),
            user
        );
        var hosts = parts.Groups["hosts"].Value.Split(',');
        var addresses = new List<RedisEndpoint>();
        foreach (var host in hosts)
        {
            if (
                !Uri.TryCreate($"redis://{host}", UriKind.Absolute, out var uri)
                || uri.Host.Length == 0
                || uri.AbsolutePath.Trim('/').Length > 0
            )
            {
                throw new FormatException(Form);
            }

            addresses.Add(endpoint with { Host = WithoutBrackets(uri.Host), Port = uri.Port });
        }

        if (query.Remove("cluster", out var isCluster))
        {
            return isCluster == "true" && query.Count == 0 && database == 0
                ? endpoint with
                {
                    Discovery = new RedisSeeds([.. addresses.Select(WithPort)]),
                }
                : throw new FormatException(Form);
        }

        if (!query.TryGetValue("sentinel", out var master))
        {
            return hosts.Length == 1 && query.Count == 0 ? WithPort(addresses[0]) : throw new FormatException(Form);
        }

        // Sentinels have a password of their own, or that of the servers.
        var hasOwn = query.ContainsKey("sentinel_user") || query.ContainsKey("sentinel_password");
        return endpoint with
        {
            Discovery = new RedisSentinels(
                master,
                [
                    .. addresses.Select(address =>
                        address with
                        {
                            Port = address.Port > 0 ? address.Port : SentinelPort,
                            Database = 0,
                            User = hasOwn ? query.GetValueOrDefault("sentinel_user") : user,
                            Password = hasOwn ? query.GetValueOrDefault("sentinel_password") : password,
                        }
                    ),
                ]
            ),
        };
    }

    /// <summary>As the log names it.</summary>
    public override string ToString() => Discovery?.ToString() ?? $"{Host}:{Port}";

    /// <summary>The words of AUTH; none without a password.</summary>
    public string[] Login(string? password) =>
        User is not null ? ["AUTH", User, password ?? ""]
        : password is not null ? ["AUTH", password]
        : [];

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
            // Without INFO the library does not find out that it is a cluster, whose other servers it would use.
            // Without UNLINK it sends DEL, which the ACL rule of docs/operations.md has.
            CommandMap = CommandMap.Create(
                [
                    "SUBSCRIBE",
                    "UNSUBSCRIBE",
                    "PSUBSCRIBE",
                    "PUNSUBSCRIBE",
                    "CONFIG",
                    "CLUSTER",
                    "SENTINEL",
                    "UNLINK",
                    .. IsClustered ? (string[])["INFO"] : [],
                ],
                available: false
            ),
        };

    /// <summary>
    /// The URL without its credentials: everything before the last <c>@</c> and the values behind <c>?</c>; the whole
    /// text if it is not a URL.
    /// </summary>
    internal static string Masked(string url)
    {
        var shown = QueryValues().Replace(url, "=…");
        return shown.LastIndexOf('@') is >= 0 and var at ? "…" + shown[at..]
            : Uri.TryCreate(url, UriKind.Absolute, out _) ? shown
            : "…";
    }

    private static RedisEndpoint WithPort(RedisEndpoint server) =>
        server.Port > 0 ? server : server with { Port = DefaultPort };

    private RedisEndpoint WithPasswordFiles(string? file, string sentinelFile) =>
        this with
        {
            PasswordFile = file,
            Discovery = Discovery switch
            {
                RedisSentinels sentinels => sentinels with
                {
                    Addresses =
                    [
                        .. sentinels.Addresses.Select(address =>
                            address with
                            {
                                PasswordFile =
                                    sentinelFile.Length > 0 ? sentinelFile
                                    : address.Password == Password && address.User == User ? file
                                    : null,
                            }
                        ),
                    ],
                },
                RedisSeeds seeds => new RedisSeeds([
                    .. seeds.Addresses.Select(address => address with { PasswordFile = file }),
                ]),
                _ => null,
            },
        };

    private static (string? User, string? Password) ReadLogin(string login)
    {
        var (user, password) = login.Split(':', 2) is [var name, var secret] ? (name, secret) : (login, "");
        return (
            user is "" or "default" ? null : Uri.UnescapeDataString(user),
            password.Length > 0 ? Uri.UnescapeDataString(password) : null
        );
    }

    /// <summary>The names and values behind the <c>?</c>; null if one is unknown, twice there or empty.</summary>
    private static Dictionary<string, string>? ReadQuery(string text)
    {
        var query = new Dictionary<string, string>();
        foreach (var item in text.Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            if (
                item.Split('=', 2)
                    is not [("cluster" or "sentinel" or "sentinel_user" or "sentinel_password") and var name, not ""]
                || !query.TryAdd(name, Uri.UnescapeDataString(item[(name.Length + 1)..]))
            )
            {
                return null;
            }
        }

        return query;
    }

    [GeneratedRegex(
        @"^(?<scheme>rediss?)://(?:(?<login>[^/?#]*)@)?(?<hosts>[^/?#@]+)(?:/(?<database>\d*)/?)?(?:\?(?<query>.*))?$",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture
    )]
    private static partial Regex Parts();

    [GeneratedRegex("(?<=[?].*)=[^&]*")]
    private static partial Regex QueryValues();

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
