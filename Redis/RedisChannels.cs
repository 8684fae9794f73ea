using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The names of all channels and keys of one group in Redis, with their content (docs/protocol.md §6). All begin with
/// the prefix. What is not a room's is in the first group alone.
/// </summary>
/// <param name="prefix">What they begin with.</param>
/// <param name="node">This node's id.</param>
/// <param name="isSharded">Whether the channels of rooms and probes are sharded (SPUBLISH, SSUBSCRIBE).</param>
/// <param name="isOneOfMany">Whether there are other groups.</param>
internal sealed class RedisChannels(string prefix, string node, bool isSharded = false, bool isOneOfMany = false)
{
    private readonly string _notify = prefix + "notify:";

    /// <summary>What all names of the group begin with; its hash tag keeps them in one slot.</summary>
    public string Prefix => prefix;

    /// <summary>Whether the channels of rooms and probes are sharded (SPUBLISH, SSUBSCRIBE).</summary>
    public bool IsSharded => isSharded;

    /// <summary>
    /// Hash: the `layout` of keys, the number of `groups`, and `since`, which changes when that does.
    /// </summary>
    public string Format { get; } = prefix + "format";

    /// <summary>Hash: event to default bus, empty for none. Channel: the name of an event that changed there.</summary>
    public string Events { get; } = prefix + "events";

    /// <summary>Stream: the recent publishes, read by a node whose connection was lost.</summary>
    public string Log { get; } = prefix + "log";

    /// <summary>
    /// Channel: lines to all nodes. Key: with one group, the set of <see cref="NodesWithUsers"/>; with several, their
    /// number, so that a version that knows no groups is refused by Redis.
    /// </summary>
    public string Nodes { get; } = prefix + "nodes";

    /// <summary>Set, with several groups: the nodes whose users are in <see cref="NodeUsers"/>.</summary>
    public string GroupedNodes { get; } = prefix + "nodes:grouped";

    /// <summary>Set: the nodes whose users are in <see cref="NodeUsers"/>.</summary>
    public string NodesWithUsers => isOneOfMany ? GroupedNodes : Nodes;

    /// <summary>Channel: the operator's questions to all nodes, a line `number asker question argument`.</summary>
    public string Ask { get; } = prefix + "ask";

    /// <summary>Channel: questions to one node without an answer, a line `question argument`.</summary>
    public string AskOf(string other) => prefix + "ask:" + other;

    /// <summary>Set: the ids of all nodes, including recently failed ones.</summary>
    public string Members { get; } = prefix + "members";

    /// <summary>Channel: the answers to a node's questions, a line `number node answer` each.</summary>
    public string AnswersTo(string other) => prefix + "answers:" + other;

    /// <summary>
    /// Hash: a `mark` that changes when Redis has lost data, and the `count` of all messages with positions; see
    /// epoch.lua.
    /// </summary>
    public string Epoch { get; } = prefix + "epoch";

    /// <summary>Channel: lines to this node only, its probes and the answers to its questions.</summary>
    public string Node { get; } = NodeOf(prefix, node);

    /// <summary>Pattern: pushes over Redis.</summary>
    public string NotifyPattern => _notify + "*";

    /// <summary>Channel: pushes of an event.</summary>
    public string Notify(string @event) => _notify + @event;

    /// <summary>What <see cref="Room"/> begins with.</summary>
    public string RoomStart { get; } = prefix + "room:";

    /// <summary>What <see cref="History"/> begins with.</summary>
    public string HistoryStart { get; } = prefix + "history:";

    /// <summary>What <see cref="Position"/> begins with.</summary>
    public string PositionStart { get; } = prefix + "pos:";

    /// <summary>The form of a script for these channels.</summary>
    public RedisScript Own(RedisScript script) => isSharded ? script.Sharded : script;

    /// <summary>Channel: the messages to one room.</summary>
    public string Room(string room) => RoomStart + room;

    /// <summary>
    /// Stream: a room's history, an entry `seq-0` with the time `t` in ms, the `id` and the message `m`; expires.
    /// </summary>
    public string History(string room) => HistoryStart + room;

    /// <summary>Hash: a room's `seq`, its `epoch`, and the `mark` under which that began; expires.</summary>
    public string Position(string room) => PositionStart + room;

    /// <summary>
    /// Pattern, or, as there are none of them, sharded channel: the messages to all rooms of the group.
    /// </summary>
    public string AllRooms => isSharded ? prefix + "rooms" : RoomStart + "*";

    /// <summary>The room of a channel.</summary>
    public string RoomOf(string channel) => channel[RoomStart.Length..];

