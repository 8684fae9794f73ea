using System.Collections.Concurrent;
using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The registered events of all nodes: one hash in Redis, kept over restarts, and a channel that names an event when it
/// changes there. What was changed while Redis was away is written when it is back.
/// </summary>
internal sealed class SharedEvents(EventTable events, RedisNode node, RedisUplink uplink, RedisOptions options)
{
    private readonly ConcurrentDictionary<string, bool> _unwritten = [];
    private readonly RedisChannels _channels = node.Channels;
    private readonly TimeSpan _patience = options.PublishTimeout * 2;

    /// <summary>Writes an event that was registered or removed on this node. Completes when Redis has it, or is away.</summary>
    public async ValueTask WriteAsync(string name)
    {
        _unwritten[name] = true;
        try
        {
            await uplink.RunAsync(redis => WriteAsync(redis, name));
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // It stays in the list of what is to be written.
        }
    }

    /// <summary>Subscribes to changes on a new link, writes this node's own, and takes over all there are.</summary>
    public async Task AttachAsync(RedisLink link, TimeSpan patience, CancellationToken cancellationToken)
    {
        // What changes while all there are is taken over is read behind that, on this link: the uplink has none yet.
        List<string>? early = [];
        var changing = new Lock();
        void OnChanged(RedisChannel channel, RedisValue name)
        {
            lock (changing)
            {
                if (early is not null)
                {
                    early.Add(name!);
                    return;
                }
            }

            _ = ReadAsync(link, name!);
        }

        await link.Downlink.SubscribeAsync(new RedisChannel(_channels.Events, RedisChannel.PatternMode.Literal), OnChanged)
            .WaitAsync(patience, TimeProvider.System, cancellationToken);
        foreach (var name in _unwritten.Keys)
        {
            await WriteAsync(link.Commands, name).WaitAsync(patience, TimeProvider.System, cancellationToken);
        }

        var all = await link.Commands.HashGetAllAsync(_channels.Events).WaitAsync(patience, TimeProvider.System, cancellationToken);
        var stored = all.ToDictionary(entry => (string)entry.Name!, entry => (string?)entry.Value);
        foreach (var known in events.All().Where(known => !stored.ContainsKey(known.Event)).ToArray())
        {
            events.Apply(known.Event, isRegistered: false, null);
        }

        foreach (var (name, bus) in stored)
        {
            events.Apply(name, isRegistered: true, bus);
        }

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

    private async Task<bool> WriteAsync(IDatabase redis, string name)
    {
        var registration = events.Find(name);
        if (registration is null || events.IsDefault(registration))
        {
            await redis.HashDeleteAsync(_channels.Events, name);
        }
        else
        {
            await redis.HashSetAsync(_channels.Events, name, registration.DefaultRoom ?? "");
        }

        await redis.PublishAsync(_channels.Events, name);
        _unwritten.TryRemove(name, out _);
        return true;
    }

    private async Task ReadAsync(RedisLink link, string name)
    {
        try
        {
            var bus = await link.Commands.HashGetAsync(_channels.Events, name).WaitAsync(_patience, TimeProvider.System, link.Gone);
            events.Apply(name, isRegistered: !bus.IsNull, bus);
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // The next link takes over all there are.
            link.Lose($"an event could not be read: {e.GetType().Name}");
        }
    }
}
