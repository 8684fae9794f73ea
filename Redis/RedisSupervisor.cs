using Dmb.Routing;
using Polly;
using Polly.Retry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Maintains the link to Redis: connects, attaches the participants, verifies by a probe that publishes are received,
/// delivers missed messages and sends spooled ones; then probes at an interval, and reconnects when two probes are
/// lost. The start of the node does not wait for Redis.
/// </summary>
internal sealed partial class RedisSupervisor(
    RedisEndpoint redis,
    RedisOptions options,
    RoutingOptions routing,
    RedisNode node,
    RedisHistory history,
    RedisRooms rooms,
    RedisReceiver receiver,
    RedisPublisher publisher,
    SharedEvents sharedEvents,
    RedisConnection connection,
    RedisInputs inputs,
    RedisBackendUsers backendUsers,
    RedisCluster cluster,
    RedisWebhookStore webhooks,
    EventTable events,
    PoisonedKeys poisoned,
    BackplaneState state,
    TimeProvider time,
    ILogger<RedisSupervisor> logger
) : BackgroundService
{
    /// <summary>How long a stopping node waits for Redis while messages are spooled.</summary>
    public static readonly TimeSpan FlushMax = TimeSpan.FromSeconds(10);

    private const int ProbesMissedMax = 2;
    private const int ReasonsMax = 100;
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan PatienceMax = TimeSpan.FromSeconds(5);

    /// <summary>How long a server that was named may take until the link to it is made.</summary>
    private static readonly TimeSpan MasterPatience = TimeSpan.FromSeconds(3);

    /// <summary>How long the log outlives a missing probe.</summary>
    private static readonly TimeSpan LogLife = TimeSpan.FromMinutes(1);

    private readonly ResiliencePipeline<RedisLink> _connecting = new ResiliencePipelineBuilder<RedisLink>
    {
        TimeProvider = TimeProvider.System,
    }
        .AddRetry(
            new RetryStrategyOptions<RedisLink>
            {
                // A link lost while attaching cancels its operations; only the node's stop ends the retries.
                ShouldHandle = static attempt =>
                    ValueTask.FromResult(
                        attempt.Outcome.Exception is not null
                            && !attempt.Context.CancellationToken.IsCancellationRequested
                    ),
                MaxRetryAttempts = int.MaxValue,
                BackoffType = DelayBackoffType.Exponential,
                Delay = TimeSpan.FromMilliseconds(100),
                MaxDelay = TimeSpan.FromSeconds(2),
                UseJitter = true,
            }
        )
        .Build();

    /// <summary>Timeout of each step of attaching a link: Redis may hang meanwhile.</summary>
    private readonly TimeSpan _patience =
        options.ProbeInterval * ProbesMissedMax < PatienceMax ? options.ProbeInterval * ProbesMissedMax : PatienceMax;

    /// <summary>When each reason was logged last.</summary>
    private readonly Dictionary<string, long> _warned = [];
    private string? _reason;
    private bool _hadLink;
    private long _sent;
    private long _received;

    /// <summary>Lets lookups of events wait for Redis on a node that only publishes; no server listens yet.</summary>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        if (routing.IsPublishOnly)
        {
            events.Resolver = sharedEvents.ResolveAsync;
        }

        return base.StartAsync(cancellationToken);
    }

    /// <summary>
    /// Sends the spooled messages if Redis returns in time; the server has stopped and publishes no more.
    /// </summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await publisher.FlushAsync(FlushMax, cancellationToken);
        await base.StopAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        receiver.ProbeReceived += number => Volatile.Write(ref _received, number);
        state.Set("not connected to Redis yet");
        while (!stoppingToken.IsCancellationRequested)
        {
            using var link = await _connecting.ExecuteAsync(ConnectAsync, stoppingToken);
            state.Set(null);
            (_reason, _hadLink) = (null, true);
            var why = await KeepAsync(link, stoppingToken);
            publisher.Leave(link, why);
            rooms.Detach();
            state.Set($"Redis is away: {why}");
        }
    }

    private async ValueTask<RedisLink> ConnectAsync(CancellationToken cancellationToken)
    {
        RedisLink? link = null;
        try
        {
            link = await LinkAsync(cancellationToken);
            using var stopping = cancellationToken.Register(() => link.Lose("the node stops"));
            await AttachAsync(link);
            return link;
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            var why = link is { Lost.IsCompleted: true } ? await link.Lost : RedisReason.Of(e);
            WarnOnce(why);
            state.Set(
                why.Contains(RedisReason.Answered, StringComparison.Ordinal) ? why : $"Redis can't be reached: {why}"
            );
            link?.Lose(why);
            connection.NoteFailure();
            rooms.Detach();
            link?.Dispose();
            throw;
        }
    }

    /// <summary>Connects to the server, or to a named one that is a master.</summary>
    private async Task<RedisLink> LinkAsync(CancellationToken cancellationToken)
    {
        if (redis.Discovery is not { } discovery)
        {
            return await LinkAsync(redis, cancellationToken);
        }

        var (masters, warning) = await discovery.FindAsync(redis, options.Prefix, cancellationToken);
        if (warning is not null && IsNews(warning))
        {
            LogSentinels(logger, warning);
        }

        var faults = new List<string>();
        foreach (var master in masters)
        {
            // A master that hangs is asked for again soon: by then there may be another.
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(MasterPatience);
            try
            {
                return await LinkAsync(master, patience.Token);
            }
            catch (RedisUnavailableException e) when (!cancellationToken.IsCancellationRequested)
            {
                faults.Add($"{master}: {e.Why}");
            }
        }

        throw new RedisUnavailableException($"{discovery.Says} {string.Join("; ", faults)}");
    }

    private Task<RedisLink> LinkAsync(RedisEndpoint server, CancellationToken cancellationToken) =>
        RedisLink.ConnectAsync(
            server,
            isSubscribing: !routing.IsPublishOnly,
            options.PublishTimeout,
            poisoned,
            cancellationToken
        );

    /// <summary>Attaches the participants to a new link, in this order.</summary>
    private async Task AttachAsync(RedisLink link)
    {
        // First, since the others depend on whether the server lost data.
        var mark = await history.AttachAsync(link);
        if (routing.IsPublishOnly)
        {
            await RefreshAsync(link);
            await publisher.ResumeAsync(link);
            return;
        }

        // From here on received messages are held.
        await receiver.AttachAsync(link, _patience);
        await sharedEvents.AttachAsync(link, _patience);
        await inputs.AttachAsync(link, _patience);
        await backendUsers.AttachAsync(link, mark);
        await cluster.AttachAsync(link, _patience);
        await webhooks.AttachAsync(link, _patience);

        // A subscription is proven by a received probe.
        await ProveAsync(link);

        // Delivers missed messages, then held ones; then sends spooled ones, and resumes publishing.
        await receiver.RecoverAsync(link);
        await publisher.ResumeAsync(link);
    }

    /// <summary>
    /// Logs a reason that differs from the previous one, each at most once a minute. After the loss of a link, which is
    /// logged already, only Redis's own answers are, and what names a server.
    /// </summary>
    private void WarnOnce(string why)
    {
        if (_hadLink && redis.Discovery is null && !why.Contains(RedisReason.Answered, StringComparison.Ordinal))
        {
            return;
        }

        if (why != _reason && IsNews(why))
        {
            LogNotConnected(logger, redis.ToString(), why);
        }

        _reason = why;
    }

    /// <summary>Whether it was not logged within the last minute.</summary>
    private bool IsNews(string text)
    {
        if (_warned.TryGetValue(text, out var warned) && time.GetElapsedTime(warned) < WarningInterval)
        {
            return false;
        }

        // Bounded, since some texts contain Redis's.
        if (_warned.Count >= ReasonsMax)
        {
            _warned.Clear();
        }

        _warned[text] = time.GetTimestamp();
        return true;
    }

    /// <summary>Sends a probe and receives it.</summary>
    private async Task ProveAsync(RedisLink link)
    {
        var received = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var expected = _sent + 1;
        void OnReceived(long number)
        {
            if (number == expected)
            {
                received.TrySetResult();
            }
        }

        receiver.ProbeReceived += OnReceived;
        try
        {
            await ProbeAsync(link);
            await link.WithinAsync(_patience, received.Task);
        }
        finally
        {
            receiver.ProbeReceived -= OnReceived;
        }
    }

    /// <summary>Probes until the link is lost; returns the reason.</summary>
    private async Task<string> KeepAsync(RedisLink link, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(options.ProbeInterval, TimeProvider.System);
        var tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
        while (await Task.WhenAny(tick, link.Lost) == tick && await tick)
        {
            if (_sent - Volatile.Read(ref _received) >= ProbesMissedMax)
            {
                return $"{ProbesMissedMax} probes in a row did not come back";
            }

            // Not awaited: success is seen when the probe is received.
            var probe = routing.IsPublishOnly ? RefreshAsync(link) : ProbeAsync(link);
            _ = probe.ContinueWith(static task => _ = task.Exception, TaskScheduler.Default);
            if (!routing.IsPublishOnly)
            {
                rooms.Sweep();
                _ = backendUsers.SweepAsync();
            }

            tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
        }

        return await link.Lost;
    }

    /// <summary>
    /// Reads, on a node that only publishes, what other nodes are told of. That Redis answers is its probe.
    /// </summary>
    private async Task RefreshAsync(RedisLink link)
    {
        var number = ++_sent;
        await sharedEvents.RefreshAsync(link, _patience);
        await webhooks.RefreshAsync(link, _patience);
        if (connection.Link == link)
        {
            await webhooks.SendSpooledAsync();
        }

        Volatile.Write(ref _received, number);
    }

    private Task<RedisResult> ProbeAsync(RedisLink link)
    {
        var number = ++_sent;
        RedisValue[] arguments =
        [
            node.Channels.Node,
            number,
            (long)(options.ProbeInterval + LogLife).TotalMilliseconds,
            (long)RedisBackendUsers.NodeLife(options).TotalMilliseconds,
        ];
        return link.RunAsync(options.ProbeInterval * ProbesMissedMax, redis =>
            RedisScript.Probe.RunAsync(redis, [node.Channels.Log, node.Channels.Node], arguments)
        );
    }

    [LoggerMessage(3020, LogLevel.Warning, "Redis at {Redis} can't be used: {Why}. Trying on.")]
    private static partial void LogNotConnected(ILogger logger, string redis, string why);

    [LoggerMessage(3021, LogLevel.Warning, "Of the sentinels of Redis: {Why}.")]
    private static partial void LogSentinels(ILogger logger, string why);
}
