using Dmb.Backends;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Redis;

/// <summary>The groups of rooms.</summary>
internal sealed class RedisGroups
{
    /// <summary>How long a copy of a message that came by another group is recognised at least.</summary>
    private static readonly TimeSpan CopyLife = TimeSpan.FromMinutes(1);

    private readonly RedisNode _node;
    private readonly RedisGroup[] _all;

    public RedisGroups(
        RedisOptions options,
        RoutingOptions routing,
        HistoryOptions histories,
        BackendOptions backends,
        HistoryPolicy policy,
        RedisNode node,
        FanOut fanOut,
        RoomTable rooms,
        PoisonedKeys poisoned,
        BackplaneState state,
        TimeProvider time,
        BrokerTelemetry telemetry,
        ILogger<RedisRooms> roomsLogger,
        ILogger<RedisReceiver> receiverLogger,
        ILogger<RedisPublisher> publisherLogger,
        ILogger<RoomCounts> countsLogger
    )
    {
        _node = node;
        _all = new RedisGroup[node.Groups];
        state.Groups = node.Groups;
        var copies = new Copies(rooms, options.SpoolTime > CopyLife ? options.SpoolTime : CopyLife, time);
        var space = new SpoolSpace(options.SpoolMessages, options.SpoolBytes);
        var first = new RedisConnection(options);
        Counts = new RoomCounts(options, node, first, rooms, countsLogger);
        for (var i = 0; i < _all.Length; i++)
        {
            _all[i] = Create(i, i == 0 ? first : new RedisConnection(options));
        }

        telemetry.Spooled = () => _all.Sum(group => group.Publisher.Spooled);

        RedisGroup Create(int number, RedisConnection connection)
        {
            var channels = node.ChannelsOf(number);
            var history = new RedisHistory(channels, policy, histories, poisoned, copies, time);
            var own = new RedisRooms(
                options,
                routing,
                channels,
                fanOut,
                rooms,
                history,
                policy,
                copies,
                time,
                telemetry,
                roomsLogger
            );
            var receiver = new RedisReceiver(
                routing,
                new MessageLog(options, channels, time),
                channels,
                own,
                number == 0 ? Counts : null,
                time,
                telemetry,
                receiverLogger
            );
            var calls = new PublishCalls(backends, options, channels, history, poisoned);
            var publisher = new RedisPublisher(
                number,
                options,
                connection,
                calls,
                receiver,
                space,
                time,
                telemetry,
                publisherLogger
            );
            return new RedisGroup(number, channels, connection, history, own, receiver, publisher);
        }
    }

    /// <summary>All groups, by their numbers.</summary>
    public IReadOnlyList<RedisGroup> All => _all;

    /// <summary>The first group, which has all that is no room's too: backends, webhooks, events, inputs.</summary>
    public RedisGroup First => _all[0];

    /// <summary>Counts the sessions of rooms of all groups.</summary>
    public RoomCounts Counts { get; }

    /// <summary>The group of a room, or of another name.</summary>
    public RedisGroup Of(string room) => _all[_node.GroupOf(room)];

    /// <summary>The group of all these rooms; null if they are in several.</summary>
    public RedisGroup? OfAll(string[] rooms)
    {
        if (_all.Length == 1)
        {
            return _all[0];
        }

        var group = _node.GroupOf(rooms[0]);
        for (var i = 1; i < rooms.Length; i++)
        {
            if (_node.GroupOf(rooms[i]) != group)
            {
                return null;
            }
        }

        return _all[group];
    }
}
