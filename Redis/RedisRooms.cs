using System.Collections.Concurrent;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Redis;

/// <summary>
/// The rooms of this node over Redis: subscribes them, knows the position up to which each has received its messages,
/// and delivers each message once, behind all that is missing before it.
/// </summary>
internal sealed partial class RedisRooms(
    RedisOptions options,
    RoutingOptions routing,
    RedisNode node,
    FanOut fanOut,
    RoomTable local,
    RedisHistory history,
    HistoryPolicy policy,
    TimeProvider time,
    BrokerTelemetry telemetry,
    ILogger<RedisRooms> logger
)
{
    private const int SubscribeBatch = 1_000;
    private const int CatchUpBatch = 100;

    private readonly ConcurrentDictionary<string, RoomSubscription> _rooms = [];
    private readonly RedisChannels _channels = node.Channels;
    private readonly SeenIds _seen = new(routing.IdempotencyWindow, time);
    private readonly TimeSpan _patience = options.PublishTimeout * 2;
    private volatile RedisLink? _link;

    /// <summary>The link that the rooms are subscribed on; null while there is none.</summary>
    public RedisLink? Link => _link;

    /// <summary>
    /// Completes when the room's messages are received, or when they will be filled in from the log later.
    /// </summary>
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
                await link.WithinAsync(_patience, subscription.EnsureAsync(link, _channels.Room(room)));
            }
            catch (RedisUnavailableException e)
            {
                // The next link subscribes it, and reads what was missed.
                link.Lose($"a subscribe failed: {e.Why}");
            }
        }
    }

    /// <summary>The positions of rooms, if all are known here and no messages are asked for; else null.</summary>
    public IReadOnlyList<RoomHistory>? Positions(IReadOnlyList<RoomRequest> rooms)
    {
        var found = new RoomHistory[rooms.Count];
        for (var i = 0; i < found.Length; i++)
        {
            if (
                rooms[i].Since is not null
                || Link is not { IsWhole: true }
                || !_rooms.TryGetValue(rooms[i].Room, out var subscription)
                || subscription.Received is not { IsNone: false } received
            )
            {
                return null;
            }

            found[i] = new RoomHistory(received, [], IsExpired: false);
        }

        return found;
    }

    /// <summary>
    /// Whether a message that Redis has published was not received yet, as far as its positions tell: each room counts
    /// that is subscribed.
    /// </summary>
    public bool IsMissing(PendingPublish message)
    {
        var isUnknown = true;
        for (var i = 0; i < message.Rooms.Length; i++)
        {
            if (message.PositionIn(i) is { IsNone: false } position)
            {
                isUnknown = false;
                if (
                    _rooms.TryGetValue(message.Rooms[i], out var subscription)
                    && Received(message.Rooms[i], subscription) is var received
                    && (received.IsNone || position.IsAfter(received))
                )
                {
                    return true;
                }
            }
        }

        return isUnknown;
    }

    /// <summary>Subscribes all rooms on a new link.</summary>
    /// <exception cref="RedisUnavailableException">Redis did not do it in time.</exception>
    public async Task AttachAsync(RedisLink link, TimeSpan patience)
    {
        _link = link;
        foreach (var batch in _rooms.ToArray().Chunk(SubscribeBatch))
        {
            await link.WithinAsync(
                patience * 2,
                Task.WhenAll(batch.Select(room => room.Value.EnsureAsync(link, _channels.Room(room.Key))))
            );
        }
    }

    /// <summary>The link is gone; rooms are remembered for the next.</summary>
    public void Detach() => _link = null;

    /// <summary>Unsubscribes rooms that have been empty for a while.</summary>
    public void Sweep()
    {
        foreach (var (room, subscription) in _rooms)
        {
            if (local.Find(room) is null && subscription.TryRetire(time, options.RoomLinger))
            {
                _rooms.TryRemove(KeyValuePair.Create(room, subscription));
                Link?.UnsubscribeRoom(_channels.Room(room));
            }
        }
    }

    /// <summary>Delivers a message without positions, once. For one thread, as all that delivers.</summary>
    public async ValueTask DeliverAsync(Envelope envelope)
    {
        if (_seen.Add(envelope.Id, envelope.IsAgain))
        {
            await HandOverAsync(envelope);
        }
    }

    /// <summary>
    /// Delivers a message that was received on a link or read from its log, once. Messages of a link that is gone are
    /// not delivered: the next link reads all of them from the log, in order.
    /// </summary>
    /// <exception cref="RedisUnavailableException">
    /// The link is gone, or what is missing before the message can't be read now.
    /// </exception>
    public ValueTask DeliverAsync(RedisLink link, Envelope envelope)
    {
        if (Link != link)
        {
            throw new RedisUnavailableException("the link is gone");
        }

        return envelope.Positions is null ? DeliverAsync(envelope) : DeliverKeptAsync(link, envelope);
    }

    /// <summary>What is kept of all rooms behind the positions that they have received.</summary>
    public async Task<IReadOnlyList<(RoomRequest Request, RoomHistory History)>> ReadAsync(RedisLink link)
    {
        var found = new List<(RoomRequest, RoomHistory)>();
        foreach (var batch in _rooms.Where(room => policy.Keeps(room.Key)).Chunk(CatchUpBatch))
        {
            var known = batch
                .Select(room => new RoomRequest(room.Key, Received(room.Key, room.Value)))
                .Where(request => request.Since is { IsNone: false })
                .ToArray();
            if (known.Length > 0)
            {
                found.AddRange(known.Zip(await history.ReadAsync(link, _patience, known)));
            }
        }

        return found;
    }

    /// <summary>Delivers messages of several rooms in the order in which they were published, each once.</summary>
    public async ValueTask DeliverAsync(RedisLink link, IEnumerable<Envelope> envelopes)
    {
        foreach (var envelope in envelopes.DistinctBy(envelope => envelope.Id).OrderBy(envelope => envelope.Number))
        {
            await DeliverKeptAsync(link, envelope);
        }
    }

    /// <summary>
    /// Delivers a message with positions, behind all that is missing before it: that is read first, and what is kept no
    /// more is told.
    /// </summary>
    private async ValueTask DeliverKeptAsync(RedisLink link, Envelope envelope)
    {
        var missing = Missing(envelope);
        if (missing.Length > 0)
        {
            var histories = await history.ReadAsync(link, _patience, missing);
            await DeliverAsync(
                link,
                missing
                    .Zip(histories)
                    .SelectMany(found =>
                        found.Second.Messages.Where(message => IsBefore(message, envelope, found.First.Room))
                    )
            );
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
                // The room keeps no history, or there was no memory to count: then its stream ended, and the next join
                // asks for the new one.
                local.Find(envelope.Rooms[i])?.Forget();
            }
        }

        history.Saw(envelope.Number);
        if (isNew)
        {
            // One that was delivered without its positions is not delivered again, but the rooms have received up to
            // there.
            await HandOverAsync(
                _seen.Add(envelope.Id, envelope.IsAgain) ? envelope : Silent(envelope.Rooms, envelope.Positions!)
            );
        }
    }

    private async ValueTask HandOverAsync(Envelope envelope)
    {
        using var receive = MessageSpans.Receive(envelope);
        await fanOut.DeliverAsync(envelope);
    }

    /// <summary>
    /// The rooms of a message of which something is missing before it, and the positions that they have received.
    /// </summary>
    private RoomRequest[] Missing(Envelope envelope)
    {
        List<RoomRequest>? missing = null;
        for (var i = 0; i < envelope.Rooms.Length; i++)
        {
            var position = envelope.Positions![i];
            if (
                !position.IsNone
                && _rooms.TryGetValue(envelope.Rooms[i], out var subscription)
                && subscription.Received is { IsNone: false } received
                && position.Seq - 1 > (received.Epoch == position.Epoch ? received.Seq : 0)
            )
            {
                (missing ??= []).Add(new RoomRequest(envelope.Rooms[i], received));
            }
        }

        return missing is null ? [] : [.. missing];
    }

    private static bool IsBefore(Envelope message, Envelope other, string room) =>
        other.PositionIn(room).IsAfter(message.PositionIn(room));

    /// <summary>Tells a room's sessions how many messages are missing before a position, if any are.</summary>
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

    /// <summary>Moves the positions of rooms on, and is not delivered to sessions.</summary>
    private static Envelope Silent(string[] rooms, StreamPosition[] positions) =>
        new("", "", rooms, default, isKept: true) { Positions = positions };

    /// <summary>
    /// The position up to which a room has received its messages, or, before the first, the one at which its first
    /// session joined.
    /// </summary>
    private StreamPosition Received(string room, RoomSubscription subscription) =>
        subscription.Received is { IsNone: false } received ? received : local.Find(room)?.Last ?? default;

    [LoggerMessage(
        3013,
        LogLevel.Warning,
        "{Messages} messages of room {Room} were not received and are kept no more; its sessions are told."
    )]
    private static partial void LogLost(ILogger logger, long messages, string room);
}
