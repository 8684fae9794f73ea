using System.Text.Json;
using System.Text.Json.Serialization;

namespace Dmb.Endpoints;

/// <summary>A node of the cluster.</summary>
/// <param name="Id">Unique over the cluster, new at each start.</param>
/// <param name="Version">The version of the build.</param>
/// <param name="Started">When it was started.</param>
/// <param name="Host">The name of its machine.</param>
/// <param name="Sessions">Its open sessions.</param>
/// <param name="Rooms">Rooms with sessions on it.</param>
/// <param name="State">`ready`, `degraded` or `draining`.</param>
/// <param name="PublishesS">Messages per second accepted from publishers, over the last seconds.</param>
/// <param name="DeliveriesS">Copies per second queued for sessions, over the last seconds.</param>
/// <param name="Transports">
/// Sessions by transport, `websocket`, `sse`, `socketio`; only where they are asked for.
/// </param>
internal sealed record NodeEntry(
    string Id,
    string Version,
    DateTimeOffset Started,
    string Host,
    long Sessions,
    int Rooms,
    string State,
    double PublishesS,
    double DeliveriesS,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
        IReadOnlyDictionary<string, int>? Transports = null
);

/// <summary>The nodes, the youngest first.</summary>
/// <param name="Items">The nodes.</param>
/// <param name="Next">Null: there are no more.</param>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record NodesAnswer(IReadOnlyList<NodeEntry> Items, string? Next, IReadOnlyList<string> Missing);

/// <summary>A room with sessions.</summary>
/// <param name="Room">Its name.</param>
/// <param name="Sessions">Its sessions on all nodes.</param>
/// <param name="Pos">Its position in history; null without history, and while Redis is down.</param>
/// <param name="Kept">Messages in its history.</param>
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
/// <param name="Queued">Frames queued for it.</param>
/// <param name="Sent">Frames received from it.</param>
/// <param name="Delivered">Frames queued for it so far.</param>
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

/// <summary>The last line of a stream of sessions.</summary>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record MissingLine(IReadOnlyCollection<string> Missing);

/// <summary>The result of closing sessions.</summary>
/// <param name="Closed">Number of closed sessions.</param>
internal sealed record ClosedAnswer(int Closed);

/// <summary>A message in a room's history.</summary>
/// <param name="Event">Its event.</param>
/// <param name="Data">Its data as it was sent.</param>
/// <param name="Id">Its id.</param>
/// <param name="Pos">Its position in the room's history.</param>
internal sealed record HistoryEntry(string Event, JsonElement Data, string Id, string Pos);

/// <summary>A room's history, in order of publication.</summary>
/// <param name="Items">The messages.</param>
/// <param name="Pos">The room's position; null without history.</param>
internal sealed record HistoryAnswer(IReadOnlyList<HistoryEntry> Items, string? Pos);

/// <summary>The question for sessions, the newest first, to all nodes.</summary>
internal sealed record SessionQuery(string? User, string? Room, string? Address, int Limit, string? After);

/// <summary>The question for the next lines of a stream of all sessions, to all nodes.</summary>
/// <param name="Filter">The filter, and the most lines of a node that is asked for the first time.</param>
/// <param name="Nodes">The nodes that are asked; null for all, from the beginning.</param>
internal sealed record SessionLinesQuery(SessionQuery Filter, IReadOnlyDictionary<string, LinesFrom>? Nodes);

/// <summary>What is asked of one node.</summary>
/// <param name="After">The cursor of its last line.</param>
/// <param name="Limit">The most lines.</param>
internal sealed record LinesFrom(string After, int Limit);

/// <summary>The question for rooms, by name, to all nodes.</summary>
internal sealed record RoomQuery(string Prefix, int Limit, string? After);

/// <summary>The command to close one session, or all of a user, to all nodes.</summary>
internal sealed record CloseCommand(string? Session, string? User, int Code, string Reason);

/// <summary>The command to make a session join or leave a room, to all nodes.</summary>
internal sealed record MoveCommand(string Session, string Room, bool IsJoin);

/// <summary>The result of a command on one node: the number of matching sessions and, if refused, the reason.</summary>
internal sealed record CommandAnswer(int Found, string? Code = null, string? Message = null);
