using System.Collections.Concurrent;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Webhooks;

/// <summary>
/// Delivers messages to webhooks, by one <see cref="WebhookQueue"/> each, so that a slow one delays no other.
/// </summary>
internal sealed partial class WebhookDelivery : IHostedService, IDisposable
{
    private static readonly TimeSpan TellInterval = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<string, WebhookQueue> _queues = [];
    private readonly Publisher _publisher;
    private readonly WebhookTable _table;
    private readonly IWebhookStore _store;
    private readonly WebhookAnswers _answers;
    private readonly IDeadLetters _letters;
    private readonly WebhookTelemetry _telemetry;
    private readonly WebhookOptions _options;
    private readonly ILogger<WebhookDelivery> _logger;
    private readonly Func<string, WebhookQueue> _create;
    private readonly Func<Envelope, ValueTask> _take;
    private readonly SemaphoreSlim _underWay;
    private readonly TimeProvider _time;
    private readonly Lock _telling = new();
    private long _bytes;
    private long _refused;
    private long? _told;

    public WebhookDelivery(
        Publisher publisher,
        WebhookTable table,
        IWebhookStore store,
        WebhookClient client,
        WebhookAnswers answers,
        IDeadLetters letters,
        WebhookTelemetry telemetry,
        WebhookOptions options,
        TimeProvider time,
        ILogger<WebhookDelivery> logger
    )
    {
        (_publisher, _table, _store, _answers) = (publisher, table, store, answers);
        (_letters, _telemetry) = (letters, telemetry);
        (_options, _time, _logger) = (options, time, logger);
        _take = TakeAsync;
        _underWay = new SemaphoreSlim(options.WebhookConcurrency);
        _create = id => new WebhookQueue(id, table, client, telemetry, options, _underWay, time, FinishAsync, LetGo);
        table.Changed += OnChanged;
        store.Received += Receive;
        store.Left += OnLeft;
        telemetry.Waiting = Measure;
    }

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Cancels pending deliveries; the server has stopped.</summary>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        foreach (var queue in _queues.Values)
        {
            queue.Dispose();
        }

