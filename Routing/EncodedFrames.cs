namespace Dmb.Routing;

/// <summary>
/// Caches the encoded frames of one envelope by wire format and room. Threads that encode the same frame concurrently
/// each get a correct one, and one of them is kept.
/// </summary>
internal struct EncodedFrames
{
    private static int _slots;
    private byte[]?[]? _frames;

    /// <summary>Reserves a wire format's slot in all envelopes; called once per format.</summary>
    public static int ReserveSlot() => Interlocked.Increment(ref _slots) - 1;

    /// <summary>The frame of a format and room; null until it is set.</summary>
    /// <param name="slot">The format's slot.</param>
    /// <param name="room">Index of the room, less than <paramref name="rooms"/>.</param>
    /// <param name="rooms">Number of rooms with separate frames; the same at each call.</param>
    public ref byte[]? At(int slot, int room, int rooms)
    {
        var index = (slot * rooms) + room;
        var frames = _frames;
        if (frames is null || index >= frames.Length)
        {
            // A format reserved after this envelope was first encoded has a slot past the end.
            Array.Resize(ref frames, _slots * rooms);
            _frames = frames;
        }

        return ref frames[index];
    }
}
