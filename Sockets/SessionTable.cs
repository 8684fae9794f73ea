using System.Collections.Concurrent;
using System.Net;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Sockets;

/// <summary>All sessions of this node, and what they share.</summary>
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

    /// <summary>Sessions there are, those that are about to leave included.</summary>
    public int Count => _sessions.Count;

    /// <summary>The open sessions, in no order.</summary>
    public IEnumerable<Session> All => _sessions.Keys;

    /// <summary>Whether no new sessions are taken any more (<see cref="Sockets.Drain"/>).</summary>
    public bool IsDraining => _draining;

    /// <summary>Completes when the node drains and the last lease is disposed.</summary>
    public Task AllLeft => _allLeft.Task;

    /// <summary>Reserves one of the node's sessions, until the lease is disposed.</summary>
    /// <param name="address">The client's address.</param>
    /// <exception cref="RefusedException">
    /// The node or the address has as many sessions as it may, or the node drains.
    /// </exception>
    public IDisposable Reserve(IPAddress? address)
    {
        var leases = Interlocked.Increment(ref _leases);
        try
        {
            // Read after counting: a drain sees one or the other.
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
            Free();
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

    /// <summary>Takes a session out of its rooms, waits until its last bytes are out, and forgets it.</summary>
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

    /// <summary>Keeps all sessions alive, or ends them: <see cref="Session.Tick"/>.</summary>
    public void Tick()
    {
        foreach (var (session, _) in _sessions)
        {
            session.Tick();
        }
    }

    /// <summary>Adds the gauges of the queues to the meter; called once.</summary>
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
    }

    /// <summary>Messages that wait for all sessions, and the longest queue of one session.</summary>
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

    /// <summary>Tells all sessions whose clients send as well an event of the broker's own.</summary>
    public void Tell(string @event, ReadOnlySpan<byte> data)
    {
        // An envelope, so that each format encodes it once.
        var envelope = new Envelope(@event, id: "", rooms: [], data.ToArray(), isKept: true);
        foreach (var (session, _) in _sessions)
        {
            if (session.Wire.IsDuplex)
            {
                session.Tell(envelope);
            }
        }
    }

    /// <summary>The reason to close a session for while the node drains.</summary>
    /// <param name="afterMs">How long a client waits that another node may serve.</param>
    public CloseReason Restarting(int afterMs) => CloseReason.Restarting(afterMs, (int)DrainRest.TotalMilliseconds);

    /// <summary>Takes no new sessions from now on, and gives those there are.</summary>
    /// <param name="window">How long it takes until the last of them is closed.</param>
    public Session[] Drain(TimeSpan window)
    {
        (_drainStart, _drainWindow) = (time.GetTimestamp(), window);
        _draining = true;
        EndIfEmpty();
        return [.. _sessions.Keys];
    }

    [LoggerMessage(4002, LogLevel.Debug, "Lost the connection of session {SessionId}.")]
    private static partial void LogLost(ILogger logger, string sessionId, Exception exception);

    /// <summary>How long the node still takes to close its sessions; zero if it does not drain.</summary>
    private TimeSpan DrainRest
    {
        get
        {
            var rest = _draining ? _drainWindow - time.GetElapsedTime(_drainStart) : TimeSpan.Zero;
            return rest > TimeSpan.Zero ? rest : TimeSpan.Zero;
        }
    }

    private void Free()
    {
        Interlocked.Decrement(ref _leases);
        EndIfEmpty();
    }

    private void EndIfEmpty()
    {
        if (_draining && Volatile.Read(ref _leases) == 0)
        {
            _allLeft.TrySetResult();
        }
    }

    /// <summary>Counts one session of this node and of its address.</summary>
    private sealed class SessionLease(SessionTable table, IDisposable? lease) : IDisposable
    {
        public void Dispose()
        {
            lease?.Dispose();
            table.Free();
        }
    }
}
