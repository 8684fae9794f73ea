using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using System.Threading.Tasks.Sources;

namespace Dmb.Transport;

/// <summary>
/// Reads a socket on demand into one <see cref="ReceiveBuffer"/>. A pending read completes inline, on the socket
/// engine's thread.
/// </summary>
internal sealed class SocketReceiver : PipeReader, IValueTaskSource<ReadResult>, IDisposable
{
    /// <summary>Limit for unread bytes while watching; past it the connection is reported as closed.</summary>
    private const int WatchedBytesMax = 65_536;

    private readonly Lock _lock = new();
    private readonly SocketConnection _connection;
    private readonly Receiving _receiving;
    private ManualResetValueTaskSourceCore<ReadResult> _source;
    private ReceiveBuffer _buffer = new();

    /// <summary>Bytes of the last receive, not yet counted by <see cref="InlineReadBudget"/>.</summary>
    private int _received;
    private Exception? _error;

    // The states, all under the lock. A read that finds none of ended, cancelled or unread bytes begins to wait.
    //
    //   state       set when                                   cleared when            while it is set
    //   received    the first byte has come                    never                   a buffer is held to receive into
    //   receiving   a receive is begun                         it completes            no other receive is begun
    //   waiting     a read has nothing to return               the read is completed   the next receive completes it
    //   watching    Watch                                      the next read           received bytes are kept, unread
    //   cancelled   CancelPendingRead                          a read has returned it  a read returns at once
    //   ended       end of the stream, error, End, Detach      never                   a read returns the end
    //   completed   Complete                                   never                   the buffer goes with the receive
    private bool _hasReceived;
    private bool _isEnded;
    private bool _isCancelled;
    private bool _isCompleted;
    private bool _isReceiving;
    private bool _isWaiting;
    private bool _isWatching;
    private Action? _onHalfClosed;

    public SocketReceiver(SocketConnection connection)
    {
        _connection = connection;
        _receiving = new Receiving(this);
    }

    public override ValueTask<ReadResult> ReadAsync(CancellationToken cancellationToken = default)
    {
        if (cancellationToken.CanBeCanceled || InlineReadBudget.IsSpent(this, ref _received))
        {
            return ReadLaterAsync(cancellationToken);
        }

        lock (_lock)
        {
            _isWatching = false;
            if (!HasResult() && !ReceiveNow())
            {
                _isWaiting = true;
                _source.Reset();
                return new ValueTask<ReadResult>(this, _source.Version);
            }
        }

        return _error is null ? new ValueTask<ReadResult>(Result()) : ValueTask.FromException<ReadResult>(_error);
    }

    public override bool TryRead(out ReadResult result)
    {
        lock (_lock)
        {
            if (!HasResult())
            {
                result = default;
                return false;
            }
        }

        result = Result();
        return true;
    }

    public override void AdvanceTo(SequencePosition consumed) => AdvanceTo(consumed, consumed);

    public override void AdvanceTo(SequencePosition consumed, SequencePosition examined)
    {
        lock (_lock)
        {
            _buffer.AdvanceTo(consumed, examined, isFree: !_isReceiving);
        }
    }

    public override void CancelPendingRead()
    {
        lock (_lock)
        {
            _isCancelled = true;
            if (!_isWaiting)
            {
                return;
            }

            _isWaiting = false;
        }

        _source.SetResult(default);
    }

    /// <summary>Receives nothing more; a pending read returns the end.</summary>
    public void End()
    {
        lock (_lock)
        {
            _isEnded = true;
            if (!_isWaiting)
            {
                return;
            }

            _isWaiting = false;
        }

        _source.SetResult(default);
    }

    public override void Complete(Exception? exception = null)
    {
        lock (_lock)
        {
            _isCompleted = true;
            _receiving.Dispose();
            if (!_isReceiving)
            {
                _buffer.Release();
            }
        }
    }

    public void Dispose() => Complete();

    /// <summary>
    /// Until the next read, detects the client's disconnect (<see cref="SocketConnection.ConnectionClosed"/>) without a
    /// pending read. No buffer is held meanwhile.
    /// </summary>
    /// <param name="onHalfClosed">
    /// Called on the pool when the client has ended its side, which may be all of it or only what it sends; null if
    /// that counts as the connection's end.
    /// </param>
    public void Watch(Action? onHalfClosed)
    {
        lock (_lock)
        {
            (_isWatching, _onHalfClosed) = (true, onHalfClosed);
            ContinueWatching();
        }
    }

    /// <summary>Ends receiving and returns the bytes that are unconsumed.</summary>
    public byte[] Detach()
    {
        lock (_lock)
        {
            _isEnded = true;
            var rest = _buffer.Unread.ToArray();
            Complete();
            return rest;
        }
    }

    ReadResult IValueTaskSource<ReadResult>.GetResult(short token)
    {
        _source.GetResult(token);
        return _error is null ? Result() : throw _error;
    }

    ValueTaskSourceStatus IValueTaskSource<ReadResult>.GetStatus(short token) => _source.GetStatus(token);

    void IValueTaskSource<ReadResult>.OnCompleted(
        Action<object?> continuation,
        object? state,
        short token,
        ValueTaskSourceOnCompletedFlags flags
    ) => _source.OnCompleted(continuation, state, token, flags);

