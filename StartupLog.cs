using Dmb.Redis;
using Dmb.Sockets;
using Dmb.Telemetry;
using Dmb.Transport;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace Dmb;

/// <summary>The first lines of the log: what the node is, and what to mend.</summary>
internal static partial class StartupLog
{
    /// <summary>Connections below which the limit of open files is logged as low.</summary>
    private const int FewConnections = 10_000;

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
