using System.Buffers;

namespace Dmb.Sockets;

/// <summary>What became of a frame that was to be queued.</summary>
internal enum Enqueued
{
    /// <summary>It is queued, and a writer is at work.</summary>
    Waits,

    /// <summary>It is queued, and the caller has become the writer: it has to call <see cref="SendQueue.TryTake"/> until that is false.</summary>
    BeginsWriting,

    /// <summary>The queue is full.</summary>
    Full,

    /// <summary>The queue is sealed.</summary>
    Sealed,
}

/// <summary>
/// A bounded queue of finished frames with at most one writer, which takes them in batches. Thread-safe.
/// A frame is a shared array: it is never changed, and copied only into a batch.
/// </summary>
/// <param name="framesMax">Frames that may wait.</param>
/// <param name="bytesMax">Bytes that may wait; the first frame may be larger.</param>
internal sealed class SendQueue(int framesMax, int bytesMax)
{
    /// <summary>Bytes that one batch joins; a larger frame is a batch by itself.</summary>
    private const int BatchBytesMax = 65_536;

    private readonly Queue<byte[]> _frames = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _bytes;
    private bool _isWriting;
    private bool _isSealed;

    /// <summary>Completes when less than half is queued; null while nothing waits for it.</summary>
    private TaskCompletionSource? _ready;

    /// <summary>Frames that wait; read without the lock, so it may be out of date.</summary>
    public int Count => _frames.Count;

    /// <summary>Whether nothing more is taken in.</summary>
    public bool IsSealed => Volatile.Read(ref _isSealed);

    /// <summary>Completes when the queue is sealed and all of it has been written, or when it is discarded.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Whether so much may wait.</summary>
    public bool Allows(int frames, long bytes) => frames < framesMax && (frames == 0 || bytes <= bytesMax);

    /// <summary>Queues one frame.</summary>
    public Enqueued Enqueue(byte[] frame)
    {
        lock (_frames)
        {
            if (_isSealed)
            {
                return Enqueued.Sealed;
            }

            if (!Allows(_frames.Count, _bytes + frame.Length))
            {
                return Enqueued.Full;
            }

            _frames.Enqueue(frame);
            _bytes += frame.Length;
            return BeginWriting() ? Enqueued.BeginsWriting : Enqueued.Waits;
        }
    }

    /// <summary>Makes the caller the writer if there is none: then nothing waits, and a frame can be written without queueing it.</summary>
    public bool TryBeginWriting()
    {
        lock (_frames)
        {
            return !_isSealed && BeginWriting();
        }
    }

    /// <summary>Queues the last bytes, whatever the limits, and takes nothing more in.</summary>
    /// <param name="last">The last bytes; may be empty.</param>
    /// <param name="dropped">Null to keep what waits; else told how many frames and bytes were dropped.</param>
    /// <param name="mustWrite">Whether the caller has become the writer.</param>
    /// <returns>False if the queue was sealed before: then nothing was done.</returns>
    public bool Seal(byte[] last, Action<int, int>? dropped, out bool mustWrite)
    {
        lock (_frames)
        {
            mustWrite = false;
            if (_isSealed)
            {
                return false;
            }

            if (dropped is not null)
            {
                dropped(_frames.Count, _bytes);
                Clear();
            }

            SealAndWake();
            if (last.Length > 0)
            {
                _frames.Enqueue(last);
                _bytes += last.Length;
            }

            mustWrite = BeginWriting();
            return true;
        }
    }

    /// <summary>Drops what waits and takes nothing more in; what is being written ends by itself.</summary>
    public void Discard()
    {
        lock (_frames)
        {
            SealAndWake();
            Clear();
            _ended.TrySetResult();
        }
    }

    /// <summary>
    /// Takes one batch for the writer. False when nothing waits: then the caller is the writer no more.
    /// </summary>
    /// <param name="batch">What to write.</param>
    /// <param name="rented">The pooled array under the batch, to be returned after the write; null if the batch is one frame's own array.</param>
    public bool TryTake(out ReadOnlyMemory<byte> batch, out byte[]? rented)
    {
        lock (_frames)
        {
            rented = null;
            if (_ready is not null && !IsHalfFull())
            {
                _ready.TrySetResult();
                _ready = null;
            }

            if (!_frames.TryDequeue(out var first))
            {
                batch = default;
                _isWriting = false;
                if (_isSealed)
                {
                    _ended.TrySetResult();
                }

                return false;
            }

            _bytes -= first.Length;
            batch = first;
            if (_frames.Count > 0 && first.Length < BatchBytesMax)
            {
                rented = ArrayPool<byte>.Shared.Rent(Math.Min(BatchBytesMax, first.Length + _bytes));
                batch = rented.AsMemory(0, Join(first, rented));
            }

            return true;
        }
    }

    /// <summary>Completes when less than half is queued, or the queue is sealed.</summary>
    public ValueTask WhenReadyAsync()
    {
        lock (_frames)
        {
            if (_isSealed || !IsHalfFull())
            {
                return ValueTask.CompletedTask;
            }

            _ready ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return new ValueTask(_ready.Task);
        }
    }

    private int Join(byte[] first, byte[] target)
    {
        first.CopyTo(target, 0);
        var length = first.Length;
        while (_frames.TryPeek(out var next) && length + next.Length <= target.Length)
        {
            _frames.Dequeue();
            next.CopyTo(target, length);
            length += next.Length;
            _bytes -= next.Length;
        }

        return length;
    }

    private bool IsHalfFull() => _frames.Count > framesMax / 2 || _bytes > bytesMax / 2;

    private bool BeginWriting()
    {
        if (_isWriting)
        {
            return false;
        }

        return _isWriting = true;
    }

    private void SealAndWake()
    {
        Volatile.Write(ref _isSealed, true);
        _ready?.TrySetResult();
    }

    private void Clear()
    {
        _frames.Clear();
        _bytes = 0;
    }
}
