using System.Buffers;
using System.Net.Sockets;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>How a session's bytes look; the values index <see cref="Envelope.Encoded"/>.</summary>
internal enum WireFormat
{
    WebSocket,
    DeflatedWebSocket,

    /// <summary>With the trace of a message that has one; not compressed.</summary>
    TracedWebSocket,

    /// <summary>With the id line of a stream of one room.</summary>
    EventStream,

    /// <summary>Without an id line: streams of several rooms have each their own.</summary>
    EventStreamHead,
}

/// <summary>
/// One client's connection: a bounded queue of finished frames, and the one writer of all that leaves the connection.
/// What waits for the same connection leaves in one write. A client that doesn't keep up is closed, never waited for.
/// </summary>
internal sealed partial class Session : Subscriber
{
    /// <summary>Bytes that one write joins; a larger frame is written by itself.</summary>
    private const int WriteBytesMax = 65_536;

    private readonly Stream? _output;
    private readonly Socket? _socket;
    private readonly WireFormat _format;
    private readonly Action _abort;
    private readonly SessionTable _table;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Frames that wait; guards all that changes.</summary>
    private readonly Queue<byte[]> _queue = new();
    private int _queuedBytes;
    private StreamCursor? _cursor;

    /// <summary>Completes when less is queued; null while nobody waits for it.</summary>
    private TaskCompletionSource? _ready;

    /// <summary>Whether somebody is about to write or writing; whoever sets it has to call <see cref="Flush"/>.</summary>
    private bool _flushing;
    private bool _closing;
    private bool _isForgotten;
    private long _closingSince;
    private readonly long _opened;
    private volatile Caller _caller;
    private long _lastHeard;
    private long _lastPinged;

    /// <param name="table">What all sessions of the node share.</param>
    /// <param name="caller">Whose it is.</param>
    /// <param name="output">The connection, if it is the server's. Nobody else writes to it.</param>
    /// <param name="format">How messages are encoded on it.</param>
    /// <param name="abort">Cuts the connection at once.</param>
    /// <param name="socket">The connection, if it has left the server; it doesn't block.</param>
    public Session(SessionTable table, Caller caller, Stream? output, WireFormat format, Action abort, Socket? socket = null)
    {
        (_table, _caller, _output, _format, _abort, _socket) = (table, caller, output, format, abort, socket);
        _opened = _lastHeard = _lastPinged = table.Time.GetTimestamp();
    }

    /// <summary>Completes when nothing more will be written: the last frame is out, or the connection is lost.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Whether the session is on its way out.</summary>
    public bool IsClosing => Volatile.Read(ref _closing);

    /// <summary>Messages that wait to be written; read without a lock, so it may be out of date.</summary>
    public int Queued => _queue.Count;

    /// <summary>Whose it is: it ends with its caller's token or key, unless it is shown another in time.</summary>
    public Caller Caller
    {
        get => _caller;
        set => _caller = value;
    }

    /// <summary>Notes that the client gave a sign of life.</summary>
    public void Heard() => Volatile.Write(ref _lastHeard, _table.Time.GetTimestamp());

    protected override bool MayHold(int messages, long bytes) =>
        messages < _table.Options.MaxPendingMessages && (messages == 0 || bytes <= _table.Options.MaxPendingBytes);

    public override bool Queue(Envelope envelope, int room) =>
        _cursor is { } cursor ? Enqueue(envelope, room, cursor) : Enqueue(Encoded(envelope, _format, room));

    /// <summary>What it is sent says up to where it has come in these rooms: in the id lines of a stream.</summary>
    public void Begin(StreamCursor cursor)
    {
        _cursor = cursor;
        Queue(cursor.Line());
    }

    /// <summary>Says of which rooms not all that was missed can be replayed.</summary>
    public void TellGaps(Joining joining)
    {
        foreach (var room in joining.Rooms.Where(room => room.Recovered == false))
        {
            Send(Gap.Event, Gap.ToJson(room.Room, room.Lost, room.Why));
        }
    }

