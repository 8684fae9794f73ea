using Dmb.Routing;
using Polly;
using Polly.Retry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Maintains a group's link to Redis: connects, attaches the participants, verifies by a probe that publishes are
/// received, delivers missed messages and sends spooled ones; then probes at an interval, and reconnects when two
/// probes are lost.
/// </summary>
/// <param name="group">The group.</param>
/// <param name="first">What only the first group has.</param>
/// <param name="servers">Makes links.</param>
/// <param name="redis">Where Redis is, as the log names it.</param>
/// <param name="options">The settings of Redis.</param>
/// <param name="routing">The settings of routing.</param>
/// <param name="layout">The number of groups, of which the first group's supervisor makes sure.</param>
/// <param name="state">The state of all groups.</param>
/// <param name="logger">The log.</param>
internal sealed partial class RedisSupervisor(
    RedisGroup group,
    FirstGroup first,
    RedisServers servers,
    RedisEndpoint redis,
    RedisOptions options,
    RoutingOptions routing,
    RedisLayout layout,
    BackplaneState state,
    ILogger<RedisSupervisor> logger
)
{
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
                        attempt.Outcome.Exception is not (null or RedisLayoutException)
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

    private string? _reason;
    private bool _hadLink;
    private long _sent;
    private long _received;

    private bool IsFirst => group.Number == 0;

    /// <summary>Keeps a link until the node stops.</summary>
    /// <exception cref="RedisLayoutException">Other nodes have another number of groups.</exception>
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        group.Receiver.ProbeReceived += number => Volatile.Write(ref _received, number);
        state.Set("not connected to Redis yet", group.Number);
        if (!IsFirst)
        {
            await Task.WhenAny(layout.Found, first.Tried).WaitAsync(cancellationToken);
            if (!layout.Found.IsCompleted)
            {
                group.Connection.NoteFailure();
            }

            await layout.Found.WaitAsync(cancellationToken);
        }

        while (!cancellationToken.IsCancellationRequested)
        {
            using var link = await _connecting.ExecuteAsync(ConnectAsync, cancellationToken);
            state.Set(null, group.Number);
            (_reason, _hadLink) = (null, true);
            string why;
            try
            {
                why = await KeepAsync(link, cancellationToken);
            }
            catch (OperationCanceledException) when (IsFirst && cancellationToken.IsCancellationRequested)
            {
                // No probe follows that would renew it.
                await layout.LeaveAsync(link);
                throw;
            }

            link.Lose(why);
            group.Publisher.Leave(link, why);
            group.Rooms.Detach();
            var isShared = state.Set($"Redis is away: {why}", group.Number);
            if (!IsFirst && !isShared && !cancellationToken.IsCancellationRequested)
            {
                LogGroupDown(logger, group.Number, why);
            }
        }
    }

    private async ValueTask<RedisLink> ConnectAsync(CancellationToken cancellationToken)
    {
        RedisLink? link = null;
        try
        {
            link = await servers.LinkAsync(group.Channels, warning => LogSentinels(logger, warning), cancellationToken);
            using var stopping = cancellationToken.Register(() => link.Lose("the node stops"));
            await AttachAsync(link);
            return link;
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            var why = link is { Lost.IsCompleted: true } ? await link.Lost : RedisReason.Of(e);
            if (e is not RedisLayoutException)
            {
                WarnOnce(why);
            }

            state.Set(
                why.Contains(RedisReason.Answered, StringComparison.Ordinal) ? why : $"Redis can't be reached: {why}",
                group.Number
            );
            if (e is RedisKeyException)
            {
                // A key of this group; the others go on.
                link?.LoseGroup(why);
            }

            link?.Lose(why);
            group.Connection.NoteFailure();
            group.Rooms.Detach();
            link?.Dispose();
            throw;
        }
        catch
        {
            // The node stops, which ends each step in its own way.
            link?.Dispose();
            cancellationToken.ThrowIfCancellationRequested();
            throw;
        }
    }

    /// <summary>Attaches the participants to a new link, in this order.</summary>
    private async Task AttachAsync(RedisLink link)
    {
        // First, since the others depend on whether the server lost data.
        var mark = await group.History.AttachAsync(link, IsFirst ? await layout.AttachAsync(link) : await layout.Found);
        if (routing.IsPublishOnly)
        {
            await RefreshAsync(link);
            await group.Publisher.ResumeAsync(link);
            return;
        }

        // From here on received messages are held.
        await group.Receiver.AttachAsync(link, options.Patience);
        if (IsFirst)
        {
            await first.AttachAsync(link, mark, options.Patience);
        }

        // A subscription is proven by a received probe.
        await ProveAsync(link);

        // Delivers missed messages, then held ones; then sends spooled ones, and resumes publishing.
        await group.Receiver.RecoverAsync(link);
        await group.Publisher.ResumeAsync(link);
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

        if (why != _reason && servers.IsNews(why))
        {
            LogNotConnected(logger, redis.ToString(), why);
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

        group.Receiver.ProbeReceived += OnReceived;
        try
        {
            await ProbeAsync(link);
            await link.WithinAsync(options.Patience, received.Task);
        }
        finally
        {
            group.Receiver.ProbeReceived -= OnReceived;
        }
    }

    /// <summary>Probes until the link is lost; returns the reason.</summary>
    private async Task<string> KeepAsync(RedisLink link, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(options.ProbeInterval, TimeProvider.System);
        var tick = timer.WaitForNextTickAsync(cancellationToken).AsTask();
        while (await Task.WhenAny(tick, link.Lost) == tick && await tick)
        {
            if (_sent - Volatile.Read(ref _received) >= RedisOptions.ProbesMissedMax)
            {
                return $"{RedisOptions.ProbesMissedMax} probes in a row did not come back";
            }

            // Not awaited: success is seen when the probe is received.
            var probe = routing.IsPublishOnly ? RefreshAsync(link) : CheckAsync(link);
            _ = probe.ContinueWith(static task => _ = task.Exception, TaskScheduler.Default);
            if (!routing.IsPublishOnly)
            {
                group.Rooms.Sweep();
                if (IsFirst)
                {
                    first.Sweep();
                }
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
        if (IsFirst)
        {
            await first.RefreshAsync(link, options.Patience, isInUse: group.Connection.Link == link);
        }
        else
        {
            await link.TimeAsync();
        }

        Volatile.Write(ref _received, number);
    }

    /// <summary>Sends a probe, and records the layout and this node again if that was deleted by hand.</summary>
    private async Task CheckAsync(RedisLink link)
    {
        if ((int)await ProbeAsync(link) == 1)
        {
            try
            {
                await layout.AttachAsync(link);
            }
            catch (RedisLayoutException e)
            {
                // The next attempt to connect finds it too, and ends the node.
                link.Lose(e.Message);
            }
        }
    }

    private Task<RedisResult> ProbeAsync(RedisLink link)
    {
        var number = ++_sent;
        RedisValue[] arguments =
        [
            group.Channels.Node,
            number,
            (long)(options.ProbeInterval + LogLife).TotalMilliseconds,
            (long)RedisBackendUsers.NodeLife(options).TotalMilliseconds,
            options.Groups,
            IsFirst ? 1 : 0,
        ];
        return link.RunAsync(
            options.ProbeInterval * RedisOptions.ProbesMissedMax,
            RedisScript.Probe,
            [
                group.Channels.Log,
                group.Channels.Node,
                group.Channels.Format,
                group.Channels.Members,
                group.Channels.Nodes,
            ],
            arguments
        );
    }

    [LoggerMessage(3020, LogLevel.Warning, "Redis at {Redis} can't be used: {Why}. Trying on.")]
    private static partial void LogNotConnected(ILogger logger, string redis, string why);

    [LoggerMessage(3021, LogLevel.Warning, "Of the sentinels of Redis: {Why}.")]
    private static partial void LogSentinels(ILogger logger, string why);

    [LoggerMessage(3022, LogLevel.Warning, "Redis is away for group {Group} of the rooms: {Why}.")]
    private static partial void LogGroupDown(ILogger logger, int group, string why);
}
