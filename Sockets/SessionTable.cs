using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Net;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Sockets;

/// <summary>
/// Holds all sessions of this node and their shared services, counts them against the limits, and drains them.
/// </summary>
internal sealed partial class SessionTable(
    RoomTable rooms,
    HostKeys keys,
    Limits limits,
    SocketOptions options,
    RoutingOptions routing,
    TimeProvider time,
    BrokerTelemetry telemetry,
    ILogger<SessionTable> logger
)
{
    /// <summary>The values of <see cref="Session.Transport"/>.</summary>
    private static readonly string[] Transports = ["websocket", "sse", "socketio_polling", "socketio_websocket"];

    private readonly ConcurrentDictionary<Session, bool> _sessions = [];
    private int _leases;
    private volatile bool _draining;
    private long _drainStart;
    private TimeSpan _drainWindow;
    private readonly TaskCompletionSource _allLeft = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public HostKeys Keys => keys;
    public SocketOptions Options => options;

    public RoutingOptions Routing => routing;

    public TimeProvider Time => time;

    public BrokerTelemetry Telemetry => telemetry;

    public ILogger Logger => logger;

    /// <summary>Number of sessions, closing ones included.</summary>
    public int Count => _sessions.Count;

    /// <summary>The sessions, in no order.</summary>
    public IEnumerable<Session> All => _sessions.Select(static entry => entry.Key);

    /// <summary>Whether new sessions are refused (<see cref="Sockets.Drain"/>).</summary>
    public bool IsDraining => _draining;

    /// <summary>Completes when the node drains and the last lease is disposed.</summary>
    public Task AllLeft => _allLeft.Task;

    /// <summary>Reserves a session until the lease is disposed.</summary>
    /// <param name="address">The client's address.</param>
    /// <exception cref="RefusedException">
    /// The node or the address is at its limit of sessions, or the node drains.
    /// </exception>
    public IDisposable Reserve(IPAddress? address)
    {
        var leases = Interlocked.Increment(ref _leases);
        try
        {
            // Read after counting: either this sees the drain, or the drain sees the lease.
            return _draining
                    ? throw new RefusedException(ErrorCode.Draining, "This node is about to stop.")
                    {
                        RetryAfter = DrainRest,
                    }
                : leases > options.MaxSessions
                    ? throw new RefusedException(
                        ErrorCode.RateLimited,
                        $"This node has {options.MaxSessions} sessions, which is the limit."
                    )
                : new SessionLease(this, limits.Session(address));
        }
        catch
        {
            ReleaseLease();
            throw;
        }
    }

    public void Add(Session session)
    {
        _sessions[session] = true;
        telemetry.Sessions.Add(1);
        if (_draining)
        {
            // Reserved before the drain began: the drain does not close it.
            session.Close(Restarting(afterMs: 0));
        }
    }

    /// <summary>
    /// Removes a session from its rooms, waits until its last frame was written, and removes it from the table.
    /// </summary>
    public async Task RemoveAsync(Session session)
    {
        rooms.LeaveAll(session);
        await session.Ended;
        if (session.Failure is { } failure)
        {
            LogLost(logger, session.Id, failure);
        }

        session.Release();
        _sessions.TryRemove(session, out _);
        telemetry.Sessions.Add(-1);
    }

    /// <summary>Calls <see cref="Session.Tick"/> of all sessions.</summary>
    public void Tick()
    {
        foreach (var (session, _) in _sessions)
        {
            session.Tick();
        }
    }

    /// <summary>Registers the gauges of sessions and their queues; called once.</summary>
    public void AddGauges()
    {
        telemetry.Meter.CreateObservableGauge(
            "dmb.session.queue",
            () => CountQueued().Sum,
            "{message}",
            "Messages that wait for this node's sessions."
        );
        telemetry.Meter.CreateObservableGauge(
            "dmb.session.queue.max",
            () => CountQueued().Max,
            "{message}",
            "Messages that wait for the session that has most."
        );
        telemetry.Meter.CreateObservableGauge(
            "dmb.sessions.by_transport",
            CountByTransport,
            "{session}",
            "Open sessions, by transport."
        );
    }

    private Measurement<long>[] CountByTransport()
    {
        var counts = Transports.ToDictionary(transport => transport, _ => 0L);
        foreach (var (session, _) in _sessions)
        {
            counts[session.Transport]++;
        }

        return
        [
            .. counts.Select(entry => new Measurement<long>(
                entry.Value,
                KeyValuePair.Create<string, object?>("transport", entry.Key)
            )),
        ];
    }

    /// <summary>Messages queued for all sessions, and the most of one session.</summary>
    private (long Sum, long Max) CountQueued()
    {
        var (sum, max) = (0L, 0L);
        foreach (var (session, _) in _sessions)
        {
            sum += session.Queued;
            max = Math.Max(max, session.Queued);
        }

        return (sum, max);
    }

    /// <summary>Sends an event of the broker's own to all duplex sessions.</summary>
    public void Tell(string @event, ReadOnlySpan<byte> data)
    {
        // As an envelope, so that each format encodes it once.
        var envelope = new Envelope(@event, id: "", rooms: [], data.ToArray(), isKept: true);
        foreach (var (session, _) in _sessions)
        {
            if (session.Wire.IsDuplex)
            {
                session.Tell(envelope);
            }
        }
    }

    /// <summary>The close reason while the node drains.</summary>
    /// <param name="afterMs">Milliseconds until a client reconnects that another node can serve.</param>
    public CloseReason Restarting(int afterMs) => CloseReason.Restarting(afterMs, (int)DrainRest.TotalMilliseconds);

    /// <summary>Refuses new sessions from now on, and returns the existing ones.</summary>
    /// <param name="window">Time until the last of them is closed.</param>
    public Session[] Drain(TimeSpan window)
    {
        (_drainStart, _drainWindow) = (time.GetTimestamp(), window);
        _draining = true;
        CompleteIfEmpty();
        return [.. _sessions.Keys];
    }

    [LoggerMessage(4002, LogLevel.Debug, "Lost the connection of session {SessionId}.")]
    private static partial void LogLost(ILogger logger, string sessionId, Exception exception);

    /// <summary>Time left until the last session is closed; zero if the node does not drain.</summary>
    private TimeSpan DrainRest
    {
        get
        {
            var rest = _draining ? _drainWindow - time.GetElapsedTime(_drainStart) : TimeSpan.Zero;
            return rest > TimeSpan.Zero ? rest : TimeSpan.Zero;
        }
    }

    private void ReleaseLease()
    {
        Interlocked.Decrement(ref _leases);
        CompleteIfEmpty();
    }

    private void CompleteIfEmpty()
    {
        if (_draining && Volatile.Read(ref _leases) == 0)
        {
            _allLeft.TrySetResult();
        }
    }

    /// <summary>Counts one session of the node and of its address until disposed.</summary>
    private sealed class SessionLease(SessionTable table, IDisposable? lease) : IDisposable
    {
        public void Dispose()
        {
            lease?.Dispose();
            table.ReleaseLease();
        }
    }
}
