namespace Dmb.Sockets;

/// <summary>Result of <see cref="SendQueue.Enqueue"/>.</summary>
internal enum Enqueued
{
    /// <summary>Queued; a writer is active.</summary>
    Waits,

    /// <summary>Queued; the caller is the writer now and has to call <see cref="SendQueue.Flush"/>.</summary>
    BeginsWriting,

    /// <summary>Rejected: the queue is full.</summary>
    Full,

    /// <summary>Rejected: the queue is sealed.</summary>
    Sealed,
}

/// <summary>
/// A bounded queue of encoded frames in front of an output, with at most one writer, which batches queued frames.
/// Thread-safe, with itself as the lock: another object would be one more cold cache line for each session that a
/// message goes to. A frame is a shared array: never changed, and copied only into a batch.
/// </summary>
/// <param name="output">Where frames are written.</param>
/// <param name="framesMax">Maximum number of queued frames.</param>
/// <param name="bytesMax">Maximum of queued bytes; a frame in an empty queue may be larger.</param>
internal sealed class SendQueue(IFrameOutput output, int framesMax, int bytesMax)
{
    private volatile IFrameOutput _output = output;

    private FrameBuffer _frames;
    private long _accepted;
    private bool _isWriting;
    private bool _isSealed;
    private bool _isReleased;
    private bool _hasEnded;

    /// <summary>Completes when the queue is less than half full; null while nothing awaits it.</summary>
    private TaskCompletionSource? _ready;

    /// <summary>Completes <see cref="Ended"/>; null while nothing awaits it.</summary>
    private TaskCompletionSource? _ended;

    /// <summary>Queued frames; read without the lock, so it may be out of date.</summary>
    public int Count => _frames.Count;

    /// <summary>Frames accepted so far, queued ones included.</summary>
    public long Accepted => Volatile.Read(ref _accepted);

    /// <summary>Where frames are written.</summary>
    public IFrameOutput Output => _output;

    /// <summary>Whether the queue rejects further frames.</summary>
    public bool IsSealed => Volatile.Read(ref _isSealed);

    /// <summary>Completes when a sealed queue has been written, or the queue was discarded.</summary>
    public Task Ended
    {
        get
        {
            lock (this)
            {
                if (_hasEnded)
                {
                    return Task.CompletedTask;
                }

                _ended ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                return _ended.Task;
            }
        }
    }

    /// <summary>
    /// The exception of a failed write, after which the connection is cut and the queue discarded; null if none failed.
    /// </summary>
    public Exception? Failure { get; private set; }

    /// <summary>Whether so many frames and bytes are within the limits.</summary>
    public bool Allows(int frames, long bytes) => frames < framesMax && (frames == 0 || bytes <= bytesMax);

    /// <summary>Queues one frame.</summary>
    public Enqueued Enqueue(byte[] frame)
    {
        lock (this)
        {
            if (_isSealed)
            {
                return Enqueued.Sealed;
            }

            if (!Allows(Count, _frames.Bytes + frame.Length))
            {
                return Enqueued.Full;
            }

            _frames.Add(frame);
            _accepted++;
            return BeginWriting() ? Enqueued.BeginsWriting : Enqueued.Waits;
        }
    }

