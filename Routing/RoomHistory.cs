namespace Dmb.Routing;

/// <summary>
/// A room that a session wants to join, and, of one that comes back, the last position that it saw there.
/// </summary>
/// <param name="Room">The room.</param>
/// <param name="Since">The place behind which all is wanted; null for who wants only what comes from now on.</param>
internal readonly record struct RoomRequest(string Room, StreamPosition? Since = null);

/// <summary>Where a room stands, and what is kept of it.</summary>
/// <param name="Position">The place of its newest message; none in a room that keeps no history.</param>
/// <param name="Messages">
/// What is kept behind the place that was asked for, or all if that is of another life of the count; the oldest first.
/// </param>
/// <param name="IsExpired">
/// Whether what is not kept any more went for its age, and not because newer ones took its place.
/// </param>
internal readonly record struct RoomHistory(StreamPosition Position, IReadOnlyList<Envelope> Messages, bool IsExpired)
{
    public static readonly RoomHistory None = new(default, [], IsExpired: false);
}

/// <summary>What became of a <see cref="RoomRequest"/>.</summary>
/// <param name="Room">The room.</param>
/// <param name="Position">The place from which on all arrives; none in a room that keeps no history.</param>
/// <param name="Recovered">
/// Whether all behind the place that was asked for is replayed; null if nothing was asked for.
/// </param>
/// <param name="Why">
/// Why not all: <c>epoch</c>, the count was lost; <c>future</c>, the place lies ahead; <c>trimmed</c> or
/// <c>expired</c>.
/// </param>
/// <param name="Lost">How many messages are missing, where that is known.</param>
internal readonly record struct JoinedRoom(
    string Room,
    StreamPosition Position,
    bool? Recovered = null,
    string? Why = null,
    long? Lost = null
);
