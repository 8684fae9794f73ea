namespace Dmb.Routing;

/// <summary>
/// Caches the encoded frames of one envelope by wire format and room. Threads that encode the same frame concurrently
/// each get a correct one, and one of them is kept.
/// </summary>
internal sealed class EncodedFrames
{
    private static int _slots;

    /// <summary>The frame that was asked for first, and its index plus one: most messages need no other.</summary>
    private byte[]? _first;
    private int _firstIndex;
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
        if (
            _firstIndex == index + 1
            || (_firstIndex == 0 && Interlocked.CompareExchange(ref _firstIndex, index + 1, 0) == 0)
        )
        {
            return ref _first;
        }

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
