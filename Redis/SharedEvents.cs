using System.Collections.Concurrent;
using System.Text;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Shares the registered events of all nodes: one hash in Redis, which survives restarts, and a channel that announces
/// changed events. Changes made while Redis is unavailable are written when it returns.
/// </summary>
internal sealed class SharedEvents(EventTable events, RedisNode node, RedisConnection connection)
{
    private readonly ConcurrentDictionary<string, bool> _unwritten = [];
    private readonly RedisChannels _channels = node.Channels;
    private long _writes;
    private volatile bool _isRefreshed;

    /// <summary>
    /// Writes an event that was registered or removed on this node. Completes when Redis has it or is unavailable.
    /// </summary>
    public async ValueTask WriteAsync(string name)
    {
        _unwritten[name] = true;
        Interlocked.Increment(ref _writes);
        try
        {
            await WriteAsync(await connection.RequiredAsync(), name);
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
        {
            // The change stays in the list of pending writes.
        }
    }

    /// <summary>Subscribes to changes on a new link, writes this node's own, and reads the whole table.</summary>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task AttachAsync(RedisLink link, TimeSpan patience)
    {
        // Events that change while the table is read are read again after it.
        List<string>? early = [];
        var changing = new Lock();
        void OnChanged(string channel, byte[] body)
        {
            var name = Encoding.UTF8.GetString(body);
            lock (changing)
            {
                if (early is not null)
                {
                    early.Add(name);
                    return;
                }
            }

            _ = ReadAsync(link, name);
        }

        await link.SubscribeAsync(_channels.Events, OnChanged, patience);
        foreach (var name in _unwritten.Keys)
        {
            await WriteAsync(link, name);
        }

        Apply(await ReadAllAsync(link, patience));
        List<string> changed;
        lock (changing)
        {
            (changed, early) = (early!, null);
        }

        foreach (var name in changed)
        {
            await ReadAsync(link, name);
        }
    }

    /// <summary>
    /// Writes this node's own changes, and reads the whole table, on a node without subscriptions. An older read does
    /// not undo a newer write.
    /// </summary>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task RefreshAsync(RedisLink link, TimeSpan patience)
    {
        foreach (var name in _unwritten.Keys)
        {
            await WriteAsync(link, name);
        }

        var writes = Volatile.Read(ref _writes);
        var all = await ReadAllAsync(link, patience);
        if (_unwritten.IsEmpty && Volatile.Read(ref _writes) == writes)
        {
            Apply(all);
        }

        _isRefreshed = true;
    }

    /// <summary>
    /// Completes a lookup on a node without subscriptions: waits for the first read of the table, and asks Redis for an
    /// unknown event.
    /// </summary>
    public async ValueTask<EventRegistration?> ResolveAsync(string name, EventRegistration? found)
    {
        if (found is not null && _isRefreshed)
        {
            return found;
        }

        try
        {
            var link = await connection.RequiredAsync();
            if (events.Find(name) is null && Names.IsEvent(name))
            {
                await ReadAsync(link, name);
            }
        }
        catch (RedisUnavailableException)
        {
            // The node continues with the events that it knows.
        }

        return events.Find(name);
    }

    private async Task<HashEntry[]> ReadAllAsync(RedisLink link, TimeSpan patience) =>
        await link.RunAsync(patience, redis => redis.HashGetAllAsync(_channels.Events));

    private void Apply(HashEntry[] all)
    {
        var stored = all.ToDictionary(entry => (string)entry.Name!, entry => (string?)entry.Value);
        foreach (
            var known in events
                .All()
                .Where(known => !stored.ContainsKey(known.Event) && !_unwritten.ContainsKey(known.Event))
                .ToArray()
        )
        {
            events.Apply(known.Event, isRegistered: false, null);
        }

        foreach (var (name, bus) in stored)
        {
            events.Apply(name, isRegistered: true, bus);
        }
    }

    private async Task WriteAsync(RedisLink link, string name)
    {
        var registration = events.Find(name);
        if (registration is null || events.IsDefault(registration))
        {
            await link.RunAsync(redis => redis.HashDeleteAsync(_channels.Events, name));
        }
        else
        {
            await link.RunAsync(redis => redis.HashSetAsync(_channels.Events, name, registration.DefaultRoom ?? ""));
        }

        await link.RunAsync(redis => redis.PublishAsync(RedisChannel.Literal(_channels.Events), name));
        _unwritten.TryRemove(name, out _);
    }

    private async Task ReadAsync(RedisLink link, string name)
    {
        try
        {
            var bus = await link.RunAsync(redis => redis.HashGetAsync(_channels.Events, name));
            events.Apply(name, isRegistered: !bus.IsNull, bus);
        }
        catch (RedisUnavailableException e)
        {
            // The next link reads the whole table.
            link.Lose($"an event could not be read: {e.Why}");
        }
    }
}
