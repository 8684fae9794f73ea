namespace Dmb.Routing;

/// <summary>
/// The finished frames of one envelope, one for each wire format and room. Two threads that encode the same frame at
/// once both get a correct one, and one of the two is kept.
/// </summary>
internal struct EncodedFrames
{
    private static int _slots;
    private byte[]?[]? _frames;

    /// <summary>Reserves the place of a wire format in all envelopes; called once for each format.</summary>
    public static int ReserveSlot() => Interlocked.Increment(ref _slots) - 1;

    /// <summary>The frame of a format and room, null until it is set.</summary>
    /// <param name="slot">The format's slot.</param>
    /// <param name="room">Index of the room, less than <paramref name="rooms"/>.</param>
    /// <param name="rooms">Rooms that have frames of their own; the same at each call.</param>
    public ref byte[]? At(int slot, int room, int rooms)
    {
        var index = (slot * rooms) + room;
        var frames = _frames;
        if (frames is null || index >= frames.Length)
        {
            // A format that is first used after this envelope was first encoded lies behind the end.
            Array.Resize(ref frames, _slots * rooms);
            _frames = frames;
        }

        return ref frames[index];
    }
}
