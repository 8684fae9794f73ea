using Dmb.Access;
using Dmb.Backends;
using Dmb.Endpoints;
using Dmb.Http.FastPath;
using Dmb.Redis;
using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Telemetry;
using Dmb.Transport;
using Dmb.Webhooks;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging.Console;

namespace Dmb;

/// <summary>How the parts are put together and the node comes up.</summary>
internal static partial class Services
{
    /// <summary>What the parts of a drained node may take to stop.</summary>
    private static readonly TimeSpan StopMax = TimeSpan.FromSeconds(5);

    /// <summary>Connections that a node should be able to have, whatever it is used for.</summary>
    private const int FewConnections = 10_000;

    /// <summary>Where the server listens, and how it treats connections.</summary>
    public static void ListenAs(this WebApplicationBuilder builder, NodeOptions options)
    {
        builder
            .Services.AddSingleton<ConnectionGate>()
            .AddSingleton<IConnectionListenerFactory, SocketListenerFactory>();

        // Where AllowedHosts limits hosts, the framework's host filter judges all requests.
        var isHostFiltered = builder.Configuration["AllowedHosts"] is not (null or "" or "*");
        Action<ListenOptions> listen =
            options.Http.FastPath == "on" && !isHostFiltered ? FastPathFirst : static _ => { };
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;

            // The authority of an absolute-form target wins over Host (RFC 9112 §3.2.2).
            kestrel.AllowHostHeaderOverride = true;

            kestrel.RequestHeaderEncodingSelector = static header =>
                header == "Content-Length" ? DigitsEncoding.Instance : null;

            kestrel.Limits.KeepAliveTimeout = FastPathConnection.KeepAliveTimeout;

            // A client that sends a byte at a time holds a connection, and no more than that, for so long.
            kestrel.Limits.RequestHeadersTimeout = options.Transport.HeadersTimeout;
            kestrel.Limits.MinRequestBodyDataRate = new MinDataRate(
                bytesPerSecond: 240,
                gracePeriod: TimeSpan.FromSeconds(5)
            );
            kestrel.Limits.MaxRequestBodySize = Math.Max(options.Http.MaxBatchBytes, options.Routing.MaxMessageBytes);
            if (options.Http.Address is { } address)
            {
                kestrel.Listen(address, options.Http.Port, listen);
            }
            else
            {
                kestrel.ListenAnyIP(options.Http.Port, listen);
            }
        });
        builder
            .Logging.AddFilter("Microsoft", LogLevel.Warning)
            // A start that fails is thrown to Program, which says it in a line; a service that fails is critical.
            .AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.Critical);
        if (options.Log.Log == "json")
        {
            builder.Logging.AddJsonConsole(static console => console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffzzz");
        }
        else
        {
            builder.Logging.AddSimpleConsole(static console =>
            {
                console.SingleLine = true;
                console.TimestampFormat = "yyyy-MM-ddTHH:mm:ss.fffzzz ";
            });
        }

        // It would open a logging scope for each request, which nothing here shows, and log URLs, in which a token may
        // be. So it is off whatever the configuration says, for all providers and for each that has levels of its own.
        builder.Services.PostConfigure<LoggerFilterOptions>(filters =>
        {
            foreach (var provider in filters.Rules.Select(rule => rule.ProviderName).Append(null).Distinct().ToArray())
            {
                filters.Rules.Add(
                    new LoggerFilterRule(
                        provider,
                        "Microsoft.AspNetCore.Hosting.Diagnostics",
                        LogLevel.None,
                        filter: null
                    )
                );
            }
        });

        // A slow reader of the log does not hold up a message.
        builder.Services.Configure<ConsoleLoggerOptions>(console =>
            console.QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite
        );
    }

    private static void FastPathFirst(ListenOptions listen) =>
        listen.Use(listen.ApplicationServices.GetRequiredService<FastPathMiddleware>().Before);

    /// <summary>The settings, each class for the folder that owns it.</summary>
    public static void AddOptions(this WebApplicationBuilder builder, NodeOptions options) =>
        builder
            .Services.AddSingleton(options.Http)
            .AddSingleton(options.Access)
            .AddSingleton(options.Routing)
            .AddSingleton(options.History)
            .AddSingleton(options.Transport)
            .AddSingleton(options.Sockets)
            .AddSingleton(options.Backends)
            .AddSingleton(options.Webhooks)
            .AddSingleton(options.Redis);

    /// <summary>Routing: events, rooms, publishing and fan-out.</summary>
    public static void AddBroker(this WebApplicationBuilder builder)
    {
        builder
            .Services.AddSingleton(TimeProvider.System)
            .AddSingleton<BrokerTelemetry>()
            .AddSingleton<MetricsPage>()
            .AddHostedService<OtlpExport>()
            .AddSingleton<EventTable>()
            .AddSingleton<RoomTable>()
            .AddSingleton<RoomJoins>()
            .AddSingleton<HistoryPolicy>()
            .AddSingleton<IdempotencyTable>()
            .AddSingleton<Tail>()
            .AddSingleton<FanOut>()
            .AddSingleton<Publisher>()
            .AddSingleton<BackplaneState>()
            .AddSingleton<ClusterQuestions>()
            .AddSingleton<BackendServices>()
            .AddSingleton<WebhookTable>()
            .AddSingleton<WebhookClient>()
            .AddSingleton<WebhookRegistration>()
            .AddSingleton<WebhookAnswers>()
            .AddHostedService<WebhookDelivery>()
            .AddHostedService(services => services.GetRequiredService<FanOut>());
    }

    /// <summary>What carries messages between nodes: Redis, or, without it, this node's own loop.</summary>
    public static void AddBackplane(this WebApplicationBuilder builder, RedisEndpoint? redis)
    {
        if (redis is null)
        {
            builder.Services.AddSingleton<ICluster, LocalCluster>();
            builder
                .Services.AddSingleton<LocalHistory>()
                .AddSingleton<IBackplane, LocalBackplane>()
                .AddSingleton<LocalBackendStore>()
                .AddSingleton<IBackendStore>(services => services.GetRequiredService<LocalBackendStore>())
                .AddSingleton<IWebhookStore, LocalWebhookStore>();
            return;
        }

        builder
            .Services.AddSingleton(redis)
            .AddSingleton<RedisNode>()
            .AddSingleton<RedisConnection>()
            .AddSingleton<RedisCluster>()
            .AddSingleton<ICluster>(services => services.GetRequiredService<RedisCluster>())
            .AddSingleton<RedisHistory>()
            .AddSingleton<MessageLog>()
            .AddSingleton<PublishCalls>()
            .AddSingleton<RedisRooms>()
            .AddSingleton<RoomCounts>()
            .AddSingleton<RedisReceiver>()
            .AddSingleton<RedisPublisher>()
            .AddSingleton<SharedEvents>()
            .AddSingleton<NotifyInput>()
            .AddSingleton<BackendInput>()
            .AddSingleton<RedisInputs>()
            .AddSingleton<IWebhookStore, LocalWebhookStore>()
            .AddSingleton<RedisBackendUsers>()
            .AddSingleton<RedisBackendStore>()
            .AddSingleton<IBackendStore>(services => services.GetRequiredService<RedisBackendStore>())
            .AddSingleton<IBackplane, RedisBackplane>()
            .AddHostedService(services => services.GetRequiredService<RedisReceiver>())
            .AddHostedService(services => services.GetRequiredService<RedisInputs>())
            .AddHostedService<RedisSupervisor>();
    }

    /// <summary>Who is calling, what they may do, and how much of it.</summary>
    public static void AddAccess(this WebApplicationBuilder builder, AccessOptions options)
    {
        builder
            .Services.AddSingleton<AccessRules>()
            .AddSingleton(new HostKeys(HostKeys.Read(options.Keys)))
            .AddSingleton<Credentials>()
            .AddSingleton<Authentication>()
            .AddSingleton<Limits>();
        if (options.HasTokens)
        {
            builder.Services.AddSingleton<UserTokens>();
        }

        if (options.HasCredentials)
        {
            builder.Services.AddHostedService<CredentialFiles>();
        }
    }

    /// <summary>Frontend clients: sessions and what keeps them alive.</summary>
    public static void AddSockets(this WebApplicationBuilder builder, SocketOptions options)
    {
        builder
            .Services.Configure<HostOptions>(host =>
                host.ShutdownTimeout = Drain.DurationMax(options) + RedisSupervisor.FlushMax + StopMax
            )
            .AddSingleton<SessionTable>()
            .AddSingleton<SocketBroker>()
            .AddSingleton<SocketSessions>()
            .AddSingleton<EngineIoSessions>()
            .AddSingleton<Drain>()
            .AddHostedService<KeepAlive>()
            .AddHostedService(services => services.GetRequiredService<Drain>());
    }

    /// <summary>What HTTP needs besides: JSON, origins, compressed bodies.</summary>
    public static void AddHttp(this WebApplicationBuilder builder, HttpOptions options)
    {
        builder
            .Services.AddSingleton<PushHandler>()
            .AddSingleton<BatchHandler>()
            .AddSingleton<TrustedProxies>()
            .AddSingleton<RequestTelemetry>()
            .AddSingleton<PushResponseWriter>()
            .AddSingleton<FastPathMiddleware>()
            .AddSingleton<OriginCheck>()
            .AddSingleton<NodeAnswers>()
            .AddSingleton<TailFeed>()
            .AddSingleton<StatsSampler>()
            .AddHostedService(services => services.GetRequiredService<StatsSampler>())
            .AddSingleton<HostCheck>()
            .AddSingleton<UnfinishedBodies>()
            .AddRequestDecompression()
            .AddCors(cors =>
                cors.AddDefaultPolicy(policy =>
                    policy.WithOrigins(options.AsciiOrigins).AllowAnyHeader().AllowAnyMethod()
                )
            );
    }

    /// <summary>What trusted reverse proxies say of a request's scheme, host and address holds.</summary>
    public static void UseTrustedProxies(this WebApplication app)
    {
        var proxies = app.Services.GetRequiredService<TrustedProxies>();
        if (proxies.IsOn)
        {
            app.Use(
                (context, next) =>
                {
                    proxies.Apply(context);
                    return next(context);
                }
            );
        }
    }

    /// <summary>While the node drains, each answer is the last on its connection, and says so.</summary>
    public static void UseDrain(this WebApplication app)
    {
        var sessions = app.Services.GetRequiredService<SessionTable>();
        app.Use(
            (context, next) =>
            {
                if (sessions.IsDraining)
                {
                    context.Features.GetRequiredFeature<IConnectionLifetimeNotificationFeature>().RequestClose();
                }

                return next(context);
            }
        );
    }

    /// <summary>A base URL that ends in a slash makes <c>//_notify/…</c>: the same path.</summary>
    public static void UseBrokerPaths(this WebApplication app) =>
        app.Use(
            (context, next) =>
            {
                if (context.Request.Path.Value is ['/', '/', ..] path)
                {
                    // Not converted from a string, which would decode the path a second time.
                    context.Request.Path = new PathString("/" + path.TrimStart('/'));
                }

                return next(context);
            }
        );

    /// <summary>The first lines of the log: where it listens, what it runs on, what to type next.</summary>
    public static void LogStartup(this WebApplication app, NodeOptions options, RedisEndpoint? redis)
    {
        app.Lifetime.ApplicationStarted.Register(() =>
        {
            var address = app
                .Services.GetRequiredService<IServer>()
                .Features.Get<IServerAddressesFeature>()!
                .Addresses.First();
            var here = new UriBuilder(address);
            if (!options.Http.IsLoopback)
            {
                here.Host = "localhost";
            }

            LogListening(app.Logger, BuildInfo.Version, address);
            if (redis is null)
            {
                LogEmbedded(app.Logger);
            }
            else
            {
                LogRedis(app.Logger, redis.Host, redis.Port, options.Redis.Prefix);
            }

            LogNext(app.Logger, here.Uri.Authority, options.Access.HasCredentials ? "-H \"X-Api-Key: $KEY\" " : "");
            if (options.Access.Auth == "none" && !options.Http.IsLoopback)
            {
                LogOpen(app.Logger);
            }

            var gate = app.Services.GetRequiredService<ConnectionGate>();
            // The default is a ceiling that many machines can't hold; it is worth a word only where there is little.
            if (
                options.Sockets.MaxSessions > gate.ConnectionsMax
                && (
                    options.Sockets.MaxSessions != new SocketOptions().MaxSessions
                    || gate.ConnectionsMax < FewConnections
                )
            )
            {
                LogFewFiles(app.Logger, gate.FilesMax, gate.ConnectionsMax, options.Sockets.MaxSessions);
            }

            foreach (var (name, meant) in Settings.Unknown(app.Configuration))
            {
                LogUnknownSetting(app.Logger, name, meant is null ? "" : $" Did you mean {meant}?");
            }
        });
    }

    [LoggerMessage(1, LogLevel.Information, "DMB {Version} listens on {Address}.")]
    private static partial void LogListening(ILogger logger, string version, string address);

    [LoggerMessage(2, LogLevel.Information, "Backplane: embedded, one node, nothing installed beside it.")]
    private static partial void LogEmbedded(ILogger logger);

    [LoggerMessage(5, LogLevel.Information, "Backplane: Redis at {Host}:{Port}, channels and keys {Prefix}*.")]
    private static partial void LogRedis(ILogger logger, string host, int port, string prefix);

    [LoggerMessage(
        3,
        LogLevel.Information,
        "Next: open http://{Host}/, or: curl -N {Key}'http://{Host}/events?room=support' and, in another window: "
            + "curl {Key}-d '{{}}' http://{Host}/_notify/report_csr"
    )]
    private static partial void LogNext(ILogger logger, string host, string key);

    [LoggerMessage(
        6,
        LogLevel.Warning,
        "No credentials are asked for: every client that reaches this port may do everything."
    )]
    private static partial void LogOpen(ILogger logger);

    [LoggerMessage(
        7,
        LogLevel.Warning,
        "{Files} files may be open (ulimit -n, LimitNOFILE=), enough for {Connections} connections; "
            + "DMB_MAX_SESSIONS is {Sessions}."
    )]
    private static partial void LogFewFiles(ILogger logger, long files, long connections, int sessions);

    [LoggerMessage(4, LogLevel.Warning, "There is no setting {Name}; --help prints those there are.{Meant}")]
    private static partial void LogUnknownSetting(ILogger logger, string name, string meant);
}
