using System.Collections.Concurrent;
using Dmb.Webhooks;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Adds messages to the webhooks' streams in their order. Messages that come while a call is under way are added
/// together by the next.
/// </summary>
internal sealed class RedisWebhookWriter(RedisChannels channels, RedisConnection connection)
{
    private const int LaneLengthMax = 100_000;
    private const int BatchMax = 128;
    private const int BatchBytesMax = 1_048_576;

    private readonly ConcurrentQueue<Addition> _waiting = [];
    private int _isAdding;

    /// <summary>Adds a message; completes when Redis has it.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was added.</exception>
    /// <exception cref="RedisKeyException">The stream's key holds something else.</exception>
    public Task AddAsync(WebhookMessage message)
    {
        var addition = new Addition(message);
        _waiting.Enqueue(addition);
        if (Interlocked.Exchange(ref _isAdding, 1) == 0)
        {
            _ = RunAsync();
        }

        return addition.Done.Task;
    }

    private async Task RunAsync()
    {
        do
        {
            while (Take() is { Count: > 0 } batch)
            {
                await AddAsync(batch);
            }

            Volatile.Write(ref _isAdding, 0);
        } while (!_waiting.IsEmpty && Interlocked.Exchange(ref _isAdding, 1) == 0);
    }

    private List<Addition> Take()
    {
        var batch = new List<Addition>();
        for (
            var bytes = 0;
            batch.Count < BatchMax && bytes < BatchBytesMax && _waiting.TryDequeue(out var addition);
            bytes += addition.Message.Data.Length
        )
        {
            batch.Add(addition);
        }

        return batch;
    }

    private async Task AddAsync(List<Addition> batch)
    {
        try
        {
            await connection.RunAsync(
                RedisScript.WebhookAdd,
                [.. batch.Select(one => (RedisKey)channels.WebhookLane(RedisWebhookStore.LaneOf(one.Message.Webhook)))],
                [LaneLengthMax, .. batch.SelectMany(one => Fields(one.Message))]
            );
            batch.ForEach(one => one.Done.TrySetResult());
        }
        catch (RedisKeyException) when (batch.Count > 1)
        {
            // The other streams get theirs, some a second time.
            foreach (var one in batch)
            {
                await AddAsync([one]);
            }
        }
        catch (Exception e)
        {
            batch.ForEach(one => one.Done.TrySetException(e));
        }
    }

    private static RedisValue[] Fields(WebhookMessage message) =>
        [message.Webhook, message.Event, message.Id, message.Subject ?? "", message.Traceparent ?? "", message.Data];

    private sealed record Addition(WebhookMessage Message)
    {
        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
