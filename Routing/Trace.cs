namespace Dmb.Routing;

/// <summary>Where a publish comes from, as its trace says.</summary>
/// <param name="From">The way in: one of the constants.</param>
/// <param name="Caller">The name of the caller's key or token; null or empty for a caller without one.</param>
/// <param name="Event">The event's name, where the event is not registered.</param>
internal readonly record struct Origin(string From, string? Caller = null, string? Event = null)
{
    /// <summary>A push over HTTP.</summary>
    public const string Http = "http";

    /// <summary>A frame of a socket.</summary>
    public const string Socket = "ws";

    /// <summary>A plain input over Redis.</summary>
    public const string Redis = "redis";

    /// <summary>A backend's message to its users, whichever way it came.</summary>
    public const string Backend = "backend";
}

/// <summary>Why a message reached no session, or not all that it was meant for (docs/protocol.md §3).</summary>
internal static class TraceReason
{
    public const string UnknownEvent = "unknown_event";
    public const string NoRoom = "no_room";
    public const string NoSubscriber = "no_subscriber";
    public const string Duplicate = "duplicate";
    public const string Spooled = "spooled";

    /// <summary>Comes before the code of <see cref="ErrorCode"/> by which the publish was refused.</summary>
    public const string Refused = "refused:";
}

/// <summary>What became of one publish on the node that took it.</summary>
/// <param name="Time">When it was taken or refused.</param>
/// <param name="Event">Its event; empty where none was read.</param>
/// <param name="Id">Its message id; null where it has none.</param>
/// <param name="From">The way in, as in <see cref="Origin"/>.</param>
/// <param name="Caller">The name of its caller; null without one.</param>
/// <param name="Rooms">The rooms that it is addressed to.</param>
/// <param name="LeftOut">
/// The first names in its <c>_in</c> and <c>endpoint</c> that are no notification rooms.
/// </param>
/// <param name="Why">One of <see cref="TraceReason"/>; null when it was published.</param>
/// <param name="Positions">Its position in the history of each room, null in a room that keeps none.</param>
/// <param name="Data">Its data, if a tail wants it and it is small.</param>
internal sealed record Trace(
    DateTimeOffset Time,
    string Event,
    string? Id,
    string From,
    string? Caller,
    string[] Rooms,
    string[] LeftOut,
    string? Why,
    string?[] Positions,
    byte[]? Data
)
{
    /// <summary>Whether every node has this trace, so that it is not told to the others.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public bool IsOnEveryNode { get; init; }
}

/// <summary>One fan-out of a message to the sessions of one node.</summary>
/// <param name="Id">The message's id.</param>
/// <param name="Sessions">How many sessions it was queued for.</param>
internal sealed record Delivery(string Id, int Sessions);

/// <summary>Which publishes a tail shows.</summary>
/// <param name="Event">Only those of this event; null for any.</param>
/// <param name="Room">Only those addressed to this room, or that named it in vain; null for any.</param>
internal sealed record TailFilter(string? Event, string? Room)
{
    public bool Matches(string @event, ReadOnlySpan<string> rooms, ReadOnlySpan<string> leftOut) =>
        (Event is null || Event == @event) && (Room is null || rooms.Contains(Room) || leftOut.Contains(Room));
}
