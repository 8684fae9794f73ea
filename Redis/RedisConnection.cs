using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>The link in use, for all that has a command for Redis.</summary>
internal sealed class RedisConnection
{
    private volatile RedisLink? _link;

    /// <summary>The link; null until it is up to date, and from the moment in which it is lost. <see cref="RedisPublisher"/> changes it.</summary>
    public RedisLink? Link
    {
        get => _link;
        set => _link = value;
    }

    /// <summary>Runs a command within the timeout of a publish.</summary>
    /// <exception cref="RedisUnavailableException">There is no link, or it is not known whether the command was executed.</exception>
    public Task<T> RunAsync<T>(Func<IDatabase, Task<T>> command) => Required().RunAsync(command);

    /// <summary>Runs one of the scripts within the timeout of a publish.</summary>
    /// <exception cref="RedisUnavailableException">There is no link, or it is not known whether the script was executed.</exception>
    public Task<RedisResult> RunAsync(RedisScript script, RedisKey[] keys, RedisValue[] arguments) => Required().RunAsync(script, keys, arguments);

    /// <summary>The link in use.</summary>
    /// <exception cref="RedisUnavailableException">There is none.</exception>
    public RedisLink Required() => _link ?? throw new RedisUnavailableException("there is no connection to Redis now");
}
