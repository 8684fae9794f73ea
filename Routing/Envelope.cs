namespace Dmb.Routing;

/// <summary>One event on its way: its data is passed on unread, as the bytes that came.</summary>
internal sealed class Envelope(string @event, string id, string[] rooms, ReadOnlyMemory<byte> data, bool isKept = false)
{
    private bool _isKept = isKept;
    private EncodedFrames _frames;

    /// <summary>The event's name, of the form <see cref="Names.IsEvent"/>.</summary>
    public string Event { get; } = @event;

    /// <summary>
    /// The message id: ours (UUIDv7), or 1 to 64 characters that the publisher brought. Empty for what the broker
    /// itself says in a room.
    /// </summary>
    public string Id { get; } = id;

    /// <summary>The rooms it is addressed to, each once.</summary>
    public string[] Rooms { get; } = rooms;

    /// <summary>
    /// Its place in the history of each of <see cref="Rooms"/>, none in those that keep none; null where none does. Set
    /// before it is delivered.
    /// </summary>
    public StreamPosition[]? Positions { get; set; }

    /// <summary>Its number among all that have positions, over all rooms.</summary>
    public long Number { get; set; }

    /// <summary>
    /// Whether it may be a copy of a message that was delivered before: it was sent again, or read from a log.
    /// </summary>
    public bool IsAgain { get; set; }

    /// <summary>The last span on its way (W3C Trace Context), if its trace is sampled; else null.</summary>
    public string? Traceparent { get; set; }

    /// <summary>
    /// One JSON value in UTF-8. Borrowed from the publisher until <see cref="Keep"/>. Empty for what only moves rooms'
    /// positions on.
    /// </summary>
    public ReadOnlyMemory<byte> Data { get; private set; } = data;

    /// <summary>
    /// The finished bytes for one wire format and one of <see cref="Rooms"/>, made by the first subscriber that needs
    /// them and shared by all. Without positions all rooms share them.
    /// </summary>
    /// <param name="slot">The format's slot, from <see cref="EncodedFrames.ReserveSlot"/>.</param>
    /// <param name="room">Index in <see cref="Rooms"/>.</param>
    public ref byte[]? Frame(int slot, int room) =>
        ref _frames.At(slot, Positions is null ? 0 : room, Positions is null ? 1 : Rooms.Length);

    /// <summary>Its place in one of its rooms; none where that keeps no history.</summary>
    public StreamPosition PositionIn(string room) =>
        Positions is null || Array.IndexOf(Rooms, room) is not (>= 0 and var index) ? default : Positions[index];

    /// <summary>
    /// Copies the data unless it is the envelope's own, so that it outlives the buffer that it came in.
    /// </summary>
    public void Keep()
    {
        if (!_isKept)
        {
            Data = Data.ToArray();
            _isKept = true;
        }
    }
}
