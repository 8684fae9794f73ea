using Dmb.Routing;
using Polly;
using Polly.CircuitBreaker;
using Polly.Timeout;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The connections to Redis: the client library's for commands, one for scripts (<see cref="RedisPipeline"/>), and one for
/// subscriptions (<see cref="RedisSubscriber"/>), which a publishing node omits. All are opened and closed together, at the
/// first failure; only the probe of <see cref="RedisSupervisor"/> detects a hung peer. Exceptions of the library leave
/// this class as <see cref="RedisUnavailableException"/>.
/// </summary>
internal sealed class RedisLink : IDisposable
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(6);

    private readonly ConnectionMultiplexer _commands;
    private readonly IDatabase _database;
    private readonly RedisPipeline _scripts;
    private readonly RedisSubscriber? _subscriber;
    private readonly TaskCompletionSource<string> _lost = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _gone = new();
    private readonly CircuitBreakerManualControl _circuit = new();
    private readonly ResiliencePipeline _pipeline;

    private readonly PoisonedKeys _poisoned;

    private RedisLink(
        ConnectionMultiplexer commands,
        Stream scripts,
        Stream? subscriptions,
        TimeSpan timeout,
        PoisonedKeys poisoned
    )
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
        _scripts = new RedisPipeline(scripts, _database.Database, why =>
            Lose($"the connection for scripts failed: {why}")
        );
        if (subscriptions is not null)
        {
            _subscriber = new RedisSubscriber(subscriptions, why =>
                Lose($"the connection for subscriptions was cut: {why}")
            );
        }
    }

    /// <summary>Receives the messages of subscribed rooms: the channel and the body.</summary>
    public Action<string, byte[]> OnMessage
    {
        set => Subscriber.OnMessage = value;
    }

    /// <summary>
    /// Receives the messages of all rooms while their pattern is subscribed: the channel and the body.
    /// </summary>
    public Action<string, byte[]> OnPatternMessage
    {
        set => Subscriber.OnPatternMessage = value;
    }

    private RedisSubscriber Subscriber =>
        _subscriber ?? throw new InvalidOperationException("This link has no connection for subscriptions.");

    /// <summary>Whether no message is missing before the latest received one.</summary>
    public bool IsWhole => !_lost.Task.IsCompleted;

    /// <summary>Completes with the reason when one of the connections fails.</summary>
    public Task<string> Lost => _lost.Task;

    /// <summary>Canceled when one of the connections fails.</summary>
    public CancellationToken Gone => _gone.Token;

    /// <summary>Opens the connections, and awaits a reply on each.</summary>
    /// <param name="redis">The server's endpoint.</param>
    /// <param name="isSubscribing">Whether to open the connection for subscriptions.</param>
    /// <param name="timeout">Maximum time of a command.</param>
    /// <param name="poisoned">Counts keys of a wrong type.</param>
    /// <param name="cancellationToken">Cancels connecting.</param>
    /// <exception cref="RedisUnavailableException">
    /// Redis is unreachable, does not answer, or denies access.
    /// </exception>
    public static async Task<RedisLink> ConnectAsync(
        RedisEndpoint redis,
        bool isSubscribing,
        TimeSpan timeout,
        PoisonedKeys poisoned,
        CancellationToken cancellationToken
    )
    {
        Stream? scripts = null;
        Stream? subscriptions = null;
        Task<ConnectionMultiplexer>? connecting = null;
        try
        {
            var password = redis.ReadPassword();
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(ConnectTimeout);
            (scripts, var address) = await RedisGreeting.AskAsync(redis, password, patience.Token);
            if (isSubscribing)
            {
                (subscriptions, _) = await RedisGreeting.AskAsync(redis, password, patience.Token);
            }

            connecting = ConnectionMultiplexer.ConnectAsync(redis.ToOptions(address, password));
            var commands = await connecting.WaitAsync(ConnectTimeout, TimeProvider.System, cancellationToken);
            return new RedisLink(commands, scripts, subscriptions, timeout, poisoned);
        }
        catch (Exception e)
        {
            if (connecting is not null)
            {
                _ = DisposeAsync(connecting);
            }

            foreach (var stream in (Stream?[])[scripts, subscriptions])
            {
                await (stream?.DisposeAsync() ?? default);
            }

            throw new RedisUnavailableException(RedisReason.Of(e), e);
        }
    }

    /// <summary>
    /// Closes the link; pending and later commands fail at once.
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
    /// <exception cref="RedisKeyException">A key has a wrong type.</exception>
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
            throw Refused(e, []);
        }
    }

    /// <summary>Runs a script within the timeout of a publish.</summary>
    /// <exception cref="RedisKeyException">A key has a wrong type.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was executed.</exception>
    public async Task<RedisResult> RunAsync(RedisScript script, RedisKey[] keys, RedisValue[] arguments)
    {
        try
        {
            return await _pipeline.ExecuteAsync(
                static (call, token) =>
                    new ValueTask<RedisResult>(
                        call.scripts.CallAsync(call.script, call.keys, call.arguments).WaitAsync(token)
                    ),
                (scripts: _scripts, script, keys, arguments),
                Gone
            );
        }
        catch (Exception e) when (IsUnavailable(e))
        {
            throw Refused(e, keys);
        }
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
            throw Refused(e, []);
        }
    }

    /// <summary>Redis's clock (TIME), in ms since 1970.</summary>
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
    /// Subscribes a room's channel, or the pattern of all rooms; await it by <see cref="WithinAsync"/>.
    /// </summary>
    public Task SubscribeRoomAsync(string channel, bool isPattern) => Subscriber.SubscribeAsync(channel, isPattern);

    /// <summary>Unsubscribes the channel of a room without sessions, or the pattern of all rooms.</summary>
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

    /// <summary>Publishes without awaiting a reply.</summary>
    public void PublishUnanswered(string channel, RedisValue line) =>
        _ = _database.PublishAsync(RedisChannel.Literal(channel), line, CommandFlags.FireAndForget);

    /// <summary>Disposes all on the thread pool, since the library waits for a hung peer.</summary>
    public void Dispose()
    {
        Lose("it is not used any more");
        _ = DisposeAsync(Task.FromResult(_commands));
        _ = _scripts.DisposeAsync().AsTask();
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
    /// Maps an exception of the library to <see cref="RedisKeyException"/> for a key of a wrong type, and to
    /// <see cref="RedisUnavailableException"/> otherwise.
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
            // The slot has moved to another server of the cluster.
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
