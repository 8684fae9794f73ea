using System.Threading.Channels;

namespace Dmb.Client;

/// <summary>
/// What outlives a connection: what the client wants, where it stands, and what it has told. Thread-safe.
/// </summary>
internal sealed class ClientState
{
    private readonly Lock _lock = new();
    private readonly Channel<DmbNotice> _notices = Channel.CreateUnbounded<DmbNotice>();
    private volatile HashSet<string> _rooms;
    private readonly Dictionary<string, string> _services;
    private readonly int _pendingMax;
    private TaskCompletionSource<Session> _connected = NewSignal();
    private long _lost;
    private int _pending;

    public ClientState(DmbClientOptions options)
    {
        _rooms = [.. options.Rooms];
        _services = new Dictionary<string, string>(options.Services);
        _pendingMax = options.PendingMax;
        (Bkid, LastUplink) = (options.Backend?.Bkid, options.Backend?.After);

        // The rooms of a backend service have a space in their names.
        Positions = new Positions(options.Positions, Tell, room => room.Contains(' ') || _rooms.Contains(room));
    }

    public Positions Positions { get; }

    /// <summary>What it signed in with last.</summary>
    public string? Credential { get; set; }

    public string? Bkid { get; set; }

    public string? LastUplink { get; set; }

    /// <summary>Whether a WebSocket ever was open.</summary>
    public bool WasWelcomed { get; set; }

    public DmbState State { get; private set; } = new(DmbConnectionState.Connecting);

    /// <summary>The session in its rooms, now or soon.</summary>
    public Task<Session> Connected
    {
        get
        {
            lock (_lock)
            {
                return _connected.Task;
            }
        }
    }

    /// <summary>The session in its rooms that comes behind this one, which ends.</summary>
    public Task<Session> Behind(Session session)
    {
        lock (_lock)
        {
            if (_connected.Task is { IsCompletedSuccessfully: true, Result: var now } && now == session)
            {
                _connected = NewSignal();
            }

            return _connected.Task;
        }
    }

    public (string[] Rooms, KeyValuePair<string, string>[] Services) Wanted()
    {
        lock (_lock)
        {
            return ([.. _rooms], [.. _services]);
        }
    }

    public void Want(IEnumerable<string> rooms)
    {
        lock (_lock)
        {
            // Replaced as a whole: it is read for each message, without the lock.
            _rooms = [.. _rooms, .. rooms];
        }
    }

    public void Want(string service, string? user)
    {
        lock (_lock)
        {
            if (user is null)
            {
                _services.Remove(service);
            }
            else
            {
                _services[service] = user;
            }
        }
    }

    public void Forget(string room)
    {
        lock (_lock)
        {
            _rooms = [.. _rooms.Where(other => other != room)];
        }

        Positions.Forget(room);
    }

    public void BeConnected(Session session)
    {
        lock (_lock)
        {
            if (State.State == DmbConnectionState.Closed)
            {
                return;
            }

            Be(new DmbState(DmbConnectionState.Connected, Transport: session.Transport));
            _connected.TrySetResult(session);
        }
    }

    /// <summary>Is in no room any more.</summary>
    public void BeDisconnected(DmbState state)
    {
        lock (_lock)
        {
            if (_connected.Task.IsCompleted)
            {
                _connected = NewSignal();
            }

            Be(state);
        }

        Positions.Interrupt();
    }

    /// <summary>Ends: there is no more to tell.</summary>
    public void BeClosed(string why, DmbException? error)
    {
        lock (_lock)
        {
            BeDisconnected(new DmbState(DmbConnectionState.Closed, why, Transport: State.Transport));
            _connected.TrySetException(error ?? new DmbException("closed", why));
            _ = _connected.Task.Exception;
        }

        TellLost();
        _notices.Writer.TryComplete(error);
    }

    /// <summary>Hands on a notice; a message that its reader is too slow for is counted instead.</summary>
    public void Tell(DmbNotice notice)
    {
        if (notice is DmbMessage && Interlocked.Increment(ref _pending) > _pendingMax)
        {
            Interlocked.Decrement(ref _pending);
            Interlocked.Increment(ref _lost);
            return;
        }

        _notices.Writer.TryWrite(notice);
    }

    public async IAsyncEnumerable<DmbNotice> ReadAsync(
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken
    )
    {
        while (await _notices.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
        {
            while (_notices.Reader.TryRead(out var notice))
            {
                if (notice is DmbMessage)
                {
                    Interlocked.Decrement(ref _pending);
                }

                yield return notice;
            }

            TellLost();
        }
    }

    private void Be(DmbState state)
    {
        State = state;
        Tell(state);
    }

    private void TellLost()
    {
        if (Interlocked.Exchange(ref _lost, 0) is > 0 and var lost)
        {
            Tell(new DmbGap(null, lost, "slow_reader"));
        }
    }

    private static TaskCompletionSource<Session> NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