    /// <summary>Writes one frame at once if no writer is active; false if it was not written.</summary>
    public bool TryWriteNow(byte[] frame)
    {
        lock (this)
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
    /// Writes the queued frames; for the writer only. Does not wait for a write that completes asynchronously.
    /// </summary>
    public void Flush()
    {
        while (TryDequeueBatch(out var batch, out var rented) && TryWrite(batch, rented)) { }
    }

    /// <summary>
    /// Replaces the output, also while a write is pending: the rest of a partial write goes to the new output. Does not
    /// abort or complete the old one.
    /// </summary>
    public void SwapOutput(IFrameOutput replacement) => _output = replacement;

    /// <summary>Queues the last bytes regardless of the limits, and rejects further frames.</summary>
    /// <param name="last">The last bytes; may be empty.</param>
    /// <param name="dropped">
    /// Null to keep the queued frames; else they are dropped, and it receives the count of frames and bytes.
    /// </param>
    /// <param name="mustFlush">Whether the caller is the writer now and has to call <see cref="Flush"/>.</param>
    /// <returns>False, without effect, if the queue was sealed already.</returns>
    public bool Seal(byte[] last, Action<int, int>? dropped, out bool mustFlush)
    {
        lock (this)
        {
            mustFlush = false;
            if (_isSealed)
            {
                return false;
            }

            if (dropped is not null)
            {
                dropped(Count, _frames.Bytes);
                _frames.Clear();
            }

            SealAndWake();
            if (last.Length > 0)
            {
                _frames.Add(last);
            }

            mustFlush = BeginWriting();
            return true;
        }
    }

    /// <summary>Drops the queued frames and rejects further ones; a pending write is not cancelled.</summary>
    public void Discard()
    {
        lock (this)
        {
            SealAndWake();
            _frames.Clear();
            End();
        }
    }

    /// <summary>Completes when the queue is less than half full, or sealed.</summary>
    public ValueTask WhenReadyAsync()
    {
        lock (this)
        {
            if (_isSealed || !IsHalfFull())
            {
                return ValueTask.CompletedTask;
            }

            _ready ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return new ValueTask(_ready.Task);
        }
    }

    /// <summary>Aborts the output, unless it is released.</summary>
    public void Cut()
    {
        lock (this)
        {
            if (!_isReleased)
            {
                _output.Abort();
            }
        }
    }

    /// <summary>Returns the connection to its owner: <see cref="Cut"/> has no effect any more.</summary>
    public void Release()
    {
        lock (this)
        {
            _isReleased = true;
        }
    }

    /// <summary>Writes one batch; false if the write completes asynchronously, which then flushes the rest.</summary>
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

        var written = write.Result;
        if (written < batch.Length)
        {
            _ = FlushAfterAsync(ValueTask.FromResult(written), batch, rented);
            return false;
        }

        FrameBuffer.Return(rented);
        return true;
    }

    private async Task FlushAfterAsync(ValueTask<int> write, ReadOnlyMemory<byte> batch, byte[]? rented)
    {
        try
        {
            batch = batch[await write..];
            while (batch.Length > 0)
            {
                RefillBatch(ref batch, ref rented);
                batch = batch[await _output.WriteAsync(batch)..];
            }
        }
        catch (Exception e)
        {
            // Cut before Discard: the queue's end lets the owner release the connection.
            Failure = e;
            Cut();
            Discard();
            return;
        }
        finally
        {
            FrameBuffer.Return(rented);
        }

        Flush();
    }

    /// <summary>Dequeues one batch; false when the queue is empty, and the caller is no longer the writer.</summary>
    /// <param name="batch">The bytes to write.</param>
    /// <param name="rented">
    /// The pooled array of the batch, to return after the write; null if the batch is one frame.
    /// </param>
    private bool TryDequeueBatch(out ReadOnlyMemory<byte> batch, out byte[]? rented)
    {
        lock (this)
        {
            if (_ready is not null && !IsHalfFull())
            {
                _ready.TrySetResult();
                _ready = null;
            }

            if (_frames.TryTakeBatch(out batch, out rented))
            {
                return true;
            }

            _isWriting = false;
            if (_isSealed)
            {
                End();
            }

            return false;
        }
    }

    /// <summary>Appends queued frames to a batch that is offered again.</summary>
    private void RefillBatch(ref ReadOnlyMemory<byte> batch, ref byte[]? rented)
    {
        lock (this)
        {
            _frames.Refill(ref batch, ref rented);
        }
    }

    private bool IsHalfFull() => Count > framesMax / 2 || _frames.Bytes > bytesMax / 2;

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

    private void End()
    {
        _hasEnded = true;
        _ended?.TrySetResult();
    }
}
