using System.Collections.Concurrent;
using Dmb.Routing;
using Polly;
using Polly.CircuitBreaker;
using Polly.Timeout;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// One group's use of the connections to a server. It is lost with them, and by itself when the group's slot has moved
/// to another server. Exceptions of the library leave this class as <see cref="RedisUnavailableException"/>.
/// </summary>
internal sealed class RedisLink : IDisposable
{
    private readonly RedisConnections _connections;
    private readonly IDatabase _database;
    private readonly RedisPipeline _scripts;
    private readonly RedisChannels _channels;
    private readonly Action _leave;
    private readonly TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _gone = new();
    private readonly CancellationTokenRegistration _losing;
    private readonly CircuitBreakerManualControl _circuit = new();
    private readonly ResiliencePipeline<object?> _pipeline;
    private readonly PoisonedKeys _poisoned;

    /// <summary>What this link has subscribed besides rooms.</summary>
    private readonly ConcurrentQueue<(string Channel, SubscriptionKind Kind)> _own = [];

    /// <param name="connections">The connections.</param>
    /// <param name="channels">The group's names.</param>
    /// <param name="timeout">Maximum time of a command.</param>
    /// <param name="poisoned">Counts keys of a wrong type.</param>
    /// <param name="leave">Called when the link no longer uses the connections.</param>
    public RedisLink(
        RedisConnections connections,
        RedisChannels channels,
        TimeSpan timeout,
        PoisonedKeys poisoned,
        Action leave
    )
    {
        (_connections, _database, _scripts, _channels, _poisoned, _leave) = (
            connections,
            connections.Database,
            connections.Scripts,
            channels,
            poisoned,
            leave
        );
        _pipeline = new ResiliencePipelineBuilder<object?> { TimeProvider = TimeProvider.System }
            .AddCircuitBreaker(
                new CircuitBreakerStrategyOptions<object?>
                {
                    ManualControl = _circuit,
                    MinimumThroughput = 100,
                    ShouldHandle = static call =>
                        ValueTask.FromResult(
                            call.Outcome.Exception is not (null or OperationCanceledException)
                                && RedisKeyException.From(call.Outcome.Exception) is null
                        ),
                }
            )
            .AddTimeout(new TimeoutStrategyOptions { Timeout = timeout })
            .Build();
        _losing = connections.Gone.Register(() => LoseGroup(connections.Why!));
    }

    private RedisSubscriber Subscriber =>
        _connections.Subscriber
        ?? throw new InvalidOperationException("This link has no connection for subscriptions.");

    /// <summary>Whether no message is missing before the latest received one.</summary>
    public bool IsWhole => !_lost.Task.IsCompleted && _connections.Why is null;

    /// <summary>Completes with the reason when the link is lost.</summary>
    public Task<string> Lost => _lost.Task;

    /// <summary>Canceled when the link is lost.</summary>
    public CancellationToken Gone => _gone.Token;

    /// <summary>
    /// Closes the connections, and with them the links of all groups on this server; pending and later commands fail at
    /// once. Without effect on a link that is lost.
    /// </summary>
    public void Lose(string why)
    {
        if (LoseGroup(why))
        {
            _connections.Lose(why);
        }
    }

    /// <summary>Ends the link of this group alone; false if it is lost already.</summary>
    public bool LoseGroup(string why)
    {
        if (!_lost.TrySetResult(why))
        {
            return false;
        }

        _ = _circuit.IsolateAsync();
        _ = _gone.CancelAsync();
        return true;
    }

    /// <summary>Hands over the messages of subscribed rooms: the channel and the body.</summary>
    public void Receive(Action<string, byte[]> onMessage) =>
        Subscriber.Add(_channels.Prefix, onMessage, () => LoseGroup("its slot moved to another server"));

    /// <summary>Runs a command within the timeout of a publish.</summary>
    /// <exception cref="RedisKeyException">A key has a wrong type.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public async Task<T> RunAsync<T>(Func<IDatabase, Task<T>> command)
    {
        try
        {
            return (T)
                (
                    await _pipeline.ExecuteAsync(
                        static async (call, token) => await call.command(call.database).WaitAsync(token),
                        (command, database: _database),
                        Gone
                    )
                )!;
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            throw Refused(e, "");
        }
    }

    /// <summary>
    /// Runs a command that may take longer than a publish: a large read, or a step of attaching the link.
    /// </summary>
    /// <exception cref="RedisKeyException">A key has a wrong type.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public async Task<T> RunAsync<T>(TimeSpan within, Func<IDatabase, Task<T>> command)
    {
        try
        {
            return await command(_database).WaitAsync(within, TimeProvider.System, Gone);
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            throw Refused(e, "");
        }
    }

    /// <summary>Runs a script within the timeout of a publish.</summary>
    /// <exception cref="RedisKeyException">A key has a wrong type.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public ValueTask<RedisResult> RunAsync(RedisScript script, RedisKey[] keys, RedisValue[] arguments) =>
        RunAsync(new RedisCall(_channels.Own(script), keys, arguments));

    /// <summary>Calls a script within the timeout of a publish.</summary>
    /// <exception cref="RedisKeyException">A key has a wrong type.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public async ValueTask<RedisResult> RunAsync(RedisCall call)
    {
        var context = ResilienceContextPool.Shared.Get(Gone);
        var answer = await _pipeline.ExecuteOutcomeAsync(
            static (context, call) => call.scripts.CallAsync(call.call, context.CancellationToken),
            context,
            (scripts: _scripts, call)
        );
        ResilienceContextPool.Shared.Return(context);
        return Result(answer, call);
    }