    public override ValueTask ReadyAsync()
    {
        lock (_queue)
        {
            if (_closing || !IsHalfFull())
            {
                return ValueTask.CompletedTask;
            }

            _ready ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return new ValueTask(_ready.Task);
        }
    }

    protected override void OnHeldTooMany() => Close(CloseReason.SlowConsumer);

    /// <summary>Writes one finished frame at once if nothing is before it, otherwise after what is.</summary>
    public void Send(byte[] frame)
    {
        lock (_queue)
        {
            if (_flushing || _closing)
            {
                Enqueue(frame);
                return;
            }

            _flushing = true;
        }

        if (Write(frame, rented: null))
        {
            Flush();
        }
    }

    protected override void Send(Envelope envelope, int room)
    {
        if (_cursor is null)
        {
            Send(Encoded(envelope, _format, room));
        }
        else
        {
            base.Send(envelope, room);
        }
    }

    public override bool Queue(string @event, ReadOnlySpan<byte> data) => Enqueue(Encode(@event, data));

    /// <summary>Queues one finished frame for this session alone, as <see cref="Queue(Envelope, int)"/> queues an envelope.</summary>
    public bool Queue(byte[] frame) => Enqueue(frame);

    /// <summary>Sends a WebSocket's frame, if this is one.</summary>
    public void Tell(byte[] webSocketFrame)
    {
        if (_format != WireFormat.EventStream)
        {
            Send(webSocketFrame);
        }
    }

    /// <summary>
    /// Says bye, closes, and takes nothing more. What is queued is sent first, but not to a slow consumer. The first
    /// call counts.
    /// </summary>
    public void Close(CloseReason reason)
    {
        bool mustFlush;
        lock (_queue)
        {
            mustFlush = BeginClose(reason);
        }

        if (mustFlush)
        {
            Flush();
        }
    }

    /// <summary>Sends what is queued and these last bytes, and takes nothing more.</summary>
    public void Finish(byte[] last)
    {
        bool mustFlush;
        lock (_queue)
        {
            mustFlush = BeginFinish(last);
        }

        if (mustFlush)
        {
            Flush();
        }
    }

    /// <summary>Takes nothing more, and writes nothing more of what is queued. The connection stays.</summary>
    public void Abandon()
    {
        Clear();
        _ended.TrySetResult();
    }

    /// <summary>Pings, closes the silent and those whose credentials have ended, and cuts those that were closed and don't leave.</summary>
    public void Tick()
    {
        var (time, options) = (_table.Time, _table.Options);
        if (IsClosing)
        {
            if (time.GetElapsedTime(_closingSince) >= options.CloseTimeout)
            {
                Cut();
            }

            return;
        }

        var isStream = _format == WireFormat.EventStream;
        if (!isStream && time.GetElapsedTime(Volatile.Read(ref _lastHeard)) >= options.SilentTimeout)
        {
            Close(CloseReason.Silent);
        }
        else if (EndOfCredentials(isStream) is { } ended)
        {
            Close(ended);
        }
        else if (time.GetElapsedTime(_lastPinged) >= (isStream ? options.CommentInterval : options.PingInterval))
        {
            _lastPinged = time.GetTimestamp();
            Send(isStream ? EventStreamFrames.Comment : WebSocketFrames.Ping);
        }
    }

    private CloseReason? EndOfCredentials(bool isStream) => Caller switch
    {
        { ExpiresAt: { } end } when end <= _table.Time.GetUtcNow() => CloseReason.TokenExpired,
        { Key: { } key } when !_table.Keys.Knows(key) => CloseReason.KeyGone,
        { IsAnonymous: true } when !isStream && !_table.Options.Anonymous && _table.Time.GetElapsedTime(_opened) >= _table.Options.AuthTimeout =>
            CloseReason.Unauthenticated,
        _ => null,
    };

