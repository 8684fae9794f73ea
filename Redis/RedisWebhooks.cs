using Dmb.Webhooks;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Reads this node's share of the webhooks' streams. A stream is read by one node at a time, so that the messages of a
/// webhook stay in order; a node that does not renew its share loses it, and what it has read is claimed by the others.
/// </summary>
internal sealed class RedisWebhooks(
    WebhookTable table,
    RedisWebhookStore store,
    RedisNode node,
    RedisConnection connection,
    PoisonedKeys poisoned
) : BackgroundService
{
    private const int EntriesMax = 64;
    private static readonly TimeSpan Life = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan RenewInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan RoundInterval = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan RetryInterval = TimeSpan.FromMilliseconds(200);

    private readonly HashSet<int> _lanes = [];

    /// <summary>Those of <see cref="_lanes"/> that have webhooks.</summary>
    private int[] _used = [];
    private int _isUsedStale = 1;
    private long? _renewed;

    /// <summary>
    /// Whether a read of streams was not answered, or what it read was not handed over: Redis gives it again only to a
    /// claim.
    /// </summary>
    private bool _isReading;

    /// <summary>Gives its share to the other nodes.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        LeaveAll();
        try
        {
            await store.SendSpooledAsync();
            await store.AcknowledgeAsync();
            await RenewAsync(TimeSpan.Zero);
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
        {
            // Its share is free when its time is over.
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        table.Changed += () => Volatile.Write(ref _isUsedStale, 1);
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (table.Count == 0 && _lanes.Count == 0)
                {
                    await store.WaitAsync(RenewInterval, stoppingToken);
                    continue;
                }

                // In the others is what came before, or after, its webhook.
                var readsAll =
                    _renewed is not { } renewed || TimeProvider.System.GetElapsedTime(renewed) >= RenewInterval;
                await store.AcknowledgeAsync();
                if (readsAll)
                {
                    await TakeShareAsync();
                }

                await store.SendSpooledAsync();
                if (_lanes.Count == 0 || !await ReadAsync(readsAll))
                {
                    await store.WaitAsync(PollInterval, stoppingToken);
                }
                else
                {
                    // Under load a round then has several messages to read and to take out.
                    await Task.Delay(RoundInterval, TimeProvider.System, stoppingToken);
                }
            }
            catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
            {
                if (_isReading || _renewed is not { } renewed || TimeProvider.System.GetElapsedTime(renewed) >= Life)
                {
                    LeaveAll();
                    (_renewed, _isReading) = (null, false);
                }

                await Task.Delay(RetryInterval, TimeProvider.System, stoppingToken)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                // The node stops.
            }
        }
    }

    /// <summary>
    /// Renews the share; what was lost is let go, and of what is new the rest of another node is claimed.
    /// </summary>
    private async Task TakeShareAsync()
    {
        var start = TimeProvider.System.GetTimestamp();
        var mine = await RenewAsync(Life);
        _renewed = start;
        var lost = _lanes.Except(mine).ToArray();
        if (lost.Length > 0)
        {
            _lanes.ExceptWith(lost);
            store.Leave(lost);
        }

        foreach (var lane in mine.Except(_lanes).ToArray())
        {
            _lanes.Add(lane);
            await ClaimAsync(lane);
        }

        Volatile.Write(ref _isUsedStale, 1);
    }

    private async Task<int[]> RenewAsync(TimeSpan life)
    {
        var mine = await connection.RunAsync(
            RedisScript.WebhookLanes,
            [node.Channels.WebhookNodes, node.Channels.WebhookOwners],
            [node.Id, (long)life.TotalMilliseconds, RedisWebhookStore.Lanes]
        );
        return [.. ((RedisResult[])mine!).Select(lane => (int)lane)];
    }

    private async Task ClaimAsync(int lane)
    {
        _isReading = true;
        for (RedisValue from = "0-0"; ; )
        {
            var answer = (RedisResult[])
                (
                    await connection.RunAsync(
                        RedisScript.WebhookClaim,
                        [node.Channels.WebhookLane(lane)],
                        [node.Id, from, EntriesMax]
                    )
                )!;
            foreach (var entry in ((RedisResult[])answer[1]!).Where(entry => !entry.IsNull))
            {
                await store.ReceiveAsync(lane, entry);
            }

            from = (RedisValue)answer[0];
            if (from == "0-0")
            {
                _isReading = false;
                return;
            }
        }
    }

    /// <summary>Reads streams; false if nothing was in them.</summary>
    private async Task<bool> ReadAsync(bool readsAll)
    {
        if (Interlocked.Exchange(ref _isUsedStale, 0) == 1)
        {
            _used =
            [
                .. table.All.Select(webhook => RedisWebhookStore.LaneOf(webhook.Id)).Distinct().Where(_lanes.Contains),
            ];
        }

        var lanes = readsAll ? [.. _lanes] : _used;
        if (lanes.Length == 0)
        {
            return false;
        }

        _isReading = true;
        var answer = (RedisResult[])
            (
                await connection.RunAsync(
                    RedisScript.WebhookRead,
                    [.. lanes.Select(lane => (RedisKey)node.Channels.WebhookLane(lane))],
                    [node.Id, EntriesMax]
                )
            )!;
        if ((string?)answer[^1] is { Length: > 0 } keys)
        {
            poisoned.Refused(keys, "it was removed, and begins anew");
        }

        var isAny = false;
        for (var i = 0; i < lanes.Length; i++)
        {
            foreach (var entry in (RedisResult[])answer[i]!)
            {
                isAny = true;
                await store.ReceiveAsync(lanes[i], entry);
            }
        }

        _isReading = false;
        return isAny;
    }

    private void LeaveAll()
    {
        if (_lanes.Count > 0)
        {
            store.Leave([.. _lanes]);
            _lanes.Clear();
            Volatile.Write(ref _isUsedStale, 1);
        }
    }
}
