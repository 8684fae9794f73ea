using System.Numerics;

namespace Dmb.Routing;

/// <summary>
/// The chunks of the rooms' histories: arrays of 512 bytes to 4 KiB, so that a room with little history takes little,
/// which are used again. They are pinned, so that the garbage collector never copies them. Not thread-safe.
/// </summary>
internal sealed class ChunkPool
{
    public const int SizeMax = 4_096;
    private const int SizeMin = 512;

    /// <summary>
    /// Unused chunks of a size that are kept: so many, or one for so many that rooms hold. Rooms with messages in turn
    /// return theirs at the same time.
    /// </summary>
    private const int UnusedMin = 256;
    private const int HeldForUnused = 4;

    private readonly Stack<byte[]>[] _unused =
    [
        .. Enumerable.Range(0, BitOperations.Log2(SizeMax / SizeMin) + 1).Select(_ => new Stack<byte[]>()),
    ];

    private int _held;

    /// <summary>Takes a chunk of at least so many bytes, or of <see cref="SizeMax"/>.</summary>
    public byte[] Rent(int bytes)
    {
        var size = Math.Clamp((int)BitOperations.RoundUpToPowerOf2((uint)bytes), SizeMin, SizeMax);
        _held++;
        return Of(size).TryPop(out var chunk) ? chunk : GC.AllocateUninitializedArray<byte>(size, pinned: true);
    }

    /// <summary>Takes a chunk back that nothing refers to.</summary>
    public void Return(byte[] chunk)
    {
        var unused = Of(chunk.Length);
        unused.Push(chunk);
        for (var max = Math.Max(UnusedMin, --_held / HeldForUnused); unused.Count > max; )
        {
            unused.Pop();
        }
    }

    private Stack<byte[]> Of(int size) => _unused[BitOperations.Log2((uint)(size / SizeMin))];
}
