namespace Dmb.Tests.Support;

/// <summary>A clock that moves only when told to. Timers fire in order, on the thread that moves it.</summary>
public sealed class ManualTime : TimeProvider
{
    private readonly Lock _lock = new();
    private readonly List<Timer> _timers = [];
    private TaskCompletionSource? _delayed;
    private TimeSpan _jumped;
    private DateTimeOffset _now = new(2026, 1, 2, 3, 4, 5, 678, TimeSpan.Zero);

    // Not the frequency of ticks, so that code that takes timestamps for ticks is wrong here.
    public override long TimestampFrequency => 3_000_000;

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override DateTimeOffset GetUtcNow()
    {
        lock (_lock)
        {
            return _now + _jumped;
        }
    }

    public override long GetTimestamp()
    {
        lock (_lock)
        {
            return (long)((Int128)_now.Ticks * TimestampFrequency / TimeSpan.TicksPerSecond);
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, () => callback(state), isDelay: state is Task);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Sets the clock of the day, as its owner does; timers and timestamps do not notice.</summary>
    public void Jump(TimeSpan by) => _jumped += by;

    /// <summary>Moves the clock on, stopping at each timer on the way to fire it.</summary>
    public void Advance(TimeSpan by)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(by, TimeSpan.Zero);
        var until = GetUtcNow() - _jumped + by;
        while (NextDue(until) is { } timer)
        {
            timer.Fire();
        }
    }

    /// <summary>Whether a component waits in <c>Task.Delay</c> on this clock.</summary>
    public bool HasDelay
    {
        get
        {
            lock (_lock)
            {
                return _timers.Exists(timer => timer.IsDelay);
            }
        }
    }

    /// <summary>Completes when a component waits in <c>Task.Delay</c> on this clock.</summary>
    public Task DelayAsync()
    {
        lock (_lock)
        {
            if (HasDelay)
            {
                return Task.CompletedTask;
            }

            _delayed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _delayed.Task.WaitAsync(Node.Patience);
        }
    }

    private Timer? NextDue(DateTimeOffset until)
    {
        lock (_lock)
        {
            var next = _timers.MinBy(timer => timer.Due);
            if (next is null || next.Due > until)
            {
                _now = until;
                return null;
            }

            _now = next.Due > _now ? next.Due : _now;
            _timers.Remove(next);
            if (next.Period > TimeSpan.Zero)
            {
                next.Due = _now + next.Period;
                _timers.Add(next);
            }

            return next;
        }
    }

    private sealed class Timer(ManualTime time, Action fire, bool isDelay) : ITimer
    {
        public bool IsDelay => isDelay;
        public DateTimeOffset Due { get; set; }
        public TimeSpan Period { get; private set; }

        public void Fire() => fire();

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (time._lock)
            {
                time._timers.Remove(this);
                Period = period;
                if (dueTime >= TimeSpan.Zero)
                {
                    Due = time._now + dueTime;
                    time._timers.Add(this);
                    if (isDelay)
                    {
                        time._delayed?.SetResult();
                        time._delayed = null;
                    }
                }

                return true;
            }
        }

        public void Dispose() => Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
