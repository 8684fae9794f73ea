using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>
/// Maintains the links of all groups. The start of the node does not wait for Redis; a node whose number of groups is
/// not that of the others stops.
/// </summary>
internal sealed partial class RedisSupervisors : BackgroundService
{
    /// <summary>How long a stopping node waits for Redis while messages are spooled.</summary>
    public static readonly TimeSpan FlushMax = TimeSpan.FromSeconds(10);

    private const int BadSetting = 2;

    private readonly RedisGroups _groups;
    private readonly RedisSupervisor[] _all;
    private readonly RoutingOptions _routing;
    private readonly SharedEvents _sharedEvents;
    private readonly EventTable _events;
    private readonly IHostApplicationLifetime _node;
    private readonly ILogger _logger;

    public RedisSupervisors(
        RedisGroups groups,
        FirstGroup first,
        RedisServers servers,
        RedisEndpoint redis,
        RedisOptions options,
        RoutingOptions routing,
        RedisLayout layout,
        SharedEvents sharedEvents,
        EventTable events,
        BackplaneState state,
        IHostApplicationLifetime node,
        ILogger<RedisSupervisor> logger
    )
    {
        (_groups, _routing, _sharedEvents, _events, _node, _logger) = (
            groups,
            routing,
            sharedEvents,
            events,
            node,
            logger
        );
        _all =
        [
            .. groups.All.Select(group => new RedisSupervisor(
                group,
                first,
                servers,
                redis,
                options,
                routing,
                layout,
                state,
                logger
            )),
        ];
    }

    /// <summary>Lets lookups of events wait for Redis on a node that only publishes; no server listens yet.</summary>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        if (_routing.IsPublishOnly)
        {
            _events.Resolver = _sharedEvents.ResolveAsync;
        }

        return base.StartAsync(cancellationToken);
    }

    /// <summary>
    /// Sends the spooled messages if Redis returns in time; the server has stopped and publishes no more.
    /// </summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await Task.WhenAll(_groups.All.Select(group => group.Publisher.FlushAsync(FlushMax, cancellationToken)));
        await base.StopAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Task.WhenAll(_all.Select(supervisor => RunAsync(supervisor, stoppingToken)));
    }

    private async Task RunAsync(RedisSupervisor supervisor, CancellationToken stoppingToken)
    {
        try
        {
            await supervisor.RunAsync(stoppingToken);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The node stops.
        }
        catch (RedisLayoutException e)
        {
            LogLayout(_logger, e.Message);
            Environment.ExitCode = BadSetting;
            _node.StopApplication();
        }
    }

    [LoggerMessage(3023, LogLevel.Critical, "{Why}. This node stops.")]
    private static partial void LogLayout(ILogger logger, string why);
}
