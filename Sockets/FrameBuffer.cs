using System.Buffers;

namespace Dmb.Sockets;

/// <summary>
/// The queued frames of a <see cref="SendQueue"/> in their order, and the batches that are made of them. A field of the
/// queue, whose lock guards it; never copied.
/// </summary>
internal struct FrameBuffer
{
    /// <summary>Maximum bytes of a batch; a larger frame is written alone.</summary>
    private const int BatchBytesMax = 65_536;

    /// <summary>
    /// The two oldest frames, and those after them. An idle session needs none of them, and neither a handshake nor one
    /// message at a time a queue.
    /// </summary>
    private byte[]? _first;
    private byte[]? _second;
    private Queue<byte[]>? _rest;

    /// <summary>The number of frames; may be read without the lock, and is then out of date.</summary>
    public readonly int Count =>
        _first is null ? 0
        : _second is null ? 1
        : 2 + (_rest?.Count ?? 0);

    /// <summary>Bytes of all frames.</summary>
    public int Bytes { get; private set; }

    /// <summary>Appends a frame.</summary>
    public void Add(byte[] frame)
    {
        Bytes += frame.Length;
        if (_first is null)
        {
            _first = frame;
        }
        else if (_second is null)
        {
            _second = frame;
        }
        else
        {
            (_rest ??= new()).Enqueue(frame);
        }
    }

    /// <summary>Drops all frames.</summary>
    public void Clear()
    {
        (_first, _second, _rest) = (null, null, null);
        Bytes = 0;
    }

    /// <summary>Takes the oldest frames, as many as fit into a batch; false without a frame.</summary>
    /// <param name="batch">The bytes to write.</param>
    /// <param name="rented">The pooled array of the batch; null if the batch is one frame.</param>
    public bool TryTakeBatch(out ReadOnlyMemory<byte> batch, out byte[]? rented)
    {
        rented = null;
        if (_first is not { } first)
        {
            batch = default;
            return false;
        }

        RemoveFirst();
        batch = first;
        Refill(ref batch, ref rented);
        return true;
    }

    /// <summary>Appends frames to a batch; a new pooled array takes the place of its own, which is returned.</summary>
    public void Refill(ref ReadOnlyMemory<byte> batch, ref byte[]? rented)
    {
        if (_first is null || batch.Length >= BatchBytesMax)
        {
            return;
        }

        var larger = ArrayPool<byte>.Shared.Rent(Math.Min(BatchBytesMax, batch.Length + Bytes));
        batch.Span.CopyTo(larger);
        var length = batch.Length;
        while (_first is { } next && length + next.Length <= larger.Length)
        {
            RemoveFirst();
            next.CopyTo(larger, length);
            length += next.Length;
        }

        Return(rented);
        (batch, rented) = (larger.AsMemory(0, length), larger);
    }

    /// <summary>Returns the pooled array of a batch, if it has one.</summary>
    public static void Return(byte[]? rented)
    {
        if (rented is not null)
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private void RemoveFirst()
    {
        Bytes -= _first!.Length;
        _first = _second;
        _second = _rest is { Count: > 0 } rest ? rest.Dequeue() : null;
    }
}
