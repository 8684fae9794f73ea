using Dmb.Routing;
using Polly;
using Polly.Retry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Keeps a link to Redis: connects, attaches all that use it, proves with a probe that what is published is received,
/// delivers what was missed, sends what was kept; then sends a probe every interval, and begins again when two are not
/// received. The start of the node does not wait for Redis.
/// </summary>
internal sealed partial class RedisSupervisor(
    RedisEndpoint redis,
    RedisOptions options,
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
    PoisonedKeys poisoned,
    BackplaneState state,
    TimeProvider time,
    ILogger<RedisSupervisor> logger
) : BackgroundService
{
    /// <summary>How long a node that stops waits for Redis to come back, while messages are kept for it.</summary>
    public static readonly TimeSpan FlushMax = TimeSpan.FromSeconds(10);

    private const int ProbesMissedMax = 2;
    private const int ReasonsMax = 100;
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan PatienceMax = TimeSpan.FromSeconds(5);

    /// <summary>How long the log outlives the probe that should have come.</summary>
    private static readonly TimeSpan LogLife = TimeSpan.FromMinutes(1);

    private readonly ResiliencePipeline<RedisLink> _connecting = new ResiliencePipelineBuilder<RedisLink>
    {
        TimeProvider = TimeProvider.System,
    }
        .AddRetry(
            new RetryStrategyOptions<RedisLink>
            {
                // A link that is lost while it is made cancels all that waits for it: only the node's own stop ends
                // this.
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

    /// <summary>
    /// How long each step of making a link may take: the library can lose what it was asked before it was connected.
    /// </summary>
    private readonly TimeSpan _patience =
        options.ProbeInterval * ProbesMissedMax < PatienceMax ? options.ProbeInterval * ProbesMissedMax : PatienceMax;

    /// <summary>When each reason why Redis can't be used was warned of last.</summary>
    private readonly Dictionary<string, long> _warned = [];
    private string? _reason;
    private bool _hadLink;
    private long _sent;
    private long _received;

    /// <summary>
    /// The server has stopped and publishes no more: what was kept for Redis is still sent, if Redis comes back soon.
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
            link = await RedisLink.ConnectAsync(redis, options.PublishTimeout, poisoned, cancellationToken);
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

    /// <summary>Brings a new link up to date, in this order.</summary>
    private async Task AttachAsync(RedisLink link)
    {
        // Whether the server lost data decides what the others take for known.
        var mark = await history.AttachAsync(link);

        // From here on messages are received, and held.
        await receiver.AttachAsync(link, _patience);
        await sharedEvents.AttachAsync(link, _patience);
        await inputs.AttachAsync(link, _patience);
        await backendUsers.AttachAsync(link, mark);
        await cluster.AttachAsync(link, _patience);
        await webhooks.AttachAsync(link, _patience);

        // Subscribed is what receives: the library may say so before it is true.
        await ProveAsync(link);

        // What was missed is delivered, then what was held; then the publishes that were kept are sent, and publishes
        // go to Redis again.
        await receiver.RecoverAsync(link);
        await publisher.ResumeAsync(link);
    }

    /// <summary>
    /// Warns of a reason when it is another one than the last time, and of each at most once a minute. That a link was
    /// lost is logged already: then only what Redis answers is new.
    /// </summary>
    private void WarnOnce(string why)
    {
        if (_hadLink && !why.Contains(RedisReason.Answered, StringComparison.Ordinal))
        {
            return;
        }

        if (
            why != _reason
            && (!_warned.TryGetValue(why, out var warned) || time.GetElapsedTime(warned) >= WarningInterval)
        )
        {
            // Reasons are few, but Redis words some of them.
            if (_warned.Count >= ReasonsMax)
            {
                _warned.Clear();
            }

            _warned[why] = time.GetTimestamp();
            LogNotConnected(logger, redis.Host, redis.Port, why);
        }

        _reason = why;
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

    /// <summary>Probes until the link is lost; gives the reason.</summary>
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

            // Not awaited: that it worked is seen when it is received.
            _ = ProbeAsync(link).ContinueWith(static task => _ = task.Exception, TaskScheduler.Default);
            rooms.Sweep();
            _ = backendUsers.SweepAsync();
            tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
        }

        return await link.Lost;
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

    [LoggerMessage(3020, LogLevel.Warning, "Redis at {Host}:{Port} can't be used: {Why}. Trying on.")]
    private static partial void LogNotConnected(ILogger logger, string host, int port, string why);
}