    private async ValueTask<ReadResult> ReadLaterAsync(CancellationToken cancellationToken)
    {
        if (!cancellationToken.CanBeCanceled)
        {
            await Task.Yield();
            return await ReadAsync(default);
        }

        cancellationToken.ThrowIfCancellationRequested();
        await using var cancelled = cancellationToken.UnsafeRegister(
            static input => ((SocketReceiver)input!).CancelPendingRead(),
            this
        );
        var result = await ReadAsync(default);
        if (result.IsCanceled)
        {
            cancellationToken.ThrowIfCancellationRequested();
        }

        return result;
    }

    /// <summary>True when a read can complete: unexamined bytes, the end of the stream, or a cancellation.</summary>
    private bool HasResult() => _isCancelled || _isEnded || _buffer.HasUnexamined;

    private ReadResult Result()
    {
        lock (_lock)
        {
            var isCancelled = _isCancelled;
            _isCancelled = false;
            return new ReadResult(_buffer.Unread, isCancelled, _isEnded);
        }
    }

    /// <summary>
    /// Starts a receive; true if it completed at once. An empty buffer only waits until the socket is readable.
    /// </summary>
    private bool Receive(Memory<byte> free)
    {
        _isReceiving = true;
        try
        {
            if (_receiving.Begin(_connection.Socket, free))
            {
                return false;
            }

            Received(_receiving.SocketError, _receiving.BytesTransferred, free.Length);
        }
        catch (ObjectDisposedException)
        {
            Received(SocketError.OperationAborted, 0, free.Length);
        }

        return true;
    }

    /// <summary>Receives without waiting; false if nothing has arrived.</summary>
    private bool ReceiveFirst()
    {
        var free = _buffer.Free().Span;
        try
        {
            var bytes = _connection.Socket.Receive(free, SocketFlags.None, out var error);
            if (error == SocketError.WouldBlock)
            {
                _buffer.Release();
                return false;
            }

            Received(error, bytes, free.Length);
        }
        catch (ObjectDisposedException)
        {
            Received(SocketError.OperationAborted, 0, free.Length);
        }

        return true;
    }

    /// <summary>Starts a receive, unless one is pending; true if a read can complete now.</summary>
    private bool ReceiveNow()
    {
        if (_isReceiving)
        {
            return false;
        }

        // A connection that has received nothing yet holds no buffer.
        if (!_hasReceived && (ReceiveFirst() || !Receive(Memory<byte>.Empty)))
        {
            return _hasReceived || _isEnded;
        }

        return _isEnded || Receive(_buffer.Free());
    }

    /// <summary>Applies the result of a receive into a buffer of <paramref name="room"/> bytes.</summary>
    private void Received(SocketError error, int bytes, int room)
    {
        _isReceiving = false;
        if (error != SocketError.Success)
        {
            _error = _connection.RecordFailure(error);
        }

        if (_error is not null || (bytes == 0 && room > 0))
        {
            _isEnded = true;
            if (_error is null && _isWatching && _onHalfClosed is not null)
            {
                ThreadPool.UnsafeQueueUserWorkItem(static call => call(), _onHalfClosed, preferLocal: false);
            }
            else
            {
                _connection.ReportClosed();
            }
        }

        _received = _error is null ? bytes : 0;
        _buffer.Add(_received);
        if (!_hasReceived && _received > 0)
        {
            _hasReceived = true;
            _connection.RecordActivity();
        }

        if (_isCompleted)
        {
            _buffer.Release();
        }
    }

    private void ContinueWatching()
    {
        while (_isWatching && !_isReceiving && !_isEnded && !_isCompleted)
        {
            if (_buffer.UnreadBytes >= WatchedBytesMax)
            {
                _isWatching = false;
                _connection.ReportClosed();
                return;
            }

            if (_buffer.UnreadBytes == 0)
            {
                _buffer.Release();
            }

            // The first receive only waits; the second tells data from the end of the stream.
            if (!Receive(Memory<byte>.Empty) || !Receive(_buffer.Free()))
            {
                return;
            }
        }
    }

    /// <summary>Completes a pending receive, on the socket engine's thread.</summary>
    private void OnReceived()
    {
        lock (_lock)
        {
            Received(_receiving.SocketError, _receiving.BytesTransferred, _receiving.MemoryBuffer.Length);
            if (!HasResult() && !_isCompleted && (_isWaiting || _isWatching) && !Receive(_buffer.Free()))
            {
                return;
            }

            ContinueWatching();
            if (!_isWaiting)
            {
                return;
            }

            _isWaiting = false;
        }

        _source.SetResult(default);
    }

    /// <summary>Ends the connection after a failure of the receive itself.</summary>
    private void Fail(Exception failure)
    {
        bool isWaiting;
        lock (_lock)
        {
            _error ??= new IOException("The connection could not be received from.", failure);
            _isEnded = true;
            isWaiting = _isWaiting;
            _isWaiting = false;
        }

        _connection.ReportClosed();
        if (isWaiting)
        {
            _source.SetResult(default);
        }
    }

    private sealed class Receiving(SocketReceiver input) : SocketReceive
    {
        protected override void Complete() => input.OnReceived();

        protected override void Fail(Exception failure) => input.Fail(failure);
    }
}
