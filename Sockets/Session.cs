using System.Net;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// One client's connection, from its admission to its end: it queues what the client is sent, writes it in batches to
/// one <see cref="IFrameOutput"/>, keeps the connection alive and closes it. A client that doesn't keep up is closed,
/// never waited for.
/// </summary>
/// <remarks>
/// <code>
/// state     entered by                          takes frames  writes            left by
/// open      the constructor                     yes           yes               Close, Finish, Abandon, a failed write
/// closing   Close, Finish: the queue is sealed  no            what waits, and   the last write, or a failed one; after
///                                                             bye and close     CloseTimeout the connection is cut
/// ended     the queue is written or discarded;  no            no                Release
///           Ended completes
/// released  Release: the connection is its      no            no; it is never
///           owner's again                                     cut any more
/// </code>
/// Beside that, a writer is at work or not; <see cref="SendQueue"/> has that state.
/// </remarks>
internal sealed partial class Session : Subscriber
{
    private readonly SessionTable _table;

    /// <summary>Locked while a per-session wire encodes and its frame is queued.</summary>
    private readonly SendQueue _queue;
    private readonly long _opened;

    private volatile Wire _wire;
    private volatile Caller _caller;
    private long _closingSince;
    private long _lastActivity;
    private long _lastPing;
    private volatile bool _isProbed;

    /// <param name="table">The node's sessions and their shared services.</param>
    /// <param name="caller">The authenticated caller.</param>
    /// <param name="wire">The wire format.</param>
    /// <param name="output">Where frames are written.</param>
    public Session(SessionTable table, Caller caller, Wire wire, IFrameOutput output)
    {
        (_table, _caller, _wire) = (table, caller, wire);
        _queue = new SendQueue(output, table.Routing.MaxPendingMessages, table.Routing.MaxPendingBytes);
        _opened = _lastActivity = _lastPing = table.Time.GetTimestamp();
        Since = table.Time.GetUtcNow();
    }

    /// <summary>Completes when the last frame was written or the connection is lost.</summary>
    public Task Ended => _queue.Ended;

    /// <summary>Whether the session rejects further frames.</summary>
    public bool IsClosing => _queue.IsSealed;

    /// <summary>Whether nothing was received from the client for <see cref="SocketOptions.SilentTimeout"/>.</summary>
    public bool IsSilent =>
        _table.Time.GetElapsedTime(Volatile.Read(ref _lastActivity)) >= _table.Options.SilentTimeout;

    /// <summary>The exception of a failed write; null if none failed.</summary>
    public Exception? Failure => _queue.Failure;

    /// <summary>Queued frames; may be out of date.</summary>
    public int Queued => _queue.Count;

    /// <summary>The client's address; null if unknown.</summary>
    public IPAddress? Address { get; init; }

    /// <summary>The client's <c>User-Agent</c>; null if unknown.</summary>
    public string? Agent { get; init; }

    /// <summary>When the session was opened.</summary>
    public DateTimeOffset Since { get; }

    /// <summary>Frames received from the client.</summary>
    public long Received { get; private set; }

    /// <summary>Frames queued for the client.</summary>
    public long Delivered => _queue.Accepted;

    /// <summary>The wire format.</summary>
    public Wire Wire => _wire;

    /// <summary>The wire's transport, and how a Socket.IO session is connected at this moment.</summary>
    public string Transport =>
        _wire is not SocketIoWire ? _wire.Transport
        : _queue.Output is PollingOutput ? "socketio_polling"
        : "socketio_websocket";

    /// <summary>
    /// The authenticated caller. The session closes when the caller's key or token ends, unless it was renewed.
    /// </summary>
    public Caller Caller
    {
        get => _caller;
        set => _caller = value;
    }

    /// <summary>Counts a received frame. Called by the connection's reader only.</summary>
    public void CountFrame() => Received++;

    /// <summary>Records that bytes arrived from the client.</summary>
    public void RecordActivity() => Volatile.Write(ref _lastActivity, _table.Time.GetTimestamp());

    /// <summary>
    /// Sends a ping now and at each tick: the client has ended its side, and only a write that fails tells whether it
    /// is gone or has only nothing more to send.
    /// </summary>
    public void ProbeClient()
    {
        _isProbed = true;
        Send(_wire.Ping);
    }

    /// <inheritdoc cref="SendQueue.SwapOutput"/>
    public void SwapOutput(IFrameOutput output) => _queue.SwapOutput(output);

    /// <summary>
    /// Changes the wire format of later frames, and queues its first frame. True if the caller has to call
    /// <see cref="Flush"/>.
    /// </summary>
    public bool SwapWire(Wire wire, byte[] first)
    {
        lock (_queue)
        {
            _wire = wire;
            return Queue(first);
        }
    }

    public override bool Queue(Envelope envelope, int room)
    {
        var wire = _wire;
        if (!wire.IsPerSession)
        {
            return Queue(wire.Message(envelope, room));
        }

        lock (_queue)
        {
            return Queue(wire.Message(envelope, room));
        }
    }

    public override bool Queue(string @event, ReadOnlySpan<byte> data)
    {
        lock (_queue)
        {
            return Queue(_wire.Event(@event, data));
        }
    }

    /// <summary>
    /// Queues one encoded frame for this session only; an empty one is skipped. True if the caller has to call
    /// <see cref="Flush"/>.
    /// </summary>
    public bool Queue(byte[] frame) =>
        frame.Length > 0
        && _queue.Enqueue(frame) switch
        {
            Enqueued.BeginsWriting => true,
            Enqueued.Full => BeginClose(CloseReason.SlowConsumer),
            _ => false,
        };

