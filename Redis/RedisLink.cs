using Dmb.Routing;
using Polly;
using Polly.CircuitBreaker;
using Polly.Timeout;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The two connections to Redis, one for commands and publishes, one for subscriptions. They are made together and
/// given up together at the first sign of trouble, since the client library neither notices a hung peer nor keeps its
/// subscriptions for sure. What the library throws leaves this class as <see cref="RedisUnavailableException"/>.
/// </summary>
internal sealed class RedisLink : IDisposable
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(6);

    private readonly ConnectionMultiplexer _commands;
    private readonly ConnectionMultiplexer _subscriptions;
    private readonly IDatabase _database;
    private readonly ISubscriber _subscriber;
    private readonly long _subscriptionSockets;
    private readonly TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _gone = new();
    private readonly CircuitBreakerManualControl _circuit = new();
    private readonly ResiliencePipeline _pipeline;

    private readonly PoisonedKeys _poisoned;

    private RedisLink(
        ConnectionMultiplexer commands,
        ConnectionMultiplexer subscriptions,
        TimeSpan timeout,
        PoisonedKeys poisoned
    )
    {
        _poisoned = poisoned;
        (_commands, _subscriptions) = (commands, subscriptions);
        (_database, _subscriber) = (commands.GetDatabase(), subscriptions.GetSubscriber());
        _subscriptionSockets = subscriptions.GetCounters().Subscription.SocketCount;
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
        Watch(commands, "commands");
        Watch(subscriptions, "subscriptions");
    }

    /// <summary>
    /// Takes the messages of rooms that this link receives. Made once, so that a room can be unsubscribed.
    /// </summary>
    public Action<RedisChannel, RedisValue> OnMessage { get; set; } = static (_, _) => { };

    /// <summary>
    /// Whether no gap is before what was received by now. The library reconnects by itself, and may say so only after
    /// it delivered what it received then.
    /// </summary>
    public bool IsWhole =>
        !_lost.Task.IsCompleted && _subscriptions.GetCounters().Subscription.SocketCount == _subscriptionSockets;

    /// <summary>Completes with the reason when one of the connections is in trouble.</summary>
    public Task<string> Lost => _lost.Task;

    /// <summary>Cancelled then.</summary>
    public CancellationToken Gone => _gone.Token;

    /// <summary>Connects both, and has an answer of each.</summary>
    /// <param name="redis">Where.</param>
    /// <param name="timeout">How long a command may take.</param>
    /// <param name="poisoned">Told of keys that hold something else.</param>
    /// <param name="cancellationToken">Gives up connecting.</param>
    /// <exception cref="RedisUnavailableException">
    /// Redis can't be reached, doesn't answer, or doesn't let this node in.
    /// </exception>
    public static async Task<RedisLink> ConnectAsync(
        RedisEndpoint redis,
        TimeSpan timeout,
        PoisonedKeys poisoned,
        CancellationToken cancellationToken
    )
    {
        Task<ConnectionMultiplexer>[] connecting = [];
        try
        {
            var password = redis.ReadPassword();
            var address = await RedisGreeting
                .AskAsync(redis, password, cancellationToken)
                .WaitAsync(ConnectTimeout, TimeProvider.System, cancellationToken);
            var options = redis.ToOptions(address, password);
            connecting = [ConnectionMultiplexer.ConnectAsync(options), ConnectionMultiplexer.ConnectAsync(options)];
            var both = await Task.WhenAll(connecting).WaitAsync(ConnectTimeout, TimeProvider.System, cancellationToken);
            var link = new RedisLink(both[0], both[1], timeout, poisoned);
            await link._database.PingAsync().WaitAsync(ConnectTimeout, TimeProvider.System, cancellationToken);
            return link;
        }
        catch (Exception e)
        {
            foreach (var connection in connecting)
            {
                _ = DisposeAsync(connection);
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
    ) =>
        WithinAsync(
            within,
            _subscriber.SubscribeAsync(
                new RedisChannel(
                    channel,
                    isPattern ? RedisChannel.PatternMode.Pattern : RedisChannel.PatternMode.Literal
                ),
                (from, body) => receive(from!, body!)
            )
        );

    /// <summary>Subscribes a room's channel; to be waited for by <see cref="WithinAsync"/>.</summary>
    public Task SubscribeRoomAsync(string channel) => _subscriber.SubscribeAsync(RoomChannel(channel), OnMessage);

    /// <summary>
    /// Unsubscribes a room's channel, and gives the link up if that fails: else its messages would be received twice
    /// later.
    /// </summary>
    public void UnsubscribeRoom(string channel) =>
        _ = _subscriber
            .UnsubscribeAsync(RoomChannel(channel), OnMessage)
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
        _ = _database.PublishAsync(channel, line, CommandFlags.FireAndForget);

    /// <summary>Gives both up, elsewhere: the library waits for a hung peer.</summary>
    public void Dispose()
    {
        Lose("it is not used any more");
        _ = DisposeAsync(Task.FromResult(_commands));
        _ = DisposeAsync(Task.FromResult(_subscriptions));
    }

    private static RedisChannel RoomChannel(string channel) => new(channel, RedisChannel.PatternMode.Literal);

    private static bool IsUnavailable(Exception e) =>
        e
            is RedisException
                or TimeoutException
                or BrokenCircuitException
                or TimeoutRejectedException
                or ObjectDisposedException
                or OperationCanceledException;

    /// <summary>
    /// What callers of this class get: for a key that holds something else <see cref="RedisKeyException"/>, for all else
    /// <see cref="RedisUnavailableException"/>.
    /// </summary>
    private RefusedException Refused(Exception e, RedisKey[] keys)
    {
        if (RedisKeyException.From(e) is { } poisoned)
        {
            _poisoned.Refused(keys.Length == 0 ? "a key" : string.Join(", ", keys), poisoned.Why);
            return poisoned;
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

    private void Watch(ConnectionMultiplexer connection, string name)
    {
        connection.ConnectionFailed += (_, e) => Lose($"the connection for {name} failed: {e.FailureType}");
        connection.InternalError += (_, e) => Lose($"the connection for {name} had an error: {e.Exception?.Message}");
    }
}
