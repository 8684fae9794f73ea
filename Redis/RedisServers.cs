using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>
/// Makes the links of groups: those on the same server share its connections, which are closed when the last group has
/// left them.
/// </summary>
internal sealed class RedisServers(
    RedisEndpoint redis,
    RedisOptions options,
    RoutingOptions routing,
    PoisonedKeys poisoned,
    TimeProvider time
)
{
    private const int ReasonsMax = 100;
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);

    /// <summary>How long a server that was named may take until the link to it is made.</summary>
    private static readonly TimeSpan MasterPatience = TimeSpan.FromSeconds(3);

    private readonly Lock _lock = new();
    private readonly Dictionary<(string Host, int Port), Shared> _shared = [];

    /// <summary>When each reason was logged last.</summary>
    private readonly Dictionary<string, long> _warned = [];

    /// <summary>Connects a group to the server, or to a named one that is a master.</summary>
    /// <param name="group">Its names.</param>
    /// <param name="warn">Called with what is to be warned of.</param>
    /// <param name="cancellationToken">Cancels connecting.</param>
    /// <exception cref="RedisUnavailableException">No server can be used.</exception>
    public async Task<RedisLink> LinkAsync(
        RedisChannels group,
        Action<string> warn,
        CancellationToken cancellationToken
    )
    {
        if (redis.Discovery is not { } discovery)
        {
            return await LinkAsync(redis, group, cancellationToken);
        }

        var (masters, warning) = await discovery.FindAsync(redis, group.Prefix, cancellationToken);
        if (warning is not null && IsNews(warning))
        {
            warn(warning);
        }

        var faults = new List<string>();
        foreach (var master in masters)
        {
            // A master that hangs is asked for again soon: by then there may be another.
            using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(MasterPatience);
            try
            {
                return await LinkAsync(master, group, patience.Token);
            }
            catch (RedisUnavailableException e) when (!cancellationToken.IsCancellationRequested)
            {
                faults.Add($"{master}: {e.Why}");
            }
        }

        throw new RedisUnavailableException($"{discovery.Says} {string.Join("; ", faults)}");
    }

    /// <summary>Whether it was not logged within the last minute.</summary>
    public bool IsNews(string text)
    {
        lock (_warned)
        {
            if (_warned.TryGetValue(text, out var warned) && time.GetElapsedTime(warned) < WarningInterval)
            {
                return false;
            }

            // Bounded, since some texts contain Redis's.
            if (_warned.Count >= ReasonsMax)
            {
                _warned.Clear();
            }

            _warned[text] = time.GetTimestamp();
            return true;
        }
    }

    private async Task<RedisLink> LinkAsync(
        RedisEndpoint server,
        RedisChannels group,
        CancellationToken cancellationToken
    )
    {
        Shared? shared;
        lock (_lock)
        {
            var key = (server.Host, server.Port);
            if (!_shared.TryGetValue(key, out shared) || shared.IsOver)
            {
                _shared[key] = shared = new Shared(key, server, !routing.IsPublishOnly);
            }

            shared.Users++;
        }

        try
        {
            var connections = await shared.Connecting.WaitAsync(cancellationToken);
            return new RedisLink(connections, group, options.PublishTimeout, poisoned, () => Leave(shared));
        }
        catch (OperationCanceledException e)
        {
            Leave(shared);
            throw new RedisUnavailableException(RedisReason.Of(e), e);
        }
        catch
        {
            Leave(shared);
            throw;
        }
    }

    private void Leave(Shared shared)
    {
        lock (_lock)
        {
            if (--shared.Users > 0)
            {
                return;
            }

            if (_shared.GetValueOrDefault(shared.Key) == shared)
            {
                _shared.Remove(shared.Key);
            }
        }

        shared.Dispose();
    }

    /// <summary>The connections to one server.</summary>
    private sealed class Shared : IDisposable
    {
        private readonly CancellationTokenSource _closing = new();

        public Shared((string Host, int Port) key, RedisEndpoint server, bool isSubscribing)
        {
            Key = key;
            Connecting = RedisConnections.ConnectAsync(server, isSubscribing, _closing.Token);
        }

        public (string Host, int Port) Key { get; }

        public Task<RedisConnections> Connecting { get; }

        /// <summary>The links that use them or wait for them; guarded by the lock of all.</summary>
        public int Users { get; set; }

        /// <summary>Whether they can't be used any more.</summary>
        public bool IsOver =>
            Connecting.IsFaulted
            || Connecting.IsCanceled
            || (Connecting.IsCompletedSuccessfully && Connecting.Result.Why is not null);

        public void Dispose()
        {
            _closing.Cancel();
            _ = Connecting.ContinueWith(
                static connecting =>
                {
                    if (connecting.IsCompletedSuccessfully)
                    {
                        connecting.Result.Dispose();
                    }

                    _ = connecting.Exception;
                },
                TaskScheduler.Default
            );
        }
    }
}
