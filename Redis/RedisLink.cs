using Dmb.Routing;
using Polly;
using Polly.CircuitBreaker;
using Polly.Timeout;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The two connections to Redis, the client library's for commands and publishes, and one for subscriptions
/// (<see cref="RedisSubscriber"/>), which a node that only publishes does without. They are made together and given up
/// together at the first sign of trouble; that a peer hangs is noticed by the probe of <see cref="RedisSupervisor"/>
/// alone. What the library throws leaves this class as <see cref="RedisUnavailableException"/>.
/// </summary>
internal sealed class RedisLink : IDisposable
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(6);

    private readonly ConnectionMultiplexer _commands;
    private readonly IDatabase _database;
    private readonly RedisSubscriber? _subscriber;
    private readonly TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _gone = new();
    private readonly CircuitBreakerManualControl _circuit = new();
    private readonly ResiliencePipeline _pipeline;

    private readonly PoisonedKeys _poisoned;

    private RedisLink(ConnectionMultiplexer commands, Stream? subscriptions, TimeSpan timeout, PoisonedKeys poisoned)
    {
        (_commands, _database, _poisoned) = (commands, commands.GetDatabase(), poisoned);
        _pipeline = new ResiliencePipelineBuilder { TimeProvider = TimeProvider.System }
            .AddCircuitBreaker(
                new CircuitBreakerStrategyOptions
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
        commands.ConnectionFailed += (_, e) => Lose($"the connection for commands failed: {e.FailureType}");
        commands.InternalError += (_, e) => Lose($"the connection for commands had an error: {e.Exception?.Message}");
        if (subscriptions is not null)
        {
            _subscriber = new RedisSubscriber(subscriptions, why =>
                Lose($"the connection for subscriptions was cut: {why}")
            );
        }
    }

    /// <summary>Takes the messages of rooms that this link receives: the channel and the body.</summary>
    public Action<string, byte[]> OnMessage
    {
        set => Subscriber.OnMessage = value;
    }

    /// <summary>Takes the messages of all rooms, once they are subscribed: the channel and the body.</summary>
    public Action<string, byte[]> OnPatternMessage
    {
        set => Subscriber.OnPatternMessage = value;
    }

    private RedisSubscriber Subscriber =>
        _subscriber ?? throw new InvalidOperationException("This link has no connection for subscriptions.");

    /// <summary>Whether no gap is before what was received by now.</summary>
    public bool IsWhole => !_lost.Task.IsCompleted;

    /// <summary>Completes with the reason when one of the connections is in trouble.</summary>
    public Task<string> Lost => _lost.Task;

    /// <summary>Cancelled then.</summary>
    public CancellationToken Gone => _gone.Token;

    /// <summary>Connects both, and has an answer of each.</summary>
    /// <param name="redis">Where.</param>
    /// <param name="isSubscribing">Whether to keep the connection for subscriptions.</param>
    /// <param name="timeout">How long a command may take.</param>
    /// <param name="poisoned">Told of keys that hold something else.</param>
    /// <param name="cancellationToken">Gives up connecting.</param>
    /// <exception cref="RedisUnavailableException">
    /// Redis can't be reached, doesn't answer, or doesn't let this node in.
    /// </exception>
    public static async Task<RedisLink> ConnectAsync(
        RedisEndpoint redis,
        bool isSubscribing,
        TimeSpan timeout,
        PoisonedKeys poisoned,
        CancellationToken cancellationToken
    )
    {
        Stream? subscriptions = null;
        Task<ConnectionMultiplexer>? connecting = null;
        try
        {
            var password = redis.ReadPassword();
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(ConnectTimeout);
            (subscriptions, var address) = await RedisGreeting.AskAsync(redis, password, patience.Token);
            connecting = ConnectionMultiplexer.ConnectAsync(redis.ToOptions(address, password));
            var commands = await connecting.WaitAsync(ConnectTimeout, TimeProvider.System, cancellationToken);
            if (!isSubscribing)
            {
                await subscriptions.DisposeAsync();
            }

            return new RedisLink(commands, isSubscribing ? subscriptions : null, timeout, poisoned);
        }
        catch (Exception e)
        {
            if (connecting is not null)
            {
                _ = DisposeAsync(connecting);
            }

            if (subscriptions is not null)
            {
                await subscriptions.DisposeAsync();
            }

            throw new RedisUnavailableException(RedisReason.Of(e), e);
        }
    }

    /// <summary>
    /// Gives the link up; from here on each command fails at once, those that wait for their answer too.
    /// </summary>
    public void Lose(string why)
    {
        if (_lost.TrySetResult(why))
        {
            _ = _circuit.IsolateAsync();
            _ = _gone.CancelAsync();
        }
    }

    /// <summary>Runs a command within the timeout of a publish.</summary>
    /// <exception cref="RedisKeyException">A key holds something else.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public async Task<T> RunAsync<T>(Func<IDatabase, Task<T>> command)
    {
        try
        {
            return await _pipeline.ExecuteAsync(
                static async (call, token) => await call.command(call.database).WaitAsync(token),
                (command, database: _database),
                Gone
            );
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            throw Refused(e, []);
        }
    }

    /// <summary>
    /// Runs a command that may take longer than a publish: one that reads much, or that is part of making the link.
    /// </summary>
    /// <exception cref="RedisKeyException">A key holds something else.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public async Task<T> RunAsync<T>(TimeSpan within, Func<IDatabase, Task<T>> command)
    {
        try
        {
            return await command(_database).WaitAsync(within, TimeProvider.System, Gone);
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            throw Refused(e, []);
        }
    }

    /// <summary>Runs one of the scripts within the timeout of a publish.</summary>
    /// <exception cref="RedisKeyException">A key holds something else.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public async Task<RedisResult> RunAsync(RedisScript script, RedisKey[] keys, RedisValue[] arguments)
    {
        try
        {
            return await _pipeline.ExecuteAsync(
                static async (call, token) =>
                    await call.script.RunAsync(call.database, call.keys, call.arguments).WaitAsync(token),
                (database: _database, script, keys, arguments),
                Gone
            );
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            throw Refused(e, keys);
        }
    }

    /// <summary>Waits for what was asked of a connection of this link.</summary>
    /// <exception cref="RedisUnavailableException">It was not done within that time, or the link is gone.</exception>
    public async Task WithinAsync(TimeSpan time, Task asked)
    {
        try
        {
            await asked.WaitAsync(time, TimeProvider.System, Gone);
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            throw Refused(e, []);
        }
    }

    /// <summary>Redis's clock, in ms since 1970.</summary>
    /// <exception cref="RedisUnavailableException">It did not answer.</exception>
    public async Task<long> TimeAsync()
    {
        var now = (RedisResult[])(await RunAsync(static redis => redis.ExecuteAsync("TIME")))!;
        return ((long)now[0] * 1_000) + ((long)now[1] / 1_000);
    }

    /// <summary>Subscribes a channel, or, with a `*` in it or letters in brackets, a pattern.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was subscribed.</exception>
    public Task SubscribeAsync(
        string channel,
        Action<string, byte[]> receive,
        TimeSpan within,
        bool isPattern = false
    ) => WithinAsync(within, Subscriber.SubscribeAsync(channel, isPattern, receive));

    /// <summary>
    /// Subscribes a room's channel, or the pattern of all; to be waited for by <see cref="WithinAsync"/>.
    /// </summary>
    public Task SubscribeRoomAsync(string channel, bool isPattern) => Subscriber.SubscribeAsync(channel, isPattern);

    /// <summary>Unsubscribes a room's channel, or the pattern of all. No session is in the room.</summary>
    public void UnsubscribeRoom(string channel, bool isPattern) =>
        _ = Subscriber
            .UnsubscribeAsync(channel, isPattern)
            .ContinueWith(
                static (task, link) =>
                    ((RedisLink)link!).Lose($"an unsubscribe failed: {task.Exception!.InnerException!.Message}"),
                this,
                CancellationToken.None,
                TaskContinuationOptions.OnlyOnFaulted,
                TaskScheduler.Default
            );

    /// <summary>Publishes without waiting for Redis.</summary>
    public void PublishUnanswered(string channel, string line) =>
        _ = _database.PublishAsync(RedisChannel.Literal(channel), line, CommandFlags.FireAndForget);

    /// <summary>Gives both up, elsewhere: the library waits for a hung peer.</summary>
    public void Dispose()
    {
        Lose("it is not used any more");
        _ = DisposeAsync(Task.FromResult(_commands));
        _ = _subscriber?.DisposeAsync().AsTask();
    }

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
    /// What callers of this class get: for a key that holds something else <see cref="RedisKeyException"/>, for all
    /// else <see cref="RedisUnavailableException"/>.
    /// </summary>
    private RefusedException Refused(Exception e, RedisKey[] keys)
    {
        if (RedisKeyException.From(e) is { } poisoned)
        {
            _poisoned.Refused(keys.Length == 0 ? "a key" : string.Join(", ", keys), poisoned.Why);
            return poisoned;
        }

        if (e is RedisServerException && e.Message.StartsWith("MOVED", StringComparison.Ordinal))
        {
            // Another server of the cluster has the keys now.
            Lose(RedisReason.Of(e));
        }

        return new RedisUnavailableException(Lost.IsCompletedSuccessfully ? Lost.Result : RedisReason.Of(e), e);
    }

    private static async Task DisposeAsync(Task<ConnectionMultiplexer> connecting)
    {
        await Task.WhenAny(connecting).ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        if (connecting.IsCompletedSuccessfully)
        {
            await connecting
                .Result.CloseAsync(allowCommandsToComplete: false)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            connecting.Result.Dispose();
        }
    }
}
