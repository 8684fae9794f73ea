using System.Collections.Concurrent;
using System.Net;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Sockets;

/// <summary>All sessions of this node, and what they share.</summary>
internal sealed class SessionTable(
    RoomTable rooms, HostKeys keys, Limits limits, BrokerOptions options, TimeProvider time, BrokerTelemetry telemetry, ILogger<SessionTable> logger)
{
    private readonly ConcurrentDictionary<Session, bool> _sessions = [];
    private int _places;
    private volatile bool _draining;
    private readonly TaskCompletionSource _allLeft = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public HostKeys Keys => keys;
    public BrokerOptions Options => options;

    public TimeProvider Time => time;

    public BrokerTelemetry Telemetry => telemetry;

    public ILogger Logger => logger;

    /// <summary>Sessions there are, those that are about to leave included.</summary>
    public int Count => _sessions.Count;

    /// <summary>Whether no new sessions are taken any more (<see cref="Sockets.Drain"/>).</summary>
    public bool IsDraining => _draining;

    /// <summary>Completes when the node drains and the last place is free.</summary>
    public Task AllLeft => _allLeft.Task;

    /// <summary>Takes a place for a session to come, which disposing gives back.</summary>
    /// <param name="address">From where it comes.</param>
    /// <exception cref="RefusedException">All are taken, or all of that address, or the node is about to stop.</exception>
    public IDisposable Reserve(IPAddress? address)
    {
        var places = Interlocked.Increment(ref _places);
        try
        {
            // Asked after the place was taken: a drain sees one or the other.
            return _draining ? throw new RefusedException(ErrorCode.Draining, "This node is about to stop.")
                : places > options.MaxSessions ? throw new RefusedException(ErrorCode.RateLimited, $"This node has {options.MaxSessions} sessions, which is the limit.")
                : new Place(this, limits.Session(address));
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
            // Its place was reserved before: it is not among those that are sent away one by one.
            session.Close(CloseReason.Restarting(afterMs: 0));
        }
    }

    /// <summary>Takes a session out of its rooms, waits until its last bytes are out, and forgets it.</summary>
    public async Task RemoveAsync(Session session)
    {
        rooms.LeaveAll(session);
        await session.Ended;
        session.Forget();
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

    /// <summary>Messages that wait for all sessions, and for the one for which most do.</summary>
    public (long Sum, long Max) CountQueued()
    {
        var (sum, max) = (0L, 0L);
        foreach (var (session, _) in _sessions)
        {
            sum += session.Queued;
            max = Math.Max(max, session.Queued);
        }

        return (sum, max);
    }

    /// <summary>Tells all WebSockets an event of the broker's own.</summary>
    public void Tell(string @event, ReadOnlySpan<byte> data)
    {
        var frame = WebSocketFrames.Text(ServerFrames.Event(@event, data));
        foreach (var (session, _) in _sessions)
        {
            session.Tell(frame);
        }
    }

    /// <summary>Takes no new sessions from now on, and gives those there are.</summary>
    public Session[] Drain()
    {
        _draining = true;
        EndIfEmpty();
        return [.. _sessions.Keys];
    }

    private void Free()
    {
        Interlocked.Decrement(ref _places);
        EndIfEmpty();
    }

    private void EndIfEmpty()
    {
        if (_draining && Volatile.Read(ref _places) == 0)
        {
            _allLeft.TrySetResult();
        }
    }

    /// <summary>A session's place on this node, and among those of its address.</summary>
    private sealed class Place(SessionTable table, IDisposable? lease) : IDisposable
    {
        public void Dispose()
        {
            lease?.Dispose();
            table.Free();
        }
    }
}
