using System.Text.Json;
using System.Text.Json.Nodes;

namespace Dmb.Bench.Scale;

/// <summary>
/// What things cost, as measured: a file of figures, each with its unit and where it comes from. CPU is in microseconds
/// of one core, memory in bytes.
/// </summary>
internal sealed class Costs
{
    /// <param name="Name">What it is called in the file.</param>
    /// <param name="What">What it is a figure of.</param>
    /// <param name="Value">The figure.</param>
    /// <param name="Unit">Its unit.</param>
    /// <param name="From">Where it was measured, or how it follows from what was.</param>
    public sealed record Cost(string Name, string What, double Value, string Unit, string From);

    private Costs(IReadOnlyList<Cost> all) => All = all;

    public IReadOnlyList<Cost> All { get; }

    /// <summary>Node: a publish, without its copies and deliveries.</summary>
    public double Publish => this["publish"];

    /// <summary>Node: a copy of a publish that it receives from Redis.</summary>
    public double Copy => this["copy"];

    /// <summary>Node: a message to one session.</summary>
    public double Delivery => this["delivery"];

    /// <summary>Node: a keep-alive ping and the session's answer.</summary>
    public double Ping => this["ping"];

    /// <summary>Node: a session that connects, joins its rooms and resumes.</summary>
    public double Return => this["return"];

    /// <summary>Node: memory at its start.</summary>
    public double NodeBytes => this["node_bytes"];

    /// <summary>Node: memory of an idle session.</summary>
    public double SessionBytes => this["session_bytes"];

    /// <summary>Kernel: memory of an idle socket.</summary>
    public double SocketBytes => this["socket_bytes"];

    /// <summary>Node: memory of a room with a member there.</summary>
    public double RoomBytes => this["room_bytes"];

    /// <summary>Node: memory of a further member of a room.</summary>
    public double MemberBytes => this["member_bytes"];

    /// <summary>Network: what is added to a message on its way to a session.</summary>
    public double FrameBytes => this["frame_bytes"];

    /// <summary>Redis: the script of a publish, without its rooms.</summary>
    public double Script => this["redis_script"];

    /// <summary>Redis: what a script costs more on a cluster with groups: the channel of all rooms of a group.</summary>
    public double ScriptShard => this["redis_shard"];

    /// <summary>Redis: a room of a publish, with its history and the first node that receives it.</summary>
    public double ScriptRoom => this["redis_room"];

    /// <summary>Redis: each further node that receives it.</summary>
    public double ScriptCopy => this["redis_copy"];

    /// <summary>Redis: a session that joins its rooms and resumes.</summary>
    public double RedisReturn => this["redis_return"];

    /// <summary>Redis: memory at its start, with a full log.</summary>
    public double RedisBytes => this["redis_bytes"];

    /// <summary>Redis: memory of the keys of a room that keeps a history.</summary>
    public double RedisRoomBytes => this["redis_room_bytes"];

    /// <summary>Redis: the least memory that the messages of such a room take.</summary>
    public double RedisStreamBytes => this["redis_stream_bytes"];

    /// <summary>Redis: memory of a node's subscription of a room.</summary>
    public double RedisChannelBytes => this["redis_channel_bytes"];

    /// <summary>Redis: what is added to a message that is kept.</summary>
    public double RedisMessageBytes => this["redis_message_bytes"];

    private double this[string name] => All.First(cost => cost.Name == name).Value;

    /// <exception cref="FormatException">The file is not one of costs, or lacks one.</exception>
    public static Costs Parse(string json)
    {
        try
        {
            var all = JsonNode.Parse(json)!.AsObject().Select(Read).ToArray();
            var costs = new Costs(all);
            var missing = Names.Except(all.Select(cost => cost.Name)).ToArray();
            return missing.Length == 0
                ? costs
                : throw new FormatException($"The file of costs lacks {string.Join(", ", missing)}.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new FormatException($"The file of costs is not as it should be: {e.Message}", e);
        }
    }

    private static readonly string[] Names =
    [
        "publish",
        "copy",
        "delivery",
        "ping",
        "return",
        "node_bytes",
        "session_bytes",
        "socket_bytes",
        "room_bytes",
        "member_bytes",
        "frame_bytes",
        "redis_script",
        "redis_shard",
        "redis_room",
        "redis_copy",
        "redis_return",
        "redis_bytes",
        "redis_room_bytes",
        "redis_stream_bytes",
        "redis_channel_bytes",
        "redis_message_bytes",
    ];

    private static Cost Read(KeyValuePair<string, JsonNode?> entry)
    {
        return new Cost(
            entry.Key,
            Of("what").GetValue<string>(),
            Of("value").GetValue<double>(),
            Of("unit").GetValue<string>(),
            Of("from").GetValue<string>()
        );

        JsonNode Of(string member) =>
            entry.Value?[member] ?? throw new InvalidOperationException($"{entry.Key} has no {member}");
    }
}