    /// <summary>Key: the id of the first message with an idempotency key; expires.</summary>
    public string Idempotency(string key) => prefix + "idempotency:" + key;

    /// <summary>
    /// Two alternating hashes: the replies to a backend's messages with ids or, for `register`, to registrations with a
    /// nonce; expire.
    /// </summary>
    public string Answered(string of, long turn) => $"{prefix}{of}:answered:{turn & 1}";

    /// <summary>Key: the node that claimed an input; expires.</summary>
    public string Claim(string key) => prefix + "claim:" + key;

    /// <summary>Channel: registrations of backends, and requests to free them.</summary>
    public string Register { get; } = prefix + "register";

    /// <summary>Channel: the uplinks of all backends.</summary>
    public string Uplink { get; } = prefix + "uplink";

    /// <summary>Pattern: the channels of all backends, and nothing else.</summary>
    public string BackendPattern { get; } = prefix + string.Concat(Enumerable.Repeat("[0-9a-f]", 32));

    /// <summary>Hash: a backend's name; expires. Channel: that backend's messages.</summary>
    public string Backend(string bkid) => prefix + bkid;

    /// <summary>
    /// Sorted set: a backend's name, a space and its bkid, all with one score; expired ones are taken out now and then.
    /// </summary>
    public string Backends { get; } = prefix + "backends";

    /// <summary>The backend of a channel.</summary>
    public string BackendOf(string channel) => channel[prefix.Length..];

    /// <summary>Channel: the acks to a backend.</summary>
    public string BackendAck(string bkid) => prefix + bkid + ":ack";

    /// <summary>Channel: the default for acks to a registration, by the backend's name.</summary>
    public string RegisterAck(string name) => Register + ":" + name;

    /// <summary>All keys of a backend, its registration first.</summary>
    public RedisKey[] StoredOf(string bkid) =>
        [Backend(bkid), BackendSessions(bkid), BackendUsers(bkid), BackendUplink(bkid), BackendRooms(bkid)];

    /// <summary>Stream: a backend's uplinks, with the fields `id` and `message`; expires.</summary>
    public string BackendUplink(string bkid) => prefix + bkid + ":uplink";

    /// <summary>Hash: session to user; expires.</summary>
    public string BackendSessions(string bkid) => prefix + bkid + ":sessions";

    /// <summary>Hash: user to the number of its sessions; expires.</summary>
    public string BackendUsers(string bkid) => prefix + bkid + ":users";

    /// <summary>Set: the rooms of its users that may have a history; expires.</summary>
    public string BackendRooms(string bkid) => prefix + bkid + ":rooms";

    /// <summary>Set: the backends' users of a node, a line each.</summary>
    public string NodeUsers(string other) => NodeOf(other) + ":users";

    /// <summary>
    /// Hash: message id to message, of the inputs that a node has claimed and not yet published in all groups.
    /// </summary>
    public string NodeInputs(string other) => NodeOf(other) + ":inputs";

    /// <summary>Key: the node that has such inputs, for which later ones wait on the others; expires.</summary>
    public string Turn { get; } = prefix + "turn";

    /// <summary>Another node's channel, and the key that exists while it is alive.</summary>
    public string NodeOf(string other) => NodeOf(prefix, other);

    /// <summary>Hash: webhook to its JSON. Channel: the id of a webhook that changed there.</summary>
    public string Webhooks { get; } = prefix + "hooks";

    /// <summary>Stream: queued messages of the webhooks of one lane; see <see cref="RedisWebhookStore"/>.</summary>
    public string WebhookLane(int lane) => $"{prefix}hooks:{lane}";

    /// <summary>Hash: lane to the node that reads it.</summary>
    public string WebhookOwners { get; } = prefix + "hooks:owners";

    /// <summary>Sorted set: nodes that read lanes, by when each is taken for dead.</summary>
    public string WebhookNodes { get; } = prefix + "hooks:nodes";

    /// <summary>Stream: what was not delivered.</summary>
    public string Dead { get; } = prefix + "dead";

    /// <summary>
    /// The prefix of a group: that of the settings for the first. Others have a hash tag of their own: <c>{dmb:g1}:</c>
    /// of <c>dmb:</c>, <c>{dmb.g1}:</c> of <c>{dmb}:</c>.
    /// </summary>
    public static string PrefixOf(string prefix, int group) =>
        group == 0 ? prefix
        : prefix.IndexOf('{', StringComparison.Ordinal) is >= 0 and var open
        && prefix.IndexOf('}', open) is var close
        && close > open + 1
            ? prefix.Insert(close, $".g{group}")
        : $"{{{prefix}g{group}}}:";

    private static string NodeOf(string prefix, string node) => prefix + "node:" + node;
}
