using Dmb.Routing;
using Polly;
using Polly.Retry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The backplane over Redis, and the loop that keeps it up: connect, subscribe, prove with a probe that what is published
/// comes down, fill what was missed, send what was kept; then a probe every second, and again from the start when two don't
/// come back. It never waits for Redis when the node starts.
/// </summary>
internal sealed partial class RedisBackplane(
    RedisEndpoint redis, RedisOptions options, RoutingOptions routing, RedisNode node, RedisUplink uplink, RedisDownlink downlink, RedisRooms rooms, RedisHistory history, RoomCounts counts, SharedEvents sharedEvents,
    BackplaneState state, IServiceProvider services,
    ILogger<RedisBackplane> logger)
    : BackgroundService, IBackplane
{
    /// <summary>How long a node that stops waits for Redis to come back, while messages are kept for it.</summary>
    public static readonly TimeSpan FlushMax = TimeSpan.FromSeconds(10);

    private const int ProbesMissedMax = 2;

    /// <summary>
    /// Histories read at a time. All clients of a node that died come at once, and the time within which Redis has to answer is not
    /// for waiting behind them.
    /// </summary>
    private const int ReadsMax = 32;
    private static readonly TimeSpan PatienceMax = TimeSpan.FromSeconds(5);

    /// <summary>How long the log outlives the probe that should have come.</summary>
    private static readonly TimeSpan LogLife = TimeSpan.FromMinutes(1);

    private readonly ResiliencePipeline<RedisLink> _connecting = new ResiliencePipelineBuilder<RedisLink> { TimeProvider = TimeProvider.System }
        .AddRetry(new RetryStrategyOptions<RedisLink>
        {
            // A link that is lost while it is made cancels what waits for it: only the node's own stop ends this.
            ShouldHandle = static attempt => ValueTask.FromResult(
                attempt.Outcome.Exception is not null && !attempt.Context.CancellationToken.IsCancellationRequested),
            MaxRetryAttempts = int.MaxValue,
            BackoffType = DelayBackoffType.Exponential,
            Delay = TimeSpan.FromMilliseconds(100),
            MaxDelay = TimeSpan.FromSeconds(2),
            UseJitter = true,
        })
        .Build();

    /// <summary>How long each step of making a link may take: the library can lose what it was asked before it was connected.</summary>
    private readonly TimeSpan _patience = options.ProbeInterval * ProbesMissedMax < PatienceMax ? options.ProbeInterval * ProbesMissedMax : PatienceMax;

    private readonly SemaphoreSlim _reading = new(ReadsMax);

    private long _sent;
    private long _came;

    public async ValueTask<Taken> PublishAsync(Envelope envelope)
    {
        return envelope.Rooms.Length == 0 ? Taken.Fully : await uplink.PublishAsync(envelope, RedisFormat.Write(envelope, node.Id));
    }

    public ValueTask SubscribeAsync(string room) => rooms.SubscribeAsync(room);

    public ValueTask ShareEventAsync(string name) => sharedEvents.WriteAsync(name);

    public ValueTask<int> CountAsync(string room) => counts.AskAsync(room, uplink);

    public async ValueTask<IReadOnlyList<RoomHistory>> ReadHistoryAsync(IReadOnlyList<RoomRequest> requests)
    {
        if (rooms.Positions(requests) is { } known)
        {
            return known;
        }

        await _reading.WaitAsync();
        try
        {
            return await uplink.RunAsync(redis => history.ReadAsync(redis, requests));
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            throw RedisUplink.Away();
        }
        finally
        {
            _reading.Release();
        }
    }

    public async ValueTask<string?> FirstIdAsync(string key, string id)
    {
        try
        {
            var name = node.Channels.Idempotency(key);
            var isFirst = await uplink.RunAsync(commands => commands.StringSetAsync(name, id, routing.IdempotencyWindow, When.NotExists));
            return isFirst ? null : (string?)await uplink.RunAsync(commands => commands.StringGetAsync(name));
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // Without Redis the key holds on this node.
            return null;
        }
    }

    /// <summary>The server has stopped, nothing more is published: what was kept for Redis still goes there, if it comes back soon.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await uplink.FlushAsync(FlushMax, cancellationToken);
        await base.StopAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        downlink.ProbeCame += count => Volatile.Write(ref _came, count);
        state.Set("not connected to Redis yet");
        while (!stoppingToken.IsCancellationRequested)
        {
            using var link = await _connecting.ExecuteAsync(ConnectAsync, stoppingToken);
            state.Set(null);
            var why = await KeepAsync(link, stoppingToken);
            uplink.Leave(link, why);
            rooms.Detach();
            state.Set($"Redis is away: {why}");
        }
    }

    private async ValueTask<RedisLink> ConnectAsync(CancellationToken cancellationToken)
    {
        RedisLink? link = null;
        try
        {
            link = await RedisLink.ConnectAsync(redis.ToOptions(), cancellationToken);

            // One that is lost while it is made is not waited for.
            using var made = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, link.Gone);
            var mark = await history.AttachAsync(link.Commands).WaitAsync(_patience, TimeProvider.System, made.Token);
            await downlink.AttachAsync(link, _patience, made.Token);
            await sharedEvents.AttachAsync(link, _patience, made.Token);
            await services.GetRequiredService<RedisInputs>().AttachAsync(link, _patience, made.Token);
            await services.GetRequiredService<RedisBackendStore>().AttachAsync(link, mark, _patience, made.Token);
            await ProveAsync(link, made.Token);
            await downlink.RecoverAsync(link, made.Token);
            await uplink.ResumeAsync(link);
            return link;
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            var why = link is { Lost.IsCompleted: true } ? await link.Lost : e.Message;
            LogNotConnected(logger, why);
            link?.Lose(why);
            state.Set($"Redis can't be reached: {why}");
            rooms.Detach();
            link?.Dispose();
            throw;
        }
    }

    /// <summary>Sends a probe and has it back.</summary>
    private async Task ProveAsync(RedisLink link, CancellationToken cancellationToken)
    {
        var came = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var expected = _sent + 1;
        void OnCame(long count)
        {
            if (count == expected)
            {
                came.TrySetResult();
            }
        }

        downlink.ProbeCame += OnCame;
        try
        {
            await ProbeAsync(link);
            await came.Task.WaitAsync(_patience, TimeProvider.System, cancellationToken);
        }
        finally
        {
            downlink.ProbeCame -= OnCame;
        }
    }

    /// <summary>Probes until the link is lost; gives the reason.</summary>
    private async Task<string> KeepAsync(RedisLink link, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(options.ProbeInterval, TimeProvider.System);
        var tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
        while (await Task.WhenAny(tick, link.Lost) == tick && await tick)
        {
            if (_sent - Volatile.Read(ref _came) >= ProbesMissedMax)
            {
                return $"{ProbesMissedMax} probes in a row did not come back";
            }

            // Not awaited: whether it worked is seen by its coming down.
            _ = ProbeAsync(link).ContinueWith(static task => _ = task.Exception, TaskScheduler.Default);
            rooms.Sweep();
            _ = services.GetRequiredService<RedisBackendStore>().SweepAsync();
            tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
        }

        return await link.Lost;
    }

    private Task<RedisResult> ProbeAsync(RedisLink link)
    {
        _sent++;
        RedisValue[] arguments = [node.Channels.Node, _sent, (long)(options.ProbeInterval + LogLife).TotalMilliseconds, (long)RedisBackendStore.NodeLife(options).TotalMilliseconds];
        return link.Commands.ScriptEvaluateAsync(RedisScripts.Probe, [node.Channels.Log, node.Channels.Node], arguments)
            .WaitAsync(options.ProbeInterval * ProbesMissedMax, TimeProvider.System);
    }

    [LoggerMessage(3020, LogLevel.Debug, "Not connected to Redis: {Why}")]
    private static partial void LogNotConnected(ILogger logger, string why);
}