    /// <summary>The connection isn't this session's any more: from here on it is left alone.</summary>
    public void Forget()
    {
        lock (_queue)
        {
            _isForgotten = true;
        }
    }

    public override void Flush()
    {
        while (TryTake(out var bytes, out var rented) && Write(bytes, rented))
        {
        }
    }

    /// <summary>Writes what has been taken. False if that ends later: then the rest is flushed when it does.</summary>
    private bool Write(ReadOnlyMemory<byte> bytes, byte[]? rented)
    {
        ValueTask write;
        try
        {
            write = WriteAsync(bytes);
        }
        catch (Exception e)
        {
            write = ValueTask.FromException(e);
        }

        if (!write.IsCompletedSuccessfully)
        {
            _ = FlushAfterAsync(write, rented);
            return false;
        }

        Return(rented);
        return true;
    }

    /// <summary>A socket is given what it takes at once, and is waited for only with the rest.</summary>
    private ValueTask WriteAsync(ReadOnlyMemory<byte> bytes)
    {
        if (_socket is null)
        {
            return _output!.WriteAsync(bytes);
        }

        var sent = _socket.Send(bytes.Span, SocketFlags.None, out var error);
        return error switch
        {
            SocketError.Success when sent == bytes.Length => ValueTask.CompletedTask,
            SocketError.Success => SendAsync(_socket, bytes[sent..]),
            SocketError.WouldBlock => SendAsync(_socket, bytes),
            _ => throw new SocketException((int)error),
        };
    }

    private static async ValueTask SendAsync(Socket socket, ReadOnlyMemory<byte> bytes)
    {
        while (bytes.Length > 0)
        {
            bytes = bytes[await socket.SendAsync(bytes)..];
        }
    }

    private async Task FlushAfterAsync(ValueTask write, byte[]? rented)
    {
        try
        {
            await write;
        }
        catch (Exception e)
        {
            // Whatever it is, this client can't be written to any more, and that is nobody else's business.
            LogLost(_table.Logger, Id, e);
            Lose();
            return;
        }
        finally
        {
            Return(rented);
        }

        Flush();
    }

    /// <summary>A stream's cursor moves in the order in which messages are queued.</summary>
    private bool Enqueue(Envelope envelope, int room, StreamCursor cursor)
    {
        lock (_queue)
        {
            cursor.MoveTo(envelope);
            return Enqueue(cursor.IsSaidBy(envelope, room)
                ? Encoded(envelope, WireFormat.EventStream, room)
                : [.. Encoded(envelope, WireFormat.EventStreamHead, 0), .. envelope.Positions is null ? "\n"u8 : cursor.Line()]);
        }
    }

    private bool Enqueue(byte[] frame)
    {
        lock (_queue)
        {
            if (_closing)
            {
                return false;
            }

            var options = _table.Options;
            if (_queue.Count >= options.MaxPendingMessages || (_queue.Count > 0 && _queuedBytes + frame.Length > options.MaxPendingBytes))
            {
                return BeginClose(CloseReason.SlowConsumer);
            }

            _queue.Enqueue(frame);
            _queuedBytes += frame.Length;
            return TakeFlush();
        }
    }

    private bool IsHalfFull() => _queue.Count > _table.Options.MaxPendingMessages / 2 || _queuedBytes > _table.Options.MaxPendingBytes / 2;

    private bool BeginClose(CloseReason reason)
    {
        if (_closing)
        {
            return false;
        }

        if (reason == CloseReason.SlowConsumer)
        {
            LogSlowConsumer(_table.Logger, Id, _queue.Count, _queuedBytes);
            _table.Telemetry.Dropped("slow_consumer", _queue.Count);
            _queue.Clear();
            _queuedBytes = 0;
        }

        _table.Telemetry.Closed(reason.Code);
        var bye = Encode("bye", ServerFrames.Bye(reason));
        return BeginFinish(_format == WireFormat.EventStream ? bye : [.. bye, .. WebSocketFrames.Close(reason.Code, reason.Text)]);
    }

