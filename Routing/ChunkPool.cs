using System.Numerics;

namespace Dmb.Routing;

/// <summary>
/// The chunks of the rooms' histories: arrays of 512 bytes to 4 KiB, so that a room with little history takes little,
/// which are used again. Not thread-safe.
/// </summary>
internal sealed class ChunkPool
{
    public const int SizeMax = 4_096;
    private const int SizeMin = 512;

    /// <summary>Maximum unused chunks of a size.</summary>
    private const int UnusedMax = 256;

    private readonly Stack<byte[]>[] _unused =
    [
        .. Enumerable.Range(0, BitOperations.Log2(SizeMax / SizeMin) + 1).Select(_ => new Stack<byte[]>()),
    ];

    /// <summary>Takes a chunk of at least so many bytes, or of <see cref="SizeMax"/>.</summary>
    public byte[] Rent(int bytes)
    {
        var size = Math.Clamp((int)BitOperations.RoundUpToPowerOf2((uint)bytes), SizeMin, SizeMax);
        return Of(size).TryPop(out var chunk) ? chunk : GC.AllocateUninitializedArray<byte>(size);
    }

    /// <summary>Takes a chunk back that nothing refers to.</summary>
    public void Return(byte[] chunk)
    {
        var unused = Of(chunk.Length);
        if (unused.Count < UnusedMax)
        {
            unused.Push(chunk);
        }
    }

    private Stack<byte[]> Of(int size) => _unused[BitOperations.Log2((uint)(size / SizeMin))];
}
