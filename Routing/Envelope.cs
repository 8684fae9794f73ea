namespace Dmb.Routing;

/// <summary>An event in transit: its name, rooms, positions and data, which is passed on as received.</summary>
internal sealed class Envelope(string @event, string id, string[] rooms, ReadOnlyMemory<byte> data, bool isKept = false)
{
    private bool _isKept = isKept;
    private EncodedFrames? _frames;

    /// <summary>The event's name, of the form <see cref="Names.IsEvent"/>.</summary>
    public string Event { get; } = @event;

    /// <summary>
    /// The message id: a UUIDv7, or the publisher's own of 1 to 64 characters. Empty for the broker's own events.
    /// </summary>
    public string Id { get; } = id;

    /// <summary>The rooms it is addressed to, each once.</summary>
    public string[] Rooms { get; } = rooms;

    /// <summary>Its rooms in other groups of the backplane, by each of which a copy of its own comes.</summary>
    public string[] Elsewhere { get; init; } = [];

    /// <summary>The subscribers that have got a copy; null where this one is the only one.</summary>
    public Reached? Reached { get; set; }

    /// <summary>
    /// Its position in the history of each of <see cref="Rooms"/>, none for rooms without history; null if no room has
    /// one. Set before delivery.
    /// </summary>
    public StreamPosition[]? Positions { get; set; }

    /// <summary>
    /// Where the backplane kept it: a position for each of <see cref="Rooms"/>, an empty one where none is kept, with
    /// commas between. Set on the node that published it; null where that is not known.
    /// </summary>
    public string? KeptAt { get; set; }

    /// <summary>Its sequence number among all messages with positions, over all rooms.</summary>
    public long Number { get; set; }

    /// <summary>Whether it may have been delivered before: it was republished or read from a log.</summary>
    public bool IsAgain { get; set; }

    /// <summary>
    /// Set on a copy of a message that was delivered on this node before it had positions: it advances the positions,
    /// and reaches only members with a position (<see cref="Membership.IsPlaced"/>) and a higher number. Null: it
    /// reaches all.
    /// </summary>
    public long? PlacedAfter { get; init; }

    /// <summary>Its latest span's <c>traceparent</c> (W3C Trace Context) if the trace is sampled; else null.</summary>
    public string? Traceparent { get; set; }

    /// <summary>
    /// One JSON value in UTF-8. Borrowed from the publisher until <see cref="Keep"/>.
    /// </summary>
    public ReadOnlyMemory<byte> Data { get; private set; } = data;

    /// <summary>
    /// The encoded bytes for one wire format and one of <see cref="Rooms"/>, set by the first subscriber that needs
    /// them and shared. Without positions all rooms share them.
    /// </summary>
    /// <param name="slot">The format's slot, from <see cref="EncodedFrames.ReserveSlot"/>.</param>
    /// <param name="room">Index in <see cref="Rooms"/>.</param>
    public ref byte[]? Frame(int slot, int room) =>
        ref (_frames ??= new EncodedFrames()).At(
            slot,
            Positions is null ? 0 : room,
            Positions is null ? 1 : Rooms.Length
        );

    /// <summary>
    /// Drops the encoded frames once they are queued at all subscribers: a kept message then holds its data only, and a
    /// replay encodes it again, once for all.
    /// </summary>
    public void ReleaseFrames() => _frames = null;

    /// <summary>Its position in one of its rooms; none if that keeps no history.</summary>
    public StreamPosition PositionIn(string room) =>
        Positions is null || Array.IndexOf(Rooms, room) is not (>= 0 and var index) ? default : Positions[index];

    /// <summary>Copies borrowed data, so that the envelope outlives the publisher's buffer.</summary>
    public void Keep()
    {
        if (!_isKept)
        {
            Data = Data.ToArray();
            _isKept = true;
        }
    }
}
