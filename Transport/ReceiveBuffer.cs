using System.Buffers;

namespace Dmb.Transport;

/// <summary>
/// Received bytes in one pooled array, which grows while its reader leaves bytes unconsumed. A field of its
/// <see cref="SocketReceiver"/>, whose lock guards it; never copied.
/// </summary>
internal struct ReceiveBuffer
{
    private const int FirstBytes = 4_096;

    /// <summary>
    /// Least free space to receive into; with less, the bytes are moved to the front, or the array grows.
    /// </summary>
    private const int FreeBytesMin = 1_024;

    private readonly Segment _segment = new();
    private byte[] _array = [];

    /// <summary>
    /// Offsets into the array: first unconsumed byte, first unexamined byte, end of the received bytes.
    /// </summary>
    private int _start;
    private int _examined;
    private int _end;

    public ReceiveBuffer() { }

    /// <summary>Bytes that are not consumed.</summary>
    public readonly int UnreadBytes => _end - _start;

    /// <summary>Whether bytes were received since the reader's last look.</summary>
    public readonly bool HasUnexamined => _end > _examined;

    /// <summary>The unconsumed bytes; positions are offsets into the array.</summary>
    public readonly ReadOnlySequence<byte> Unread => _segment.Of(_array, _start, _end);

    /// <summary>Sets how far the reader has consumed and examined the bytes.</summary>
    /// <param name="consumed">First unconsumed byte.</param>
    /// <param name="examined">First unexamined byte.</param>
    /// <param name="isFree">
    /// Whether no receive holds free space, so that an empty buffer begins at the front again.
    /// </param>
    public void AdvanceTo(SequencePosition consumed, SequencePosition examined, bool isFree)
    {
        (_start, _examined) = (consumed.GetInteger(), examined.GetInteger());
        if (_start == _end && isFree)
        {
            _start = _examined = _end = 0;
        }
    }

    /// <summary>Free space behind the received bytes: at least <see cref="FreeBytesMin"/>.</summary>
    public Memory<byte> Free()
    {
        if (_array.Length - _end < FreeBytesMin)
        {
            var left = UnreadBytes;
            var target =
                left + FreeBytesMin <= _array.Length
                    ? _array
                    : ArrayPool<byte>.Shared.Rent(Math.Max(FirstBytes, _array.Length * 2));
            _array.AsSpan(_start, left).CopyTo(target);
            if (target != _array)
            {
                Return(_array);
                _array = target;
            }

            (_start, _examined, _end) = (0, _examined - _start, left);
        }

        return _array.AsMemory(_end);
    }

    /// <summary>Adds bytes that were received into the free space.</summary>
    public void Add(int bytes) => _end += bytes;

    /// <summary>Returns the array to the pool, with all bytes.</summary>
    public void Release()
    {
        Return(_array);
        (_array, _start, _examined, _end) = ([], 0, 0, 0);
    }

    private static void Return(byte[] array)
    {
        if (array.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(array);
        }
    }

    /// <summary>The array as a sequence.</summary>
    private sealed class Segment : ReadOnlySequenceSegment<byte>
    {
        public ReadOnlySequence<byte> Of(byte[] array, int start, int end)
        {
            Memory = array;
            return new ReadOnlySequence<byte>(this, start, this, end);
        }
    }
}
