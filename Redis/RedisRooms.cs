using System.Collections.Concurrent;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Redis;

/// <summary>
/// Subscribes this node's rooms of a group in Redis, tracks the position that each has received, and delivers each
/// message once, after any that are missing before it.
/// </summary>
internal sealed partial class RedisRooms(
    RedisOptions options,
    RoutingOptions routing,
    RedisChannels channels,
    FanOut fanOut,
    RoomTable local,
    RedisHistory history,
    HistoryPolicy policy,
    Copies copies,
    TimeProvider time,
    BrokerTelemetry telemetry,
    ILogger<RedisRooms> logger
)
{
    /// <summary>
    /// Stands among the rooms for the subscription of all: a node that has a session with a pattern receives the
    /// messages of all rooms, so that Redis has one pattern a node, however many the sessions have.
    /// </summary>
    private const string All = "*";

    private const int SubscribeBatch = 1_000;
    private const int CatchUpBatch = 100;

    private readonly ConcurrentDictionary<string, RoomSubscription> _rooms = [];
    private readonly SeenIds _seen = new(routing.IdempotencyWindow, time);
    private readonly TimeSpan _patience = options.PublishTimeout * 2;
    private volatile RedisLink? _link;

    /// <summary>
    /// Receives, with the channel, the messages of all rooms while a session here has a pattern.
    /// </summary>
    public Action<string, byte[]>? OnAnyRoom { get; set; }

    /// <summary>The link that the rooms are subscribed on; null while there is none.</summary>
    public RedisLink? Link => _link;

    /// <summary>
    /// Subscribes a room. Completes when its messages are received, or will be read from the log later.
    /// </summary>
    public async ValueTask SubscribeAsync(string room)
    {
        room = Names.IsPattern(room) ? All : room;
        var subscription = _rooms.GetOrAdd(room, static _ => new RoomSubscription());
        while (!subscription.TryUse(time))
        {
            subscription = _rooms.GetOrAdd(room, static _ => new RoomSubscription());
        }

        if (Link is { } link)
        {
            try
            {
                await link.WithinAsync(_patience, EnsureAsync(link, room, subscription));
            }
            catch (RedisUnavailableException e) when (room == All && e.InnerException is RedisAnswerException)
            {
                // The link is well; Redis' rights are those of a version without patterns.
                _rooms.TryRemove(KeyValuePair.Create(room, subscription));
                throw new RefusedException(
                    ErrorCode.BackplaneDown,
                    $"Redis does not let this node subscribe the pattern {channels.AllRooms}: {e.Why}."
                );
            }
            catch (RedisUnavailableException e)
            {
                // The next link subscribes it, and reads missed messages.
                link.Lose($"a subscribe failed: {e.Why}");
            }
        }
    }

    /// <summary>The rooms' positions if all are known here and no messages are missing; else null.</summary>
    /// <param name="rooms">The rooms.</param>
    /// <param name="isCurrent"><see cref="IBackplane.IsCurrent"/>.</param>
    public IReadOnlyList<RoomHistory>? Positions(IReadOnlyList<RoomRequest> rooms, bool isCurrent)
    {
        var found = new RoomHistory[rooms.Count];
        for (var i = 0; i < found.Length; i++)
        {
            if (
                Link is not { IsWhole: true }
                || !_rooms.TryGetValue(rooms[i].Room, out var subscription)
                || subscription.Received is not { IsNone: false } received
                || (rooms[i].Since is { } since && !(isCurrent && since == received))
            )
            {
                return null;
            }

            found[i] = new RoomHistory(received, [], IsExpired: false);
        }

        return found;
    }

    /// <summary>Whether a published message was not received yet, by its positions in subscribed rooms.</summary>
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
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task AttachAsync(RedisLink link, TimeSpan patience)
    {
        _link = link;
        foreach (var batch in _rooms.ToArray().Chunk(SubscribeBatch))
        {
            await link.WithinAsync(
                patience * 2,
                Task.WhenAll(batch.Select(room => EnsureAsync(link, room.Key, room.Value)))
            );
        }
    }

    /// <summary>Forgets the lost link; rooms are kept for the next.</summary>
    public void Detach() => _link = null;

    /// <summary>Unsubscribes rooms that were empty for <see cref="RedisOptions.RoomLinger"/>.</summary>
    public void Sweep()
    {
        foreach (var (room, subscription) in _rooms)
        {
            var isEmpty = room == All ? !local.HasPatterns : local.Find(room) is null;
            if (isEmpty && subscription.TryRetire(time, options.RoomLinger))
            {
                _rooms.TryRemove(KeyValuePair.Create(room, subscription));
                Link?.UnsubscribeRoom(ChannelOf(room), KindOf(room));
            }
        }
    }

    /// <summary>
    /// Whether a message that came by the pattern of all rooms is needed: a session's pattern matches its room, and the
    /// room's own subscription does not bring it.
    /// </summary>
    public bool IsNeededByPattern(RedisLink link, string room) =>
        local.HasPatternOf(room) && !(_rooms.TryGetValue(room, out var own) && own.IsReceivedBy(link));

    private Task EnsureAsync(RedisLink link, string room, RoomSubscription subscription) =>
        subscription.EnsureAsync(link, ChannelOf(room), KindOf(room), room == All ? OnAnyRoom : null);

    private string ChannelOf(string room) => room == All ? channels.AllRooms : channels.Room(room);

    private SubscriptionKind KindOf(string room) =>
        channels.IsSharded ? SubscriptionKind.Shard
        : room == All ? SubscriptionKind.Pattern
        : SubscriptionKind.Channel;

    /// <summary>Delivers a message without positions, once. The delivering methods are not thread-safe.</summary>
    public async ValueTask DeliverAsync(Envelope envelope)
    {
        if (_seen.Add(envelope.Id, envelope.IsAgain, out _))
        {
            await HandOverAsync(envelope);
        }
    }

    /// <summary>
    /// Delivers a message that this node may have delivered before it had positions: then it records the positions, and
    /// reaches the sessions that have joined at a position since.
    /// </summary>
    public async ValueTask DeliverAgainAsync(Envelope envelope)
    {
        if (_seen.Add(envelope.Id, envelope.IsAgain, out var members))
        {
            await HandOverAsync(envelope);
            return;
        }

        await fanOut.DeliverAsync(
            copies.Mark(
                new Envelope(envelope.Event, envelope.Id, envelope.Rooms, envelope.Data, isKept: true)
                {
                    Positions = envelope.Positions,
                    PlacedAfter = members,
                    Elsewhere = envelope.Elsewhere,
                }
            )
        );
    }

    /// <summary>
    /// Delivers a message received on a link or read from its log, once. Messages of a lost link are not delivered: the
    /// next link reads them from the log, in order.
    /// </summary>
    /// <exception cref="RedisUnavailableException">
    /// The link is lost, or messages missing before it cannot be read.
    /// </exception>
    public ValueTask DeliverAsync(RedisLink link, Envelope envelope)
    {
        if (Link != link)
        {
            throw new RedisUnavailableException("the link is gone");
        }

        return envelope.Positions is null ? DeliverAsync(envelope) : DeliverKeptAsync(link, envelope);
    }

    /// <summary>Reads the kept messages of all rooms after their received positions.</summary>
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

    /// <summary>Delivers messages of several rooms in order of publication, each once.</summary>
    public async ValueTask DeliverAsync(RedisLink link, IEnumerable<Envelope> envelopes)
    {
        foreach (var envelope in envelopes.DistinctBy(envelope => envelope.Id).OrderBy(envelope => envelope.Number))
        {
            await DeliverKeptAsync(link, envelope);
        }
    }

    /// <summary>
    /// Delivers a message with positions, after reading any missing before it; those that are no longer kept are
    /// reported as a gap.
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
                // The room keeps no history, or Redis was out of memory: its epoch ended, and the next join reads the
                // new one.
                local.Find(envelope.Rooms[i])?.Forget();
            }
        }

        history.Saw(envelope.Number);
        if (isNew)
        {
            await DeliverAgainAsync(envelope);
        }
        else if (
            local.HasPatterns
            && Array.Exists(envelope.Rooms, local.HasPatternOf)
            && _seen.Add(envelope.Id, isAgain: true, out _)
        )
        {
            // No room of it is subscribed here: sessions have it by a pattern.
            await HandOverAsync(envelope);
        }
    }

    private async ValueTask HandOverAsync(Envelope envelope)
    {
        using var receive = MessageSpans.Receive(envelope);
        await fanOut.DeliverAsync(copies.Mark(envelope));
    }

    /// <summary>The rooms with messages missing before this one, and their received positions.</summary>
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

    /// <summary>
    /// Sends <c>gap</c> to a room's sessions with the number of messages missing before a position, if any.
    /// </summary>
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

    /// <summary>
    /// The position that a room has received or, before its first message, the one at which its first session joined.
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
