namespace Dmb.Routing;

/// <summary>The source of a publish, for its trace.</summary>
/// <param name="From">The transport: one of the constants.</param>
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

    /// <summary>A backend's message to its users, of any transport.</summary>
    public const string Backend = "backend";
}

/// <summary>Why a message reached no session or not all addressed ones (docs/protocol.md §3).</summary>
internal static class TraceReason
{
    public const string UnknownEvent = "unknown_event";
    public const string NoRoom = "no_room";
    public const string NoSubscriber = "no_subscriber";
    public const string Duplicate = "duplicate";
    public const string Spooled = "spooled";

    /// <summary>Prefix of the <see cref="ErrorCode"/> of a refused publish.</summary>
    public const string Refused = "refused:";
}

/// <summary>The outcome of one publish, recorded by the node that received it.</summary>
/// <param name="Time">When it was accepted or refused.</param>
/// <param name="Event">Its event; empty if none was parsed.</param>
/// <param name="Id">Its message id; null where it has none.</param>
/// <param name="From">The transport, as in <see cref="Origin"/>.</param>
/// <param name="Caller">The name of its caller; null without one.</param>
/// <param name="Rooms">The rooms that it is addressed to.</param>
/// <param name="LeftOut">The first names in its <c>_in</c> and <c>endpoint</c> that are no notification rooms.</param>
/// <param name="Why">One of <see cref="TraceReason"/>; null when it was published.</param>
/// <param name="Positions">Its position in the history of each room, null without history.</param>
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
    /// <summary>Whether all nodes record this trace, so that it is not sent to the others.</summary>
    [System.Text.Json.Serialization.JsonIgnore]
    public bool IsOnEveryNode { get; init; }
}

/// <summary>A fan-out of a message to the sessions of one node.</summary>
/// <param name="Id">The message's id.</param>
/// <param name="Sessions">Number of sessions that it was queued for.</param>
internal sealed record Delivery(string Id, int Sessions);

/// <summary>The filter of a tail.</summary>
/// <param name="Event">The event to match; null for any.</param>
/// <param name="Room">The room to match, among addressed and left out ones; null for any.</param>
internal sealed record TailFilter(string? Event, string? Room)
{
    public bool Matches(string @event, ReadOnlySpan<string> rooms, ReadOnlySpan<string> leftOut) =>
        (Event is null || Event == @event) && (Room is null || rooms.Contains(Room) || leftOut.Contains(Room));
}
