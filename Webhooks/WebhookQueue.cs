using System.Diagnostics;
using System.Threading.Channels;
using Dmb.Telemetry;
using Polly;
using Polly.CircuitBreaker;
using Polly.Retry;

namespace Dmb.Webhooks;

/// <summary>
/// The queue of one webhook on this node. Delivers messages one at a time in order: retries each until it is delivered
/// or abandoned.
/// </summary>
internal sealed class WebhookQueue : IDisposable
{
    private static readonly TimeSpan FirstDelay = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan DelayMax = TimeSpan.FromMinutes(1);

    /// <summary>Number of failed attempts in a minute that open the breaker; the growing delays allow nine.</summary>
    private const int BreakerFailures = 5;
    private static readonly TimeSpan BreakerSampling = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan BreakDuration = TimeSpan.FromSeconds(10);
    private static readonly ResiliencePropertyKey<Delivery> Current = new("dmb.delivery");

    private readonly Channel<WebhookMessage> _waiting;
    private readonly CancellationTokenSource _ending = new();
    private readonly ResiliencePipeline<Attempt> _pipeline;
    private readonly string _id;
    private readonly WebhookTable _table;
    private readonly WebhookClient _client;
    private readonly WebhookTelemetry _telemetry;
    private readonly SemaphoreSlim _underWay;
    private readonly Func<WebhookMessage, Attempt, int, Task> _finish;
    private readonly Action<WebhookMessage> _letGo;
    private readonly CircuitBreakerStateProvider _breaker = new();
    private readonly TimeProvider _time;
    private WebhookMessage? _current;
    private WebhookFailure? _failure;

    public WebhookQueue(
        string id,
        WebhookTable table,
        WebhookClient client,
        WebhookTelemetry telemetry,
        WebhookOptions options,
        SemaphoreSlim underWay,
        TimeProvider time,
        Func<WebhookMessage, Attempt, int, Task> finish,
        Action<WebhookMessage> letGo
    )
    {
        (_id, _table, _client, _telemetry) = (id, table, client, telemetry);
        (_underWay, _finish, _letGo, _time) = (underWay, finish, letGo, time);
        _waiting = Channel.CreateBounded<WebhookMessage>(
            new BoundedChannelOptions(options.WebhookQueue) { SingleReader = true }
        );
        _pipeline = new ResiliencePipelineBuilder<Attempt> { TimeProvider = time }
            .AddRetry(
                new RetryStrategyOptions<Attempt>
                {
                    ShouldHandle = attempt =>
                        ValueTask.FromResult(
                            IsFailure(attempt.Outcome)
                                && time.GetUtcNow() - Of(attempt.Context).Message.Time < options.WebhookRetry
                        ),
                    MaxRetryAttempts = int.MaxValue,
                    BackoffType = DelayBackoffType.Exponential,
                    Delay = FirstDelay,
                    MaxDelay = DelayMax,
                    UseJitter = true,
                    DelayGenerator = attempt => ValueTask.FromResult(Delay(attempt.Outcome, options.WebhookRetry)),
                }
            )
            .AddCircuitBreaker(
                new CircuitBreakerStrategyOptions<Attempt>
                {
                    ShouldHandle = static attempt => ValueTask.FromResult(IsFailure(attempt.Outcome)),
                    FailureRatio = 0.9,
                    MinimumThroughput = BreakerFailures,
                    SamplingDuration = BreakerSampling,
                    BreakDuration = BreakDuration,
                    StateProvider = _breaker,
                }
            )
            .Build();
        Ended = RunAsync();
    }

    /// <summary>Completes when the queue has ended.</summary>
    public Task Ended { get; }

    /// <summary>Whether the queue has ended.</summary>
    public bool HasEnded => _ending.IsCancellationRequested;

    /// <summary>Number of queued messages, including the current one.</summary>
    public int Count => _waiting.Reader.Count + (_current is null ? 0 : 1);

    /// <summary>When the current message was published; null for none.</summary>
    public DateTimeOffset? Oldest => _current?.Time;

    /// <summary>Returns the state of the delivery.</summary>
    /// <param name="node">The id of this node.</param>
    public WebhookState Show(string node) =>
        new(
            _id,
            node,
            Count,
            Oldest is { } oldest ? Math.Max(0, Math.Round((_time.GetUtcNow() - oldest).TotalSeconds, 3)) : 0,
            _breaker.CircuitState != CircuitState.Closed ? "open" : "closed",
            _failure
        );

