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
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging.Console;

namespace Dmb;

/// <summary>Composes the node: server, options and services.</summary>
internal static partial class Services
{
    /// <summary>Limit for the services of a drained node to stop.</summary>
    private static readonly TimeSpan StopMax = TimeSpan.FromSeconds(5);

    /// <summary>Connections below which the limit of open files is logged as low.</summary>
    private const int FewConnections = 10_000;

    /// <summary>Configures Kestrel's endpoints, limits and logging.</summary>
    public static void ListenAs(this WebApplicationBuilder builder, NodeOptions options)
    {
        builder
            .Services.AddSingleton<ConnectionGate>()
            .AddSingleton<IConnectionListenerFactory, SocketListenerFactory>();

        // With AllowedHosts the framework's host filter has to see all requests.
        var isHostFiltered = builder.Configuration["AllowedHosts"] is not (null or "" or "*");
        Action<ListenOptions> listen =
            options.Http.FastPath == "on" && !isHostFiltered ? FastPathFirst : static _ => { };
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;

            // The authority of an absolute-form target overrides Host (RFC 9112 §3.2.2).
            kestrel.AllowHostHeaderOverride = true;

            kestrel.RequestHeaderEncodingSelector = static header =>
                header == "Content-Length" ? DigitsEncoding.Instance : null;

            kestrel.Limits.KeepAliveTimeout = FastPathConnection.KeepAliveTimeout;

            // Limits how long a slow client can hold a connection before its headers are complete.
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
            // Program reports a failed start in one line; a failed service is logged as critical.
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

        // Disabled regardless of configuration, also for providers with their own levels: it opens a logging scope per
        // request, and logs URLs, which can contain a token.
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

        // A full log queue drops lines instead of blocking messages.
        builder.Services.Configure<ConsoleLoggerOptions>(console =>
            console.QueueFullMode = ConsoleLoggerQueueFullMode.DropWrite
        );
    }

    private static void FastPathFirst(ListenOptions listen) =>
        listen.Use(listen.ApplicationServices.GetRequiredService<FastPathMiddleware>().Before);

    /// <summary>Registers the options classes.</summary>
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

    /// <summary>Registers routing: events, rooms, publishing and fan-out.</summary>
    public static void AddBroker(this WebApplicationBuilder builder)
    {
        builder
            .Services.AddSingleton(TimeProvider.System)
            .AddSingleton<BrokerTelemetry>()
            .AddSingleton<MetricsPage>()
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
            .AddSingleton<WebhookTelemetry>()
            .AddSingleton<DeadLetterReplay>()
            .AddSingleton<WebhookDelivery>()
            .AddHostedService(services => services.GetRequiredService<WebhookDelivery>())
            .AddHostedService<WebhookFile>()
            .AddHostedService(services => services.GetRequiredService<FanOut>());
        if (TelemetryExport.IsOn)
        {
            builder.Services.AddHostedService<TelemetryExport>();
        }
    }

