using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Holds the link in use, and runs commands on it.</summary>
internal sealed class RedisConnection(RedisOptions options)
{
    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile RedisLink? _link;

    /// <summary>
    /// The link; null until it is up to date, and after it is lost. Set by <see cref="RedisPublisher"/>.
    /// </summary>
    public RedisLink? Link
    {
        get => _link;
        set
        {
            _link = value;
            _first.TrySetResult();
        }
    }

    /// <summary>Completes with the first attempt to connect.</summary>
    public Task Tried => _first.Task;

    /// <summary>Records that the first attempt to connect failed: callers no longer wait for a link.</summary>
    public void NoteFailure() => _first.TrySetResult();

    /// <summary>
    /// The link, or null. During the first attempt to connect, waits for it within the timeout of a publish.
    /// </summary>
    public ValueTask<RedisLink?> GetAsync() => _link is { } link || _first.Task.IsCompleted ? new(_link) : WaitAsync();

    /// <summary>The link; during the first attempt to connect, waits for it.</summary>
    /// <exception cref="RedisUnavailableException">There is no link.</exception>
    public async ValueTask<RedisLink> RequiredAsync() =>
        await GetAsync() ?? throw new RedisUnavailableException("there is no connection to Redis now");

    /// <summary>Runs a command within the timeout of a publish.</summary>
    /// <exception cref="RedisUnavailableException">
    /// There is no link, or it is not known whether the command was executed.
    /// </exception>
    public async Task<T> RunAsync<T>(Func<IDatabase, Task<T>> command) =>
        await (await RequiredAsync()).RunAsync(command);

    /// <summary>Runs one of the scripts within the timeout of a publish.</summary>
    /// <exception cref="RedisUnavailableException">
    /// There is no link, or it is not known whether the script was executed.
    /// </exception>
    public async Task<RedisResult> RunAsync(RedisScript script, RedisKey[] keys, RedisValue[] arguments) =>
        await (await RequiredAsync()).RunAsync(script, keys, arguments);

    private async ValueTask<RedisLink?> WaitAsync()
    {
        await Task.WhenAny(_first.Task, Task.Delay(options.PublishTimeout, TimeProvider.System));
        return _link;
    }
}
