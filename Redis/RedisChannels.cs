namespace Dmb.Redis;

/// <summary>Every channel and key in Redis, and what flows there (docs/protocol.md §6). All begin with the prefix.</summary>
internal sealed class RedisChannels(string prefix, string node)
{
    private readonly string _room = prefix + "room:";
    private readonly string _notify = prefix + "notify:";

    /// <summary>Hash: event to default bus, empty for none. Channel: the name of an event that changed there.</summary>
    public string Events { get; } = prefix + "events";

    /// <summary>Stream: what was published lately, read by a node whose downlink was cut.</summary>
    public string Log { get; } = prefix + "log";

    /// <summary>Channel: what is asked of all nodes.</summary>
    public string Nodes { get; } = prefix + "nodes";

    /// <summary>Channel: what comes to this node alone, its probes and the answers to its questions.</summary>
    public string Node { get; } = NodeOf(prefix, node);

    /// <summary>Pattern: pushes from programs that have Redis and no HTTP.</summary>
    public string NotifyPattern => _notify + "*";

    /// <summary>Channel: the messages to one room.</summary>
    public string Room(string room) => _room + room;

    /// <summary>The room that a channel is of.</summary>
    public string RoomOf(string channel) => channel[_room.Length..];

    /// <summary>Key: the id of the first message with an idempotency key; expires.</summary>
    public string Idempotency(string key) => prefix + "idempotency:" + key;

    /// <summary>Key: which node took a plain input; expires.</summary>
    public string Claim(string key) => prefix + "claim:" + key;

    /// <summary>Another node's channel.</summary>
    public string NodeOf(string other) => NodeOf(prefix, other);

    private static string NodeOf(string prefix, string node) => prefix + "node:" + node;
}