    /// <summary>Calls a script, behind earlier calls, within another time than that of a publish.</summary>
    /// <exception cref="RedisKeyException">A key has a wrong type.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public async ValueTask<RedisResult> RunAsync(TimeSpan within, RedisCall call)
    {
        using var giving = CancellationTokenSource.CreateLinkedTokenSource(Gone);
        giving.CancelAfter(within);
        return Result(await _scripts.CallAsync(call, giving.Token), call);
    }

    /// <summary>Awaits an operation on a connection of this link.</summary>
    /// <exception cref="RedisUnavailableException">It timed out, or the link is closed.</exception>
    public async Task WithinAsync(TimeSpan time, Task asked)
    {
        try
        {
            await asked.WaitAsync(time, TimeProvider.System, Gone);
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            throw Refused(e, "");
        }
    }

    /// <summary>Redis's clock (TIME), in ms since 1970.</summary>
    /// <exception cref="RedisUnavailableException">It did not answer.</exception>
    public async Task<long> TimeAsync()
    {
        var now = (RedisResult[])(await RunAsync(static redis => redis.ExecuteAsync("TIME")))!;
        return ((long)now[0] * 1_000) + ((long)now[1] / 1_000);
    }

    /// <summary>Runs a script that may take longer than a publish.</summary>
    /// <exception cref="RedisKeyException">A key has a wrong type.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public Task<RedisResult> RunAsync(TimeSpan within, RedisScript script, RedisKey[] keys, RedisValue[] arguments) =>
        RunAsync(within, redis => _channels.Own(script).RunAsync(redis, keys, arguments));

    /// <summary>Subscribes a channel, or, with a `*` in it or letters in brackets, a pattern.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was subscribed.</exception>
    public Task SubscribeAsync(
        string channel,
        Action<string, byte[]> receive,
        TimeSpan within,
        SubscriptionKind kind = SubscriptionKind.Channel
    )
    {
        _own.Enqueue((channel, kind));
        return WithinAsync(within, Subscriber.SubscribeAsync(channel, kind, receive));
    }

    /// <summary>
    /// Subscribes a room's channel, or that or the pattern of all rooms; await it by <see cref="WithinAsync"/>.
    /// </summary>
    public Task SubscribeRoomAsync(string channel, SubscriptionKind kind, Action<string, byte[]>? receive = null) =>
        Subscriber.SubscribeAsync(channel, kind, receive);

    /// <summary>Unsubscribes the channel of a room without sessions, or that of all rooms.</summary>
    public void UnsubscribeRoom(string channel, SubscriptionKind kind) =>
        _ = Subscriber
            .UnsubscribeAsync(channel, kind)
            .ContinueWith(
                static (task, link) => ((RedisLink)link!).NotUnsubscribed(task.Exception!.InnerException!.Message),
                this,
                CancellationToken.None,
                TaskContinuationOptions.OnlyOnFaulted,
                TaskScheduler.Default
            );

    /// <summary>Publishes without awaiting a reply.</summary>
    public void PublishUnanswered(string channel, RedisValue line) =>
        _ = _database.PublishAsync(RedisChannel.Literal(channel), line, CommandFlags.FireAndForget);

    /// <summary>Leaves the connections, which the last link closes.</summary>
    public void Dispose()
    {
        LoseGroup("it is not used any more");
        _losing.Dispose();
        if (_connections.Subscriber is { } subscriber)
        {
            subscriber.Remove(_channels.Prefix);
            foreach (var (channel, kind) in _own)
            {
                subscriber.Forget(channel, kind);
            }
        }

        _leave();
    }

    private void NotUnsubscribed(string why)
    {
        if (RedisReason.IsAboutSlot(why))
        {
            LoseGroup(why);
        }

        Lose($"an unsubscribe failed: {why}");
    }

    private RedisResult Result(Outcome<object?> answer, RedisCall call) =>
        answer.Exception is not { } e ? (RedisResult)answer.Result!
        : IsUnavailable(e) ? throw Refused(e, call.KeyNames)
        : throw e;

    private static bool IsUnavailable(Exception e) =>
        e
            is RedisException
                or RedisAnswerException
                or IOException
                or TimeoutException
                or BrokenCircuitException
                or TimeoutRejectedException
                or ObjectDisposedException
                or OperationCanceledException;

    /// <summary>
    /// Maps an exception of the library to <see cref="RedisKeyException"/> for a key of a wrong type, and to
    /// <see cref="RedisUnavailableException"/> otherwise.
    /// </summary>
    private RefusedException Refused(Exception e, string keys)
    {
        if (RedisKeyException.From(e) is { } poisoned)
        {
            _poisoned.Refused(keys.Length == 0 ? "a key" : keys, poisoned.Why);
            return poisoned;
        }

        if (e is (RedisException or RedisAnswerException) && RedisReason.IsAboutSlot(e.Message))
        {
            // The slot has moved, or moves, to another server of the cluster.
            LoseGroup(RedisReason.Of(e));
        }

        return new RedisUnavailableException(Lost.IsCompletedSuccessfully ? Lost.Result : RedisReason.Of(e), e);
    }
}