    private bool BeginFinish(byte[] last)
    {
        if (_closing)
        {
            return false;
        }

        _closingSince = _table.Time.GetTimestamp();
        Volatile.Write(ref _closing, true);
        _ready?.TrySetResult();
        if (last.Length > 0)
        {
            // Writing nothing would begin the answer of a stream that was refused.
            _queue.Enqueue(last);
            _queuedBytes += last.Length;
        }

        return TakeFlush();
    }

    private bool TakeFlush()
    {
        if (_flushing)
        {
            return false;
        }

        return _flushing = true;
    }

    /// <summary>Takes what one write can carry. Without anything left, the duty to flush ends.</summary>
    private bool TryTake(out ReadOnlyMemory<byte> bytes, out byte[]? rented)
    {
        lock (_queue)
        {
            rented = null;
            if (_ready is not null && !IsHalfFull())
            {
                _ready.TrySetResult();
                _ready = null;
            }

            if (!_queue.TryDequeue(out var first))
            {
                bytes = default;
                _flushing = false;
                if (_closing)
                {
                    _ended.TrySetResult();
                }

                return false;
            }

            _queuedBytes -= first.Length;
            bytes = first;
            if (_queue.Count == 0 || first.Length >= WriteBytesMax)
            {
                return true;
            }

            rented = ArrayPool<byte>.Shared.Rent(Math.Min(WriteBytesMax, first.Length + _queuedBytes));
            first.CopyTo(rented, 0);
            var length = first.Length;
            while (_queue.TryPeek(out var next) && length + next.Length <= rented.Length)
            {
                _queue.Dequeue();
                next.CopyTo(rented, length);
                length += next.Length;
                _queuedBytes -= next.Length;
            }

            bytes = rented.AsMemory(0, length);
            return true;
        }
    }

    private void Lose()
    {
        Clear();
        Cut();
        _ended.TrySetResult();
    }

    private void Clear()
    {
        lock (_queue)
        {
            Volatile.Write(ref _closing, true);
            _ready?.TrySetResult();
            _queue.Clear();
            _queuedBytes = 0;
        }
    }

    private void Cut()
    {
        lock (_queue)
        {
            if (!_isForgotten)
            {
                _abort();
            }
        }
    }

    /// <summary>A message's bytes, made once for all sessions that get the same.</summary>
    private static byte[] Encoded(Envelope envelope, WireFormat format, int room)
    {
        // Without a trace it is as all others have it.
        format = format == WireFormat.TracedWebSocket && envelope.Traceparent is null ? WireFormat.WebSocket : format;
        ref var frame = ref envelope.Encoded((int)format, room);
        return frame ??= format switch
        {
            WireFormat.WebSocket => WebSocketFrames.Message(envelope, room),
            WireFormat.TracedWebSocket => WebSocketFrames.Message(envelope, room, envelope.Traceparent),
            WireFormat.DeflatedWebSocket => WebSocketFrames.DeflatedMessage(envelope, room),
            WireFormat.EventStream => EventStreamFrames.Message(envelope, room),
            _ => EventStreamFrames.Head(envelope.Event, envelope.Data.Span),
        };
    }

    private byte[] Encode(string @event, ReadOnlySpan<byte> data) => _format == WireFormat.EventStream
        ? EventStreamFrames.Encode(@event, data)
        : WebSocketFrames.Text(ServerFrames.Event(@event, data));

    private static void Return(byte[]? rented)
    {
        if (rented is not null)
        {
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    [LoggerMessage(4001, LogLevel.Warning, "Closed session {SessionId}, a slow consumer: {Messages} messages, {Bytes} bytes were waiting.")]
    private static partial void LogSlowConsumer(ILogger logger, string sessionId, int messages, int bytes);

    [LoggerMessage(4002, LogLevel.Debug, "Lost the connection of session {SessionId}.")]
    private static partial void LogLost(ILogger logger, string sessionId, Exception exception);
}
