using System.Globalization;
using Dmb.Routing;

namespace Dmb.Backends;

/// <summary>Stores the backends of a single node in memory.</summary>
internal sealed class LocalBackendStore(
    FanOut fanOut,
    LocalHistory history,
    RoomTable rooms,
    IdempotencyTable idempotency,
    BackendOptions options,
    TimeProvider time
) : IBackendStore
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Entry> _backends = [];

    /// <summary>All stored uplinks, the oldest first, which is dropped first at the limit of bytes.</summary>
    private readonly LinkedList<StoredEntry> _stored = [];
    private long _storedBytes;

    public event Action<string>? Freed;

    /// <summary>Raised with bkid, user and uplink when one is stored, in their order.</summary>
    public event Action<string, string, Envelope>? Stored;

    public ValueTask RegisterAsync(Backend backend)
    {
        lock (_lock)
        {
            if (Find(backend.Bkid) is { } known)
            {
                return known.Name == backend.Name ? default : throw BackendServices.NotItsName(backend);
            }

            if (_backends.Count >= options.MaxBackends)
            {
                Expire();
            }

            if (_backends.Count >= options.MaxBackends)
            {
                throw new RefusedException(
                    ErrorCode.RateLimited,
                    $"{options.MaxBackends} backends are registered, which is the limit."
                );
            }

            _backends.Add(backend.Bkid, new Entry(backend.Name) { Used = time.GetTimestamp() });
            return default;
        }
    }

    public ValueTask TouchAsync(string bkid)
    {
        lock (_lock)
        {
            Get(bkid);
            return default;
        }
    }

    public ValueTask FreeAsync(string bkid)
    {
        lock (_lock)
        {
            Remove(bkid, Get(bkid));
        }

        history.Forget(room => Backend.IsRoomOf(bkid, room));
        Freed?.Invoke(bkid);
        return default;
    }

    public async ValueTask<Sent> SendAsync(string bkid, Envelope envelope, string? user, string? key)
    {
        string life;
        lock (_lock)
        {
            life = Get(bkid).RegistrationId;
        }

        TaskCompletionSource<string>? answer = null;
        if (key is not null && !idempotency.TryAdd($"{life}\n{key}", out answer))
        {
            return new Sent(int.Parse(await answer.Task, CultureInfo.InvariantCulture), IsDuplicate: true);
        }

        var nodes = rooms.Find(envelope.Rooms[0]) is null ? 0 : 1;
        try
        {
            await history.PublishAsync(envelope);
        }
        catch (Exception e) when (answer is not null)
        {
            idempotency.Forget($"{life}\n{key}");
            answer.SetException(e);
            _ = answer.Task.Exception;
            throw;
        }

        answer?.SetResult(nodes.ToString(CultureInfo.InvariantCulture));
        return new Sent(nodes);
    }

    public ValueTask ConnectAsync(BackendUser user)
    {
        lock (_lock)
        {
            var backend = Get(user.Bkid);
            if (!backend.Sessions.Add(user.Subscriber.Id))
            {
                return default;
            }

            var sessions = backend.Users[user.User] = backend.Users.GetValueOrDefault(user.User) + 1;
            return fanOut.DeliverAsync(Tell(backend, "connect", user, sessions));
        }
    }

    public ValueTask DisconnectAsync(BackendUser user)
    {
        lock (_lock)
        {
            if (Find(user.Bkid) is not { } backend || !backend.Sessions.Remove(user.Subscriber.Id))
            {
                return default;
            }

            var sessions = backend.Users[user.User] -= 1;
            if (sessions == 0)
            {
                backend.Users.Remove(user.User);
            }

            return fanOut.DeliverAsync(Tell(backend, "disconnect", user, sessions));
        }
    }

    public async ValueTask<PublishOutcome> SendUplinkAsync(string bkid, string user, Envelope uplink)
    {
        uplink.Keep();
        lock (_lock)
        {
            Store(Get(bkid), bkid, user, uplink);
        }

        await fanOut.DeliverAsync(uplink);
        return PublishOutcome.Fully;
    }

    public ValueTask<IReadOnlyList<StoredUplink>> ReadUplinkAsync(string bkid, string? after, int max)
    {
        lock (_lock)
        {
            var all = Get(bkid).Uplinks.Select(node => node.Value.Uplink).ToList();
            var from = all.FindIndex(uplink => uplink.Id == after) + 1;
            return ValueTask.FromResult<IReadOnlyList<StoredUplink>>([.. all.Skip(from).Take(max)]);
        }
    }

    public ValueTask<IReadOnlyList<BackendState>> ListAsync(string prefix, string? after, int max)
    {
        lock (_lock)
        {
            return ValueTask.FromResult<IReadOnlyList<BackendState>>([
                .. _backends
                    .Where(entry =>
                        entry.Value.Name.StartsWith(prefix, StringComparison.Ordinal) && !IsExpired(entry.Value)
                    )
                    .Select(entry => Show(entry.Key, entry.Value))
                    .Where(state => after is null || string.CompareOrdinal(state.Backend.Cursor, after) > 0)
                    .OrderBy(state => state.Backend.Cursor, StringComparer.Ordinal)
                    .Take(max),
            ]);
        }
    }

    public ValueTask<BackendState?> FindAsync(string bkid)
    {
        lock (_lock)
        {
            return ValueTask.FromResult<BackendState?>(
                _backends.TryGetValue(bkid, out var backend) && !IsExpired(backend) ? Show(bkid, backend) : null
            );
        }
    }

    private BackendState Show(string bkid, Entry backend) =>
        new(
            new Backend(bkid, backend.Name),
            time.GetUtcNow() - time.GetElapsedTime(backend.Used),
            backend.Users.Count,
            backend.Sessions.Count,
            backend.Uplinks.Count
        );

    /// <summary>
    /// Creates and stores a presence uplink. Delivered under the lock, so that counts arrive in order; the delivery
    /// does not block.
    /// </summary>
    private Envelope Tell(Entry backend, string type, BackendUser user, int sessions)
    {
        var json = BackendJson.Presence(type, user.Bkid, user.User, user.Subscriber.Id, sessions);
        var uplink = new Envelope(
            Backend.Uplink,
            MessageId.New(time),
            [Backend.UplinkRoom(user.Bkid)],
            json,
            isKept: true
        );
        Store(backend, user.Bkid, user.User, uplink);
        return uplink;
    }

    private void Store(Entry backend, string bkid, string user, Envelope uplink)
    {
        Stored?.Invoke(bkid, user, uplink);
        backend.Uplinks.Enqueue(_stored.AddLast(new StoredEntry(backend, new StoredUplink(uplink.Id, uplink.Data))));
        _storedBytes += uplink.Data.Length;
        if (backend.Uplinks.Count > options.UplinkMessages)
        {
            DropOldest(backend);
        }

        while (_storedBytes > options.UplinkBytes && _stored.First is { } oldest)
        {
            DropOldest(oldest.Value.Backend);
        }
    }

    private void DropOldest(Entry backend)
    {
        var node = backend.Uplinks.Dequeue();
        _stored.Remove(node);
        _storedBytes -= node.Value.Uplink.Json.Length;
    }

    private Entry Get(string bkid) => Find(bkid) ?? throw Backend.Unknown(bkid);

    private Entry? Find(string bkid)
    {
        if (!_backends.TryGetValue(bkid, out var backend))
        {
            return null;
        }

        if (IsExpired(backend))
        {
            Remove(bkid, backend);
            return null;
        }

        backend.Used = time.GetTimestamp();
        return backend;
    }

    /// <summary>Whether the registration has expired; a backend with users does not expire.</summary>
    private bool IsExpired(Entry backend) =>
        backend.Sessions.Count == 0 && time.GetElapsedTime(backend.Used) >= options.BackendTtl;

    private void Expire()
    {
        foreach (var (bkid, backend) in _backends.Where(entry => IsExpired(entry.Value)).ToArray())
        {
            Remove(bkid, backend);
        }
    }

    private void Remove(string bkid, Entry backend)
    {
        _backends.Remove(bkid);
        while (backend.Uplinks.Count > 0)
        {
            DropOldest(backend);
        }
    }

    private readonly record struct StoredEntry(Entry Backend, StoredUplink Uplink);

    private sealed class Entry(string name)
    {
        public string Name { get; } = name;

        /// <summary>Prefix of its idempotency keys, unique per registration.</summary>
        public string RegistrationId { get; } = Guid.NewGuid().ToString("N");

        public long Used { get; set; }

        public HashSet<string> Sessions { get; } = [];

        /// <summary>How many sessions each user has.</summary>
        public Dictionary<string, int> Users { get; } = [];

        public Queue<LinkedListNode<StoredEntry>> Uplinks { get; } = new();
    }
}