    /// <summary>Registers the backplane and backend store: on Redis, or in memory for a single node.</summary>
    public static void AddBackplane(this WebApplicationBuilder builder, RedisEndpoint? redis, RoutingOptions options)
    {
        if (redis is null)
        {
            builder.Services.AddSingleton<ICluster, LocalCluster>();
            builder
                .Services.AddSingleton<LocalHistory>()
                .AddSingleton<IBackplane, LocalBackplane>()
                .AddSingleton<LocalBackendStore>()
                .AddSingleton<IBackendStore>(services => services.GetRequiredService<LocalBackendStore>())
                .AddSingleton<IWebhookStore, LocalWebhookStore>()
                .AddSingleton<IDeadLetters, LocalDeadLetters>();
            return;
        }

        builder
            .Services.AddSingleton(redis)
            .AddSingleton<RedisNode>()
            .AddSingleton<RedisGroups>()
            .AddSingleton(services => services.GetRequiredService<RedisGroups>().First.Connection)
            .AddSingleton(services => services.GetRequiredService<RedisGroups>().First.Receiver)
            .AddSingleton(services => services.GetRequiredService<RedisGroups>().First.Publisher)
            .AddSingleton<RedisServers>()
            .AddSingleton<RedisLayout>()
            .AddSingleton<FirstGroup>()
            .AddSingleton<RedisCluster>()
            .AddSingleton<ICluster>(services => services.GetRequiredService<RedisCluster>())
            .AddSingleton<PoisonedKeys>()
            .AddSingleton<SharedEvents>()
            .AddSingleton<NotifyInput>()
            .AddSingleton<EmitterInput>()
            .AddSingleton<BackendInput>()
            .AddSingleton<RedisInputs>()
            .AddSingleton<RedisWebhookStore>()
            .AddSingleton<IWebhookStore>(services => services.GetRequiredService<RedisWebhookStore>())
            .AddSingleton<IDeadLetters, RedisDeadLetters>()
            .AddSingleton<RedisBackendUsers>()
            .AddSingleton<RedisBackendStore>()
            .AddSingleton<IBackendStore>(services => services.GetRequiredService<RedisBackendStore>())
            .AddSingleton<RedisBackplane>()
            .AddSingleton<IBackplane>(services => services.GetRequiredService<RedisBackplane>())
            .AddHostedService(services => services.GetRequiredService<RedisGroups>());
        if (!options.IsPublishOnly)
        {
            builder.Services.AddHostedService(services => services.GetRequiredService<RedisInputs>());
        }

        builder.Services.AddHostedService<RedisSupervisors>();
        if (!options.IsPublishOnly)
        {
            builder.Services.AddHostedService<RedisWebhooks>();
        }
    }

    /// <summary>Registers authentication, authorization and rate limits.</summary>
    public static void AddAccess(this WebApplicationBuilder builder, AccessOptions options)
    {
        builder
            .Services.AddSingleton<AccessRules>()
            .AddSingleton(new HostKeys(HostKeys.Read(options.Keys)))
            .AddSingleton<Credentials>()
            .AddSingleton<Authentication>()
            .AddSingleton<Limits>();
        if (options.AuthorizeUrl.Length > 0)
        {
            builder.Services.AddSingleton<AuthorizeUrl>();
        }

        if (options.HasTokens)
        {
            builder.Services.AddSingleton<UserTokens>();
        }

        if (options.HasCredentials)
        {
            builder.Services.AddHostedService<CredentialFiles>();
        }
    }

    /// <summary>Registers sessions, keep-alive and draining.</summary>
    public static void AddSockets(this WebApplicationBuilder builder, SocketOptions options)
    {
        builder
            .Services.Configure<HostOptions>(host =>
                host.ShutdownTimeout = Drain.DurationMax(options) + RedisSupervisors.FlushMax + StopMax
            )
            .AddSingleton<SessionTable>()
            .AddSingleton<SocketBroker>()
            .AddSingleton<SocketSessions>()
            .AddSingleton<EngineIoSessions>()
            .AddSingleton<Drain>()
            .AddHostedService<KeepAlive>()
            .AddHostedService(services => services.GetRequiredService<Drain>());
    }

    /// <summary>Registers HTTP services: JSON, CORS, decompression.</summary>
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

    /// <summary>Applies forwarded headers of trusted proxies.</summary>
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

    /// <summary>Closes each connection after its response while the node drains.</summary>
    public static void UseDrain(this WebApplication app)
    {
        var sessions = app.Services.GetRequiredService<SessionTable>();
        app.Use(
            (context, next) =>
            {
                if (sessions.IsDraining)
                {
                    context.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
                }

                return next(context);
            }
        );
    }

    /// <summary>
    /// Collapses leading slashes: a client's base URL with a trailing slash yields <c>//_notify/…</c>.
    /// </summary>
    public static void UseBrokerPaths(this WebApplication app) =>
        app.Use(
            (context, next) =>
            {
                if (context.Request.Path.Value is ['/', '/', ..] path)
                {
                    // By the constructor, since the conversion from a string would decode the path again.
                    context.Request.Path = new PathString("/" + path.TrimStart('/'));
                }

                return next(context);
            }
        );

