using System.Collections.Concurrent;
using Dmb.Routing;
using Dmb.Telemetry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The rooms of this node over Redis: subscribes them, knows up to where the messages of each have come down, and hands on each message
/// once, behind all that is missing before it.
/// </summary>
internal sealed partial class RedisRooms(
    RedisOptions options, RedisNode node, FanOut fanOut, RoomTable local, RedisHistory history, HistoryPolicy policy, TimeProvider time,
    BrokerTelemetry telemetry, ILogger<RedisRooms> logger)
{
    private const int SubscribeBatch = 1_000;
    private const int CatchUpBatch = 100;

    private readonly ConcurrentDictionary<string, RoomSubscription> _rooms = [];
    private readonly RedisChannels _channels = node.Channels;
    private readonly SeenIds _seen = new(time);
    private readonly TimeSpan _patience = options.PublishTimeout * 2;
    private volatile RedisLink? _link;

    /// <summary>On what the rooms are subscribed; null while there is nothing.</summary>
    public RedisLink? Link => _link;

    /// <summary>Completes when the room's messages come down, or when they will be filled in from the log later.</summary>
    public async ValueTask SubscribeAsync(string room)
    {
        var subscription = _rooms.GetOrAdd(room, static _ => new RoomSubscription());
        while (!subscription.TryUse(time))
        {
            subscription = _rooms.GetOrAdd(room, static _ => new RoomSubscription());
        }

        if (Link is { } link)
        {
            try
            {
                await subscription.EnsureAsync(link, Channel(room))
                    .WaitAsync(_patience, TimeProvider.System);
            }
            catch (Exception e) when (RedisUplink.IsAway(e))
            {
                // The next link subscribes it, and reads what was missed.
                link.Lose($"a subscribe failed: {e.GetType().Name}");
            }
        }
    }

    /// <summary>Where rooms stand, if that is known here of all of them, and nobody asks for what was missed; else null.</summary>
    public IReadOnlyList<RoomHistory>? Positions(IReadOnlyList<RoomRequest> rooms)
    {
        var found = new RoomHistory[rooms.Count];
        for (var i = 0; i < found.Length; i++)
        {
            if (rooms[i].Since is not null || Link is not { IsWhole: true }
                || !_rooms.TryGetValue(rooms[i].Room, out var subscription) || subscription.Received is not { IsNone: false } received)
            {
                return null;
            }

            found[i] = new RoomHistory(received, [], IsExpired: false);
        }

        return found;
    }

    /// <summary>Whether a message that Redis has published has still to come down, as far as its place tells.</summary>
    public bool Lacks(Outgoing message) =>
        !StreamPosition.TryParse(message.Place, out var place)
        || (Array.Find(message.Rooms, policy.Keeps) is { } room && _rooms.TryGetValue(room, out var subscription)
            && Received(room, subscription) is var received && (received.IsNone || place.IsAfter(received)));

    /// <summary>Subscribes all rooms on a new link.</summary>
    public async Task AttachAsync(RedisLink link, TimeSpan patience, CancellationToken cancellationToken)
    {
        _link = link;
        foreach (var batch in _rooms.ToArray().Chunk(SubscribeBatch))
        {
            await Task.WhenAll(batch.Select(room => room.Value.EnsureAsync(link, Channel(room.Key)))).WaitAsync(patience * 2, TimeProvider.System, cancellationToken);
        }
    }

    /// <summary>The link is gone; rooms are remembered for the next.</summary>
    public void Detach() => _link = null;

    /// <summary>Unsubscribes rooms that nobody has been in for a while.</summary>
    public void Sweep()
    {
        foreach (var (room, subscription) in _rooms)
        {
            if (local.Find(room) is null && subscription.TryRetire(time, options.RoomLinger))
            {
                _rooms.TryRemove(KeyValuePair.Create(room, subscription));
                if (Link is { } link)
                {
                    _ = link.Downlink.UnsubscribeAsync(Channel(room), link.OnMessage)
                        .ContinueWith(
                            static (task, state) => ((RedisLink)state!).Lose($"an unsubscribe failed: {task.Exception!.InnerException!.Message}"),
                            link, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
                }
            }
        }
    }

    /// <summary>Delivers a message of this node's own that has no places, once. For one thread, as all that delivers.</summary>
    public async ValueTask DeliverAsync(Envelope envelope)
    {
        if (_seen.Add(envelope.Id))
        {
            await HandOnAsync(envelope);
        }
    }

    /// <summary>
    /// Delivers a message that came down on a link or was read from its log, once. Nothing of a link that is gone: if some of it were left out
    /// while there is no other, and the rest delivered on that, what was left out would be missing. The next link has all of it from the log.
    /// </summary>
    /// <exception cref="Exception">One of <see cref="RedisUplink.IsAway"/>: the link is gone, or what is missing before the message can't be read now.</exception>
    public ValueTask DeliverAsync(RedisLink link, Envelope envelope)
    {
        if (Link != link)
        {
            throw new OperationCanceledException("The link is gone.");
        }

        return envelope.Positions is null ? DeliverAsync(envelope) : DeliverKeptAsync(link, envelope);
    }

    /// <summary>What is kept of all rooms behind where they have come.</summary>
    public async Task<IReadOnlyList<(RoomRequest Request, RoomHistory History)>> ReadAsync(RedisLink link)
    {
        var found = new List<(RoomRequest, RoomHistory)>();
        foreach (var batch in _rooms.Where(room => policy.Keeps(room.Key)).Chunk(CatchUpBatch))
        {
            var known = batch.Select(room => new RoomRequest(room.Key, Received(room.Key, room.Value))).Where(request => request.Since is { IsNone: false }).ToArray();
            if (known.Length > 0)
            {
                found.AddRange(known.Zip(await ReadAsync(link, known)));
            }
        }

        return found;
    }

    private async Task<IReadOnlyList<RoomHistory>> ReadAsync(RedisLink link, IReadOnlyList<RoomRequest> rooms) =>
        await history.ReadAsync(link.Commands, rooms).WaitAsync(_patience, TimeProvider.System, link.Gone);

    /// <summary>Delivers messages of several rooms in the order in which they were published, each once.</summary>
    public async ValueTask DeliverAsync(RedisLink link, IEnumerable<Envelope> envelopes)
    {
        foreach (var envelope in envelopes.DistinctBy(envelope => envelope.Id).OrderBy(envelope => envelope.Number))
        {
            await DeliverKeptAsync(link, envelope);
        }
    }

    /// <summary>Delivers a message with places, behind all that is missing before it: that is read first, and what is kept no more is told.</summary>
    private async ValueTask DeliverKeptAsync(RedisLink link, Envelope envelope)
    {
        var missing = Missing(envelope);
        if (missing.Length > 0)
        {
            var histories = await ReadAsync(link, missing);
            await DeliverAsync(link, missing.Zip(histories).SelectMany(found => found.Second.Messages.Where(message => IsBefore(message, envelope, found.First.Room))));
            foreach (var (room, _) in missing)
            {
                await TellGapAsync(room, envelope.PositionIn(room));
            }
        }

        var isNew = false;
        for (var i = 0; i < envelope.Rooms.Length; i++)
        {
            if (!_rooms.TryGetValue(envelope.Rooms[i], out var subscription))
            {
                continue;
            }

            isNew |= subscription.MoveTo(envelope.Positions![i]);
            if (envelope.Positions[i].IsNone)
            {
                // The room keeps none, or there was no memory to count: then its count was given up, and whoever joins asks for the new one.
                local.Find(envelope.Rooms[i])?.Forget();
            }
        }

        history.Saw(envelope.Number);
        if (isNew)
        {
            // One that came without its places is not delivered again, but the rooms have come up to there.
            await HandOnAsync(_seen.Add(envelope.Id) ? envelope : Silent(envelope.Rooms, envelope.Positions!));
        }
    }

    private async ValueTask HandOnAsync(Envelope envelope)
    {
        using var receive = Tracing.Receive(envelope);
        await fanOut.DeliverAsync(envelope);
    }

    /// <summary>The rooms of a message of which something is missing before it, and up to where they have come.</summary>
    private RoomRequest[] Missing(Envelope envelope)
    {
        List<RoomRequest>? missing = null;
        for (var i = 0; i < envelope.Rooms.Length; i++)
        {
            var position = envelope.Positions![i];
            if (!position.IsNone && _rooms.TryGetValue(envelope.Rooms[i], out var subscription)
                && subscription.Received is { IsNone: false } received && position.Seq - 1 > (received.Epoch == position.Epoch ? received.Seq : 0))
            {
                (missing ??= []).Add(new RoomRequest(envelope.Rooms[i], received));
            }
        }

        return missing is null ? [] : [.. missing];
    }

    private static bool IsBefore(Envelope message, Envelope other, string room) => other.PositionIn(room).IsAfter(message.PositionIn(room));

    /// <summary>Tells a room's sessions how many messages are missing before a place, if any are.</summary>
    public async ValueTask TellGapAsync(string room, StreamPosition before)
    {
        if (!_rooms.TryGetValue(room, out var subscription))
        {
            return;
        }

        var (received, last) = (Received(room, subscription), before with { Seq = before.Seq - 1 });
        var lost = last.Seq - (received.Epoch == last.Epoch ? received.Seq : 0);
        if (lost > 0 && subscription.MoveTo(last))
        {
            telemetry.Dropped("gap", lost);
            LogLost(logger, lost, room);
            await fanOut.DeliverAsync(Gap.ToEnvelope(room, lost, last));
        }
    }

    /// <summary>What moves rooms on, and is nothing that anybody gets.</summary>
    private static Envelope Silent(string[] rooms, StreamPosition[] positions) => new("", "", rooms, default, isKept: true) { Positions = positions };

    /// <summary>Up to where a room's messages have come down, or, before the first did, where it stood when its first session joined.</summary>
    private StreamPosition Received(string room, RoomSubscription subscription) =>
        subscription.Received is { IsNone: false } received ? received : local.Find(room)?.Last ?? default;

    private RedisChannel Channel(string room) => new(_channels.Room(room), RedisChannel.PatternMode.Literal);

    [LoggerMessage(3013, LogLevel.Warning, "{Messages} messages of room {Room} did not come down and are kept no more; its sessions are told.")]
    private static partial void LogLost(ILogger logger, long messages, string room);
}