    /// <summary>
    /// Writes one encoded frame at once if none is queued, else queues it; never blocks, never throws.
    /// </summary>
    public void Send(byte[] frame)
    {
        if (frame.Length > 0 && !_queue.TryWriteNow(frame) && Queue(frame))
        {
            Flush();
        }
    }

    /// <summary>Sends a message of the node, also while the session replays.</summary>
    public void Tell(Envelope envelope) => Send(envelope, room: 0);

    protected override void Send(Envelope envelope, int room)
    {
        var wire = _wire;
        if (wire.IsPerSession)
        {
            base.Send(envelope, room);
        }
        else
        {
            Send(wire.Message(envelope, room));
        }
    }

    /// <summary>Sends the ack of a frame.</summary>
    /// <param name="ack">Its <see cref="ClientFrame.Ack"/>; if empty, nothing is sent.</param>
    /// <param name="data">One JSON value in UTF-8.</param>
    public void Acknowledge(ReadOnlyMemory<byte> ack, ReadOnlySpan<byte> data)
    {
        if (!ack.IsEmpty)
        {
            Send(_wire.Ack(ack.Span, data));
        }
    }

    public override ValueTask ReadyAsync() => _queue.WhenReadyAsync();

    protected override bool CanHold(int messages, long bytes) => _queue.Allows(messages, bytes);

    protected override void OnHoldOverflow() => Close(CloseReason.SlowConsumer);

    /// <summary>
    /// Sends <c>bye</c> and the close frame, and rejects further frames. Queued frames are sent first, except to a slow
    /// consumer. Later calls have no effect.
    /// </summary>
    public void Close(CloseReason reason)
    {
        if (BeginClose(reason))
        {
            Flush();
        }
    }

    /// <summary>
    /// Sends the queued frames and these last bytes, and rejects further frames. Later calls have no effect.
    /// </summary>
    /// <param name="last">The last bytes; empty to end without any.</param>
    public void Finish(byte[] last)
    {
        if (BeginClosing() && _queue.Seal(last, dropped: null, out var mustFlush) && mustFlush)
        {
            Flush();
        }
    }

    /// <summary>Drops the queued frames and rejects further ones, without closing the connection.</summary>
    public void Abandon()
    {
        BeginClosing();
        _queue.Discard();
    }

    /// <summary>Returns the connection to its owner: the session no longer cuts it.</summary>
    public void Release() => _queue.Release();

    /// <summary>
    /// Called every second: pings, closes a client that is silent or whose credentials ended, and cuts a connection
    /// that does not close in time.
    /// </summary>
    public void Tick()
    {
        var (time, options, wire) = (_table.Time, _table.Options, _wire);
        if (IsClosing)
        {
            if (time.GetElapsedTime(_closingSince) >= options.CloseTimeout)
            {
                _queue.Cut();
            }
        }
        else if (wire.IsDuplex && IsSilent)
        {
            Close(CloseReason.Silent);
        }
        else if (EndOfCredentials(wire) is { } ended)
        {
            Close(ended);
        }
        else if (_isProbed || time.GetElapsedTime(_lastPing) >= wire.PingInterval(options))
        {
            _lastPing = time.GetTimestamp();
            Send(wire.Ping);
        }
    }

    public override void Flush() => _queue.Flush();

    private CloseReason? EndOfCredentials(Wire wire) =>
        Caller switch
        {
            { ExpiresAt: { } end } when end <= _table.Time.GetUtcNow() => CloseReason.TokenExpired,
            { Key: { } key } when !_table.Keys.Knows(key) => CloseReason.KeyRevoked,
            { IsAnonymous: true }
                when wire.IsDuplex
                    && !_table.Options.Anonymous
                    && _table.Time.GetElapsedTime(_opened) >= _table.Options.AuthTimeout => CloseReason.Unauthenticated,
            _ => null,
        };

    /// <summary>Records when closing began; false if it had begun already.</summary>
    private bool BeginClosing()
    {
        if (IsClosing)
        {
            return false;
        }

        // Written before the queue is sealed, since a tick that sees it sealed reads the time.
        Volatile.Write(ref _closingSince, _table.Time.GetTimestamp());
        return true;
    }

    /// <summary>
    /// Queues <c>bye</c> and the close frame, and seals the queue. True if the caller has to call <see cref="Flush"/>.
    /// </summary>
    private bool BeginClose(CloseReason reason)
    {
        if (!BeginClosing())
        {
            return false;
        }

        bool mustFlush;
        lock (_queue)
        {
            byte[] last = [.. _wire.Event("bye", ServerEvents.Bye(reason)), .. _wire.Close(reason)];
            if (!_queue.Seal(last, reason == CloseReason.SlowConsumer ? OnDropped : null, out mustFlush))
            {
                return false;
            }
        }

        _table.Telemetry.Closed(reason.Code);
        return mustFlush;
    }

    private void OnDropped(int messages, int bytes)
    {
        LogSlowConsumer(_table.Logger, Id, messages, bytes);
        _table.Telemetry.Dropped("slow_consumer", messages);
    }

    [LoggerMessage(
        4001,
        LogLevel.Warning,
        "Closed session {SessionId}, a slow consumer: {Messages} messages, {Bytes} bytes were queued."
    )]
    private static partial void LogSlowConsumer(ILogger logger, string sessionId, int messages, int bytes);
}
