using System.Text.Json;
using System.Text.Json.Serialization;

namespace Dmb.Endpoints;

/// <summary>A node of the cluster.</summary>
/// <param name="Id">Unique over the cluster, made anew at each start.</param>
/// <param name="Version">The build that runs.</param>
/// <param name="Started">When it was started.</param>
/// <param name="Host">The name of its machine.</param>
/// <param name="Sessions">Its open sessions.</param>
/// <param name="Rooms">Rooms that have sessions on it.</param>
/// <param name="State">`ready`, `degraded` or `draining`.</param>
/// <param name="PublishesS">Messages a second that it took from publishers, over the last seconds.</param>
/// <param name="DeliveriesS">Copies a second that it queued for sessions, over the last seconds.</param>
internal sealed record NodeEntry(
    string Id,
    string Version,
    DateTimeOffset Started,
    string Host,
    long Sessions,
    int Rooms,
    string State,
    double PublishesS,
    double DeliveriesS
);

/// <summary>The nodes, the youngest first.</summary>
/// <param name="Items">The nodes.</param>
/// <param name="Next">Null: there are no more.</param>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record NodesAnswer(IReadOnlyList<NodeEntry> Items, string? Next, IReadOnlyList<string> Missing);

/// <summary>A room with sessions.</summary>
/// <param name="Room">Its name.</param>
/// <param name="Sessions">Its sessions on all nodes.</param>
/// <param name="Pos">Its position in history; null for a room that keeps none, and while Redis is away.</param>
/// <param name="Kept">Messages that are kept of it.</param>
internal sealed record RoomEntry(string Room, int Sessions, string? Pos = null, int Kept = 0);

/// <summary>Rooms by name.</summary>
/// <param name="Items">The rooms.</param>
/// <param name="Next">What `after` takes for more; null at the end.</param>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record RoomsAnswer(IReadOnlyList<RoomEntry> Items, string? Next, IReadOnlyList<string> Missing);

/// <summary>A session in a room.</summary>
/// <param name="Session">Its id.</param>
/// <param name="User">Who it is, by key or token; null if it has shown none.</param>
/// <param name="Node">The node that it is connected to.</param>
/// <param name="Since">When it was opened.</param>
/// <param name="Address">The client's address; for operators only.</param>
internal sealed record PresenceEntry(
    string Session,
    string? User,
    string Node,
    DateTimeOffset Since,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Address
);

/// <summary>Who is in a room, the newest session first.</summary>
/// <param name="Items">The sessions.</param>
/// <param name="Next">What `after` takes for more; null at the end.</param>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record PresenceAnswer(IReadOnlyList<PresenceEntry> Items, string? Next, IReadOnlyList<string> Missing);

/// <summary>An open session.</summary>
/// <param name="Session">Its id.</param>
/// <param name="User">Who it is, by key or token; null if it has shown none.</param>
/// <param name="Node">The node that it is connected to.</param>
/// <param name="Address">The client's address.</param>
/// <param name="Transport">`websocket`, `sse` or `socketio`.</param>
/// <param name="Agent">The client's `User-Agent`.</param>
/// <param name="Since">When it was opened.</param>
/// <param name="Rooms">The rooms that it is in.</param>
/// <param name="Queued">Frames that wait to be written to it.</param>
/// <param name="Sent">Frames that it has sent.</param>
/// <param name="Delivered">Frames that were queued for it.</param>
internal sealed record SessionEntry(
    string Session,
    string? User,
    string Node,
    string? Address,
    string Transport,
    string? Agent,
    DateTimeOffset Since,
    IReadOnlyList<string> Rooms,
    int Queued,
    long Sent,
    long Delivered
);

/// <summary>Sessions, the newest first.</summary>
/// <param name="Items">The sessions.</param>
/// <param name="Next">What `after` takes for more; null at the end.</param>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record SessionsAnswer(IReadOnlyList<SessionEntry> Items, string? Next, IReadOnlyList<string> Missing);

/// <summary>How many sessions were closed.</summary>
/// <param name="Closed">How many.</param>
internal sealed record ClosedAnswer(int Closed);

/// <summary>A message that is kept.</summary>
/// <param name="Event">Its event.</param>
/// <param name="Data">Its data as it was sent.</param>
/// <param name="Id">Its id.</param>
/// <param name="Pos">Its position in the room's history.</param>
internal sealed record HistoryEntry(string Event, JsonElement Data, string Id, string Pos);

/// <summary>What is kept of a room, in the order in which it was published.</summary>
/// <param name="Items">The messages.</param>
/// <param name="Pos">Where the room's history stands; null for a room that keeps none.</param>
internal sealed record HistoryAnswer(IReadOnlyList<HistoryEntry> Items, string? Pos);

/// <summary>A node's question to all nodes: which sessions, the newest first.</summary>
internal sealed record SessionQuery(string? User, string? Room, string? Address, int Limit, string? After);

/// <summary>A node's question to all nodes: which rooms, by name.</summary>
internal sealed record RoomQuery(string Prefix, int Limit, string? After);

/// <summary>A node's command to all nodes: close one session, or all of a user.</summary>
internal sealed record CloseCommand(string? Session, string? User, int Code, string Reason);

/// <summary>A node's command to all nodes: make a session join or leave a room.</summary>
internal sealed record MoveCommand(string Session, string Room, bool IsJoin);

/// <summary>What became of a command on one node: how many sessions it found there, and why it was refused.</summary>
internal sealed record CommandAnswer(int Found, string? Code = null, string? Message = null);
