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

    /// <summary>Adds messages; completes when Redis has them.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether they were added.</exception>
    /// <exception cref="RedisKeyException">
    /// A stream's key held something else, and was removed; some messages are added.
    /// </exception>
    public Task AddAsync(IReadOnlyList<WebhookMessage> messages)
    {
        var addition = new Addition(messages);
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
            var (count, bytes) = (0, 0);
            count < BatchMax && bytes < BatchBytesMax && _waiting.TryDequeue(out var addition);
            bytes += addition.Messages.Sum(message => message.Data.Length)
        )
        {
            batch.Add(addition);
            count += addition.Messages.Count;
        }

        return batch;
    }

    private async Task AddAsync(List<Addition> batch)
    {
        try
        {
            await WriteAsync([.. batch.SelectMany(one => one.Messages)]);
            batch.ForEach(one => one.Done.TrySetResult());
        }
        catch (Exception e)
        {
            batch.ForEach(one => one.Done.TrySetException(e));
        }
    }

    private Task<RedisResult> WriteAsync(WebhookMessage[] messages) =>
        connection.RunAsync(
            RedisScript.WebhookAdd,
            [.. messages.Select(one => (RedisKey)channels.WebhookLane(RedisWebhookStore.LaneOf(one.Webhook)))],
            [LaneLengthMax, .. messages.SelectMany(Fields)]
        );

    private static RedisValue[] Fields(WebhookMessage message) =>
        [message.Webhook, message.Event, message.Id, message.Subject ?? "", message.Traceparent ?? "", message.Data];

    private sealed record Addition(IReadOnlyList<WebhookMessage> Messages)
    {
        public TaskCompletionSource Done { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