    /// <summary>Enqueues a message; false if the queue is full.</summary>
    public bool TryAdd(WebhookMessage message) => _waiting.Writer.TryWrite(message);

    /// <summary>Ends the queue; its messages stay in the store.</summary>
    public void Dispose() => _ending.Cancel();

    private async Task RunAsync()
    {
        try
        {
            await Task.Yield();
            await foreach (var message in _waiting.Reader.ReadAllAsync(_ending.Token))
            {
                _current = message;
                var delivery = new Delivery(message);
                if (_failure is { } failure)
                {
                    // Ends a message without an attempt, since the breaker is open until the message expires.
                    delivery.Last = new Attempt(AttemptKind.Failed, failure.Reason, failure.Detail);
                }

                var attempt = await DeliverAsync(delivery);
                _current = null;
                await _finish(message, attempt, delivery.Attempts);
            }
        }
        catch (OperationCanceledException)
        {
            // The webhook was removed, another node delivers to it, or the node stops.
        }

        _waiting.Writer.Complete();
        if (_current is { } interrupted)
        {
            _letGo(interrupted);
        }

        while (_waiting.Reader.TryRead(out var left))
        {
            _letGo(left);
        }
    }

    private async Task<Attempt> DeliverAsync(Delivery delivery)
    {
        var context = ResilienceContextPool.Shared.Get(_ending.Token);
        context.Properties.Set(Current, delivery);
        try
        {
            return await _pipeline.ExecuteAsync(static (context, queue) => queue.TryAsync(context), context, this);
        }
        catch (BrokenCircuitException)
        {
            return delivery.Last;
        }
        finally
        {
            ResilienceContextPool.Shared.Return(context);
        }
    }

    private async ValueTask<Attempt> TryAsync(ResilienceContext context)
    {
        var delivery = Of(context);
        await _underWay.WaitAsync(context.CancellationToken);
        try
        {
            delivery.Attempts++;
            if (_table.Find(_id) is not { } webhook)
            {
                throw new OperationCanceledException(_ending.Token);
            }

            using var span = Span(delivery.Message);
            var trace = span is { Recorded: true } ? span.Id : delivery.Message.Traceparent;
            delivery.Last = await _client.SendAsync(webhook, delivery.Message, trace, context.CancellationToken);
            _telemetry.Attempted(delivery.Last.Kind);
            _failure =
                delivery.Last.Kind == AttemptKind.Delivered
                    ? null
                    : new WebhookFailure(
                        _time.GetUtcNow(),
                        delivery.Message.Id,
                        delivery.Attempts,
                        delivery.Last.Reason,
                        delivery.Last.Detail
                    );
            if (delivery.Last.Kind != AttemptKind.Delivered)
            {
                span?.SetStatus(ActivityStatusCode.Error, delivery.Last.Reason);
            }

            return delivery.Last;
        }
        finally
        {
            _underWay.Release();
        }
    }

    /// <summary>Starts the span of one attempt, in the message's trace.</summary>
    private Activity? Span(WebhookMessage message)
    {
        if (
            message.Traceparent is null
            || !ActivityContext.TryParse(message.Traceparent, null, isRemote: true, out var parent)
        )
        {
            return null;
        }

        var span = Tracing.Source.StartActivity("deliver webhook", ActivityKind.Client, parent);
        return span is { IsAllDataRequested: true }
            ? Tracing
                .Describe(span, "deliver", "send", "webhook " + _id)
                .SetTag("messaging.message.id", message.Id)
                .SetTag("dmb.event", message.Event)
            : span;
    }

    private static Delivery Of(ResilienceContext context) => context.Properties.GetValue(Current, null!);

    private static bool IsFailure(Outcome<Attempt> outcome) =>
        outcome.Exception is BrokenCircuitException || outcome.Result is { Kind: AttemptKind.Failed };

    /// <summary>The delay requested by the receiver or the circuit breaker; null for the default.</summary>
    private static TimeSpan? Delay(Outcome<Attempt> outcome, TimeSpan max) =>
        (outcome.Result?.RetryAfter ?? (outcome.Exception as BrokenCircuitException)?.RetryAfter) is { } wait
            ? TimeSpan.FromTicks(Math.Min(wait.Ticks, max.Ticks))
            : null;

    /// <summary>A queued message.</summary>
    private sealed class Delivery(WebhookMessage message)
    {
        public WebhookMessage Message { get; } = message;

        public int Attempts { get; set; }

        /// <summary>The result of the last attempt.</summary>
        public Attempt Last { get; set; } = new(AttemptKind.Failed, WebhookReason.NoAnswer);
    }
}
