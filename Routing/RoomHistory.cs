namespace Dmb.Routing;

/// <summary>A request to join a room and, for a recovery, the last position that the session has.</summary>
/// <param name="Room">The room.</param>
/// <param name="Since">The position after which messages are requested; null for live messages only.</param>
internal readonly record struct RoomRequest(string Room, StreamPosition? Since = null);

/// <summary>A room's current position and kept messages.</summary>
/// <param name="Position">The position of its newest message; none without history.</param>
/// <param name="Messages">
/// The kept messages after the requested position, or all if that has another epoch; the oldest first.
/// </param>
/// <param name="IsExpired">Whether dropped messages had expired, and were not trimmed at the limit of size.</param>
internal readonly record struct RoomHistory(StreamPosition Position, IReadOnlyList<Envelope> Messages, bool IsExpired)
{
    public static readonly RoomHistory None = new(default, [], IsExpired: false);
}

/// <summary>The outcome of a <see cref="RoomRequest"/>.</summary>
/// <param name="Room">The room.</param>
/// <param name="Position">The position after which all messages arrive; none without history.</param>
/// <param name="Recovered">
/// Whether all messages after the requested position are replayed; null if none was requested.
/// </param>
/// <param name="Why">
/// Why not all: <c>epoch</c>, the positions were lost; <c>future</c>, the position is ahead; <c>trimmed</c> or
/// <c>expired</c>.
/// </param>
/// <param name="Lost">Number of missing messages; null if unknown.</param>
internal readonly record struct JoinedRoom(
    string Room,
    StreamPosition Position,
    bool? Recovered = null,
    string? Why = null,
    long? Lost = null
);