        await Task.WhenAll(_queues.Values.Select(queue => queue.Ended));
    }

    public void Dispose() => _underWay.Dispose();

    /// <summary>Returns the states of those webhooks, by id, that this node delivers to.</summary>
    public WebhookState[] Show(IEnumerable<string> ids, string node) =>
        [.. ids.Select(_queues.GetValueOrDefault).OfType<WebhookQueue>().Select(queue => queue.Show(node))];

    /// <summary>Without webhooks of events or rooms, publishing has no additional cost.</summary>
    private void OnChanged()
    {
        _publisher.Outlet = _table.HearsMessages ? _take : null;
        OnLeft(id => _table.Find(id) is null);
    }

    private void OnLeft(Func<string, bool> isLeft)
    {
        foreach (var (id, queue) in _queues)
        {
            if (isLeft(id) && _queues.TryRemove(id, out _))
            {
                queue.Dispose();
            }
        }
    }

    private (long Messages, TimeSpan Age) Measure()
    {
        var (messages, oldest, now) = (0L, DateTimeOffset.MaxValue, _time.GetUtcNow());
        foreach (var queue in _queues.Values)
        {
            messages += queue.Count;
            oldest = queue.Oldest is { } since && since < oldest ? since : oldest;
        }

        return (messages, oldest < now ? now - oldest : TimeSpan.Zero);
    }

    private async ValueTask TakeAsync(Envelope envelope)
    {
        var found = _table.Match(envelope);
        if (found.Count == 0)
        {
            return;
        }

        var (now, trace) = (_time.GetUtcNow(), Tracing.Carried(envelope.Traceparent));
        await _store.EnqueueAsync(
            found.ConvertAll(one => new WebhookMessage(
                one.Webhook.Id,
                envelope.Id,
                envelope.Event,
                one.Room,
                now,
                trace,
                envelope.Data
            ))
        );
    }

    private void Receive(WebhookMessage message)
    {
        if (Interlocked.Add(ref _bytes, message.Data.Length) > _options.WebhookQueueBytes || !TryAdd(message))
        {
            _ = FinishAsync(
                message,
                new Attempt(AttemptKind.Refused, WebhookReason.QueueFull, "too many messages wait for it"),
                attempts: 0
            );
        }
    }

    private bool TryAdd(WebhookMessage message)
    {
        while (true)
        {
            var queue = _queues.GetOrAdd(message.Webhook, _create);
            if (queue.TryAdd(message))
            {
                return true;
            }

            if (!queue.HasEnded)
            {
                return false;
            }
        }
    }

    /// <summary>Handles a message of an ended queue: its webhook was removed, or another node delivers to it.</summary>
    private void LetGo(WebhookMessage message)
    {
        if (_table.Find(message.Webhook) is null)
        {
            _ = FinishAsync(
                message,
                new Attempt(AttemptKind.Refused, WebhookReason.Gone, "it was removed"),
                attempts: 0
            );
        }
        else
        {
            Interlocked.Add(ref _bytes, -message.Data.Length);
        }
    }

    /// <summary>Handles a message that was delivered or abandoned.</summary>
    private async Task FinishAsync(WebhookMessage message, Attempt attempt, int attempts)
    {
        Interlocked.Add(ref _bytes, -message.Data.Length);
        try
        {
            if (attempt.Kind == AttemptKind.Delivered)
            {
                await _answers.SendAsync(message, attempt.Answer);
            }
            else
            {
                if (attempt.Reason == WebhookReason.QueueFull)
                {
                    TellFull(message.Webhook);
                }
                else
                {
                    LogDead(_logger, message.Id, message.Webhook, attempts, attempt.Reason, attempt.Detail);
                }

                _telemetry.Died(attempt.Reason);
                await _letters.AddAsync(
                    new DeadLetter(
                        "",
                        _time.GetUtcNow(),
                        message.Webhook,
                        null,
                        message.Event,
                        message.Id,
                        message.Subject,
                        attempt.Reason,
                        attempt.Detail,
                        attempts,
                        message.Data
                    )
                );
            }

            await _store.DoneAsync(message);
            if (attempt.Kind == AttemptKind.Gone)
            {
                LogGone(_logger, message.Webhook);
                await _store.RemoveAsync(message.Webhook);
            }
        }
        catch (Exception e)
        {
            LogFailed(_logger, message.Id, message.Webhook, e);
        }
    }

    /// <summary>Logs at most once a minute: there can be thousands in a second.</summary>
    private void TellFull(string webhook)
    {
        lock (_telling)
        {
            _refused++;
            if (_told is { } told && _time.GetElapsedTime(told) < TellInterval)
            {
                return;
            }

            _told = _time.GetTimestamp();
            LogFull(_logger, webhook, _refused);
            _refused = 0;
        }
    }

    [LoggerMessage(
        6001,
        LogLevel.Warning,
        "Message {Id} is not delivered to webhook {Webhook} after {Attempts} attempts, {Reason}: {Detail}"
    )]
    private static partial void LogDead(
        ILogger logger,
        string id,
        string webhook,
        int attempts,
        string reason,
        string detail
    );

    [LoggerMessage(6002, LogLevel.Warning, "Webhook {Webhook} is removed: it answered 410.")]
    private static partial void LogGone(ILogger logger, string webhook);

    [LoggerMessage(
        6005,
        LogLevel.Warning,
        "More messages come for webhook {Webhook} than it takes: those above DMB_WEBHOOK_QUEUE and "
            + "DMB_WEBHOOK_QUEUE_BYTES become dead letters, {Messages} since the last such line."
    )]
    private static partial void LogFull(ILogger logger, string webhook, long messages);

    [LoggerMessage(6003, LogLevel.Error, "Failed on message {Id} of webhook {Webhook}.")]
    private static partial void LogFailed(ILogger logger, string id, string webhook, Exception exception);
}