    /// <summary>
    /// Logs the start: addresses, backplane, and first commands to try. Then makes the threads that are needed later.
    /// </summary>
    public static void LogStartup(this WebApplication app, NodeOptions options, RedisEndpoint? redis)
    {
        app.Lifetime.ApplicationStarted.Register(() =>
        {
            _ = WorkerThreads.Start().Exhausted.ContinueWith(_ => LogNoThread(app.Logger), TaskScheduler.Default);

            // A server without addresses listens nowhere: it is called within its process.
            var address = app
                .Services.GetRequiredService<IServer>()
                .Features.Get<IServerAddressesFeature>()
                ?.Addresses.FirstOrDefault();
            if (address is not null)
            {
                LogListening(app.Logger, BuildInfo.Version, address);
            }

            if (redis is null)
            {
                LogEmbedded(
                    app.Logger,
                    options.Redis.RedisHost == "none"
                        ? "REDIS_HOST is none"
                        : $"no Redis at localhost:{options.Redis.RedisPort}"
                );
            }
            else
            {
                LogRedis(app.Logger, redis.ToString(), options.Redis.Prefix);
            }

            if (address is not null)
            {
                var here = new UriBuilder(address);
                here.Host = options.Http.IsLoopback ? here.Host : "localhost";
                var key = options.Access.HasCredentials ? "-H \"X-Api-Key: $KEY\" " : "";
                if (options.Routing.IsPublishOnly)
                {
                    LogPublishOnly(app.Logger, key, here.Uri.Authority);
                }
                else
                {
                    LogNext(app.Logger, here.Uri.Authority, key);
                }
            }

            if (options.Access.Auth == "none" && !options.Http.IsLoopback)
            {
                LogOpen(app.Logger);
            }

            var gate = app.Services.GetRequiredService<ConnectionGate>();
            // The default of DMB_MAX_SESSIONS exceeds many machines' limits: with it, warn only below FewConnections.
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

    [LoggerMessage(2, LogLevel.Information, "Backplane: embedded, one node alone: {Why}.")]
    private static partial void LogEmbedded(ILogger logger, string why);

    [LoggerMessage(5, LogLevel.Information, "Backplane: Redis at {Redis}, channels and keys {Prefix}*.")]
    private static partial void LogRedis(ILogger logger, string redis, string prefix);

    [LoggerMessage(
        3,
        LogLevel.Information,
        "Next: open http://{Host}/, or: curl -N {Key}'http://{Host}/events?room=support' and, in another window: "
            + "curl {Key}-d '{{}}' http://{Host}/_notify/report_csr"
    )]
    private static partial void LogNext(ILogger logger, string host, string key);

    [LoggerMessage(
        8,
        LogLevel.Information,
        "Role publish: pushes and registrations only; sockets and streams are on nodes with DMB_ROLE=all. Next: "
            + "curl {Key}-d '{{}}' http://{Host}/_notify/report_csr"
    )]
    private static partial void LogPublishOnly(ILogger logger, string key, string host);

    [LoggerMessage(
        6,
        LogLevel.Warning,
        "No credentials are required: every client that reaches this port may do everything."
    )]
    private static partial void LogOpen(ILogger logger);

    [LoggerMessage(
        7,
        LogLevel.Warning,
        "{Files} files may be open (ulimit -n, LimitNOFILE=), enough for {Connections} connections; "
            + "DMB_MAX_SESSIONS is {Sessions}."
    )]
    private static partial void LogFewFiles(ILogger logger, long files, long connections, int sessions);

    [LoggerMessage(
        9,
        LogLevel.Warning,
        "The system makes no further thread: raise ulimit -u, TasksMax= or pids.max, and restart the node."
    )]
    private static partial void LogNoThread(ILogger logger);

    [LoggerMessage(4, LogLevel.Warning, "Unknown setting {Name}; --help lists the settings.{Meant}")]
    private static partial void LogUnknownSetting(ILogger logger, string name, string meant);
}
