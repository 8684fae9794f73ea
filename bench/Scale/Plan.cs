using System.Globalization;
using Dmb.Redis;

namespace Dmb.Bench.Scale;

/// <summary>
/// How many nodes, shards and groups a shape needs. Sessions and rooms are spread evenly over nodes, publishes evenly
/// over rooms; machines are filled to <see cref="Fill"/>.
/// </summary>
internal sealed class Plan
{
    /// <summary>The share of a machine's CPU, memory and network that is used; the rest is for peaks.</summary>
    public const double Fill = 0.6;

    /// <summary>The share of a machine's CPU, beyond <see cref="Fill"/>, with which sessions are taken back.</summary>
    public const double Spare = 0.3;
    public const int NodesMax = 100_000;
    public const int ShardsMax = 1_000;

    /// <summary>Rooms with more members on a node than these have a loop of their own there.</summary>
    private const int InlineMax = 32;

    /// <summary>From one keep-alive ping of a session to the next.</summary>
    private const double PingSeconds = 25;

    /// <summary>Of a cluster, within the limit of <c>DMB_GROUPS</c>; one server has one group.</summary>
    private static readonly int[] GroupCounts = [64, RedisOptions.GroupsMax];

    private readonly Costs _costs;
    private readonly Shape _shape;

    /// <summary>
    /// A limit, and the share of it that is used; what is to be within <see cref="Fill"/> is 1 there.
    /// </summary>
    public readonly record struct Use(string Limit, double Share);

    /// <exception cref="FormatException">No number of nodes or shards is enough; says what lacks.</exception>
    public Plan(Costs costs, Shape shape)
    {
        (_costs, _shape) = (costs, shape);
        Nodes = Least(1, NodesMax, nodes => NodeUses(nodes));
        var one = RedisUses(1, 1);
        (Shards, Groups) = one.All(use => use.Share <= 1) ? (1, 1) : LeastShards();
    }

    public int Nodes { get; }
    public int Shards { get; }
    public int Groups { get; }

    /// <summary>Nodes that have a member of a room.</summary>
    public double NodesOfRoom => Spread(Nodes, _shape.Members);

    public double NodeMemory => MemoryOfNode(Nodes);
    public double NodeMbit => BitsOfNode(Nodes) / 1e6;

    /// <summary>Of all shards.</summary>
    public double RedisMemory => (_costs.RedisBytes * Shards) + RedisData;
    public double ShardMbit => BitsOfRedis * FullestShare(Shards, Groups) / 1e6;

    /// <summary>Cores of all nodes together that are busy.</summary>
    public double NodeCores => CpuOfNode(Nodes) * Nodes;

    /// <summary>Cores of all shards together that are busy.</summary>
    public double RedisCores => CpuOfRedis(Groups);

    /// <summary>Each node has a connection for commands, scripts and subscriptions each to each shard.</summary>
    public double ConnectionsOfShard => 3.0 * Nodes;

    /// <summary>Seconds until all sessions are back that all connect at once, as after a balancer's restart.</summary>
    public double AllBackSeconds =>
        Math.Max(
            _shape.Sessions * _costs.Return / 1e6 / (Nodes * _shape.Cores * Spare),
            _shape.Sessions * _costs.RedisReturn / 1e6 * FullestShare(Shards, Groups) / Spare
        );

    /// <summary>Seconds until the sessions of a node that died are back on the others.</summary>
    public double BackSeconds => BackSecondsOf(Nodes);

    /// <summary>All limits with what is used of them, the fullest first.</summary>
    public IReadOnlyList<Use> Uses =>
        [.. NodeUses(Nodes).Concat(RedisUses(Shards, Groups)).OrderByDescending(use => use.Share)];

    private IEnumerable<Use> NodeUses(int nodes)
    {
        yield return new("sessions of a node (`DMB_MAX_SESSIONS`)", _shape.Sessions / nodes / _shape.NodeSessions);
        yield return new("memory of a node", MemoryOfNode(nodes) / (_shape.MemoryGB * 1e9 * Fill));
        yield return new("CPU of a node", CpuOfNode(nodes) / (_shape.Cores * Fill));
        yield return new("the loop of large rooms of a node", LargeRoomsOfNode(nodes) / Fill);
        yield return new("network of a node", BitsOfNode(nodes) / (_shape.Gbit * 1e9 * Fill));
        yield return new("a dead node's sessions back in time", BackSecondsOf(nodes) / _shape.ReturnSeconds);
    }

    private IEnumerable<Use> RedisUses(int shards, int groups)
    {
        var share = FullestShare(shards, groups);
        yield return new("CPU of a shard", CpuOfRedis(groups) * share / Fill);
        yield return new(
            "memory of a shard",
            ((RedisData * share) + _costs.RedisBytes) / (_shape.MemoryGB * 1e9 * Fill)
        );
        yield return new("network of a shard", BitsOfRedis * share / (_shape.Gbit * 1e9 * Fill));
    }

