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
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging.Console;

namespace Dmb;

/// <summary>Composes the node: server, options and services.</summary>
internal static class Services
{
    /// <summary>Limit for the services of a drained node to stop.</summary>
    private static readonly TimeSpan StopMax = TimeSpan.FromSeconds(5);

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
            .AddSingleton<IBackplane>(services => services.GetRequiredService<RedisBackplane>());
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
}
