using System.Buffers;

namespace Dmb.Sockets;

/// <summary>What became of a frame that was to be queued.</summary>
internal enum Enqueued
{
    /// <summary>It is queued, and a writer is at work.</summary>
    Waits,

    /// <summary>
    /// It is queued, and the caller has become the writer: it has to call <see cref="SendQueue.Flush"/>.
    /// </summary>
    BeginsWriting,

    /// <summary>The queue is full.</summary>
    Full,

    /// <summary>The queue is sealed.</summary>
    Sealed,
}

/// <summary>
/// A bounded queue of finished frames in front of an output, with at most one writer, which joins what waits into one
/// write. Thread-safe. A frame is a shared array: it is never changed, and copied only where several are joined.
/// </summary>
/// <param name="output">Where frames are written.</param>
/// <param name="framesMax">Frames that may wait.</param>
/// <param name="bytesMax">Bytes that may wait; the first frame may be larger.</param>
internal sealed class SendQueue(IFrameOutput output, int framesMax, int bytesMax)
{
    /// <summary>Bytes that one write joins; a larger frame is written by itself.</summary>
    private const int BatchBytesMax = 65_536;

    private readonly Queue<byte[]> _frames = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile IFrameOutput _output = output;
    private int _bytes;
    private long _accepted;
    private bool _isWriting;
    private bool _isSealed;
    private bool _isReleased;

    /// <summary>Completes when less than half is queued; null while nothing waits for it.</summary>
    private TaskCompletionSource? _ready;

    /// <summary>Frames that wait; read without the lock, so it may be out of date.</summary>
    public int Count => _frames.Count;

    /// <summary>Frames that were accepted so far, those that wait included.</summary>
    public long Accepted => Volatile.Read(ref _accepted);

    /// <summary>Whether nothing more is taken in.</summary>
    public bool IsSealed => Volatile.Read(ref _isSealed);

    /// <summary>Completes when the queue is sealed and all of it has been written, or when it is discarded.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Why a write failed, once one has: then the connection is cut and the queue discarded.</summary>
    public Exception? Failure { get; private set; }

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
            _accepted++;
            return BeginWriting() ? Enqueued.BeginsWriting : Enqueued.Waits;
        }
    }

    /// <summary>
    /// Writes one frame at once if nothing waits and no writer is at work; false if it was not written.
    /// </summary>
    public bool TryWriteNow(byte[] frame)
    {
        lock (_frames)
        {
            if (_isSealed || !BeginWriting())
            {
                return false;
            }

            _accepted++;
        }

        if (TryWrite(frame, rented: null))
        {
            Flush();
        }

        return true;
    }

    /// <summary>
    /// As the writer, writes what waits. Returns without waiting for a write that the output does not take at once.
    /// </summary>
    public void Flush()
    {
        while (TryTake(out var batch, out var rented) && TryWrite(batch, rented)) { }
    }

    /// <summary>
    /// Replaces the output, also while a write is pending: what the old output has not taken when that write completes
    /// is written to the new one. The old output is neither aborted nor completed here.
    /// </summary>
    public void SwapOutput(IFrameOutput replacement) => _output = replacement;

    /// <summary>Queues the last bytes, whatever the limits, and takes nothing more in.</summary>
    /// <param name="last">The last bytes; may be empty.</param>
    /// <param name="dropped">Null to keep what waits; else told how many frames and bytes were dropped.</param>
    /// <param name="mustFlush">Whether the caller has become the writer: it has to call <see cref="Flush"/>.</param>
    /// <returns>False if the queue was sealed before: then nothing was done.</returns>
    public bool Seal(byte[] last, Action<int, int>? dropped, out bool mustFlush)
    {
        lock (_frames)
        {
            mustFlush = false;
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

            mustFlush = BeginWriting();
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

    /// <summary>Cuts the connection, unless it is released.</summary>
    public void Cut()
    {
        lock (_frames)
        {
            if (!_isReleased)
            {
                _output.Abort();
            }
        }
    }

    /// <summary>The connection belongs to its owner again: it is not cut any more.</summary>
    public void Release()
    {
        lock (_frames)
        {
            _isReleased = true;
        }
    }

    /// <summary>Writes one batch. False if the write ends later: then the rest is flushed when it does.</summary>
    private bool TryWrite(ReadOnlyMemory<byte> batch, byte[]? rented)
    {
        ValueTask<int> write;
        try
        {
            write = _output.WriteAsync(batch);
        }
        catch (Exception e)
        {
            write = ValueTask.FromException<int>(e);
        }

        if (!write.IsCompletedSuccessfully)
        {
            _ = FlushAfterAsync(write, batch, rented);
            return false;
        }

        var taken = write.Result;
        if (taken < batch.Length)
        {
            _ = FlushAfterAsync(ValueTask.FromResult(taken), batch, rented);
            return false;
        }

        Return(rented);
        return true;
    }

    private async Task FlushAfterAsync(ValueTask<int> write, ReadOnlyMemory<byte> batch, byte[]? rented)
    {
        try
        {
            batch = batch[await write..];
            while (batch.Length > 0)
            {
                batch = batch[await _output.WriteAsync(batch)..];
            }
        }
        catch (Exception e)
        {
            // Cut first: the end of the queue lets the connection be released.
            Failure = e;
            Cut();
            Discard();
            return;
        }
        finally
        {
            Return(rented);
        }

        Flush();
    }

    /// <summary>
    /// Takes one batch for the writer. False when nothing waits: then the caller is the writer no more.
    /// </summary>
    /// <param name="batch">What to write.</param>
    /// <param name="rented">
    /// The pooled array under the batch, to be returned after the write; null if the batch is one frame's own array.
    /// </param>
    private bool TryTake(out ReadOnlyMemory<byte> batch, out byte[]? rented)
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

    private static void Return(byte[]? rented)
    {
        if (rented is not null)
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private void Clear()
    {
        _frames.Clear();
        _bytes = 0;
    }
}