    private double MemoryOfNode(int nodes)
    {
        var sessions = _shape.Sessions / nodes;
        var rooms = _shape.Rooms * Spread(nodes, _shape.Members) / nodes;
        var furtherMembers = (_shape.Rooms * _shape.Members / nodes) - rooms;
        return _costs.NodeBytes
            + (sessions * (_costs.SessionBytes + _costs.SocketBytes))
            + (rooms * _costs.RoomBytes)
            + (Math.Max(0, furtherMembers) * _costs.MemberBytes);
    }

    private double CpuOfNode(int nodes)
    {
        var us =
            (_shape.Publishes * _costs.Publish)
            + (CopiesTo(nodes) * _costs.Copy)
            + (_shape.Deliveries * _costs.Delivery)
            + (_shape.Sessions / PingSeconds * _costs.Ping);
        return us / 1e6 / nodes;
    }

    /// <summary>
    /// One loop serves all rooms of a node with more members than are served where the message comes.
    /// </summary>
    private double LargeRoomsOfNode(int nodes) =>
        _shape.Members / Spread(nodes, _shape.Members) > InlineMax
            ? _shape.Deliveries / nodes * _costs.Delivery / 1e6
            : 0;

    private double BitsOfNode(int nodes)
    {
        var bytes =
            (CopiesTo(nodes) * (_shape.Bytes + _costs.FrameBytes))
            + (_shape.Deliveries * (_shape.Bytes + _costs.FrameBytes))
            + (_shape.Publishes * 2 * (_shape.Bytes + _costs.FrameBytes));
        return bytes / nodes * 8;
    }

    private double BackSecondsOf(int nodes)
    {
        // One node alone takes its own sessions back.
        var cores = Math.Max(1, nodes - 1) * _shape.Cores * Spare;
        return _shape.Sessions / nodes * _costs.Return / 1e6 / cores;
    }

    /// <summary>A message is one script for each group that has one of its rooms.</summary>
    private double CpuOfRedis(int groups)
    {
        var further = _shape.RoomsEach * (NodesOfRoom - 1);
        var us =
            (Spread(groups, _shape.RoomsEach) * (_costs.Script + (groups > 1 ? _costs.ScriptShard : 0)))
            + (_shape.RoomsEach * _costs.ScriptRoom)
            + (further * _costs.ScriptCopy);
        return _shape.Publishes * us / 1e6;
    }

    /// <summary>A history is deleted when its room got no message for as long as messages are kept.</summary>
    private double RedisData
    {
        get
        {
            var published = _shape.Publishes * _shape.RoomsEach * _shape.KeptSeconds / _shape.Rooms;
            var kept = 1 - Math.Exp(-published);
            var messages = Math.Min(_shape.Kept, published / kept);
            var history =
                _costs.RedisRoomBytes
                + Math.Max(_costs.RedisStreamBytes, messages * (_costs.RedisMessageBytes + _shape.Bytes));
            return _shape.Rooms * ((kept * history) + (NodesOfRoom * _costs.RedisChannelBytes));
        }
    }

    private double BitsOfRedis => (_shape.Publishes + CopiesTo(Nodes)) * (_shape.Bytes + _costs.FrameBytes) * 8;

    /// <summary>Messages a second that all nodes together receive from Redis.</summary>
    private double CopiesTo(int nodes) => _shape.Publishes * _shape.RoomsEach * Spread(nodes, _shape.Members);

    private (int Shards, int Groups) LeastShards()
    {
        // A cluster has at least three masters.
        var found = GroupCounts
            .Select(groups => (Shards: Try(3, ShardsMax, shards => RedisUses(shards, groups)), Groups: groups))
            .Where(found => found.Shards > 0)
            .ToArray();
        if (found.Length == 0)
        {
            throw new FormatException(
                $"{ShardsMax} shards are not enough: {Fullest(RedisUses(ShardsMax, GroupCounts[^1]))}. One room is on one "
                    + "shard: more rooms, or fewer publishes, are needed."
            );
        }

        // More groups cost each node more; they are worth it if they spare a shard in ten.
        return found.Aggregate((best, next) => next.Shards < 0.9 * best.Shards ? next : best);
    }

    private static int Least(int from, int to, Func<int, IEnumerable<Use>> uses) =>
        Try(from, to, uses) is > 0 and var least
            ? least
            : throw new FormatException($"{to} nodes are not enough: {Fullest(uses(to))}.");

    private static int Try(int from, int to, Func<int, IEnumerable<Use>> uses)
    {
        for (var count = from; count <= to; count++)
        {
            if (uses(count).All(use => use.Share <= 1))
            {
                return count;
            }
        }

        return 0;
    }

    private static string Fullest(IEnumerable<Use> uses)
    {
        var use = uses.MaxBy(use => use.Share);
        return string.Create(CultureInfo.InvariantCulture, $"{use.Limit} would be {use.Share:F1} times full");
    }

    /// <summary>The expected number of bins that get one of so many balls.</summary>
    private static double Spread(int bins, double balls) => bins * (1 - Math.Pow(1 - (1.0 / bins), balls));

    /// <summary>
    /// The largest share of all groups that one shard has, when their slots are moved so that shards have equally many;
    /// at least the share of one room.
    /// </summary>
    private double FullestShare(int shards, int groups) =>
        Math.Max(Math.Ceiling((double)groups / shards) / groups, 1 / _shape.Rooms);
}
