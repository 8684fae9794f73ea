using System.Runtime.InteropServices;
using Dmb.Transport;

namespace Dmb.Sockets;

/// <summary>
/// Drains the node before it stops (docs/protocol.md §9): readiness fails at once, sessions are served for the delay,
/// then new ones are refused and open ones are closed in random order over the window. The server stops after that, and
/// the Redis connection last.
/// </summary>
internal sealed partial class Drain(
    SessionTable sessions,
    EngineIoSessions engines,
    SocketOptions options,
    TimeProvider time,
    IHostApplicationLifetime lifetime,
    ILogger<Drain> logger
) : IHostedLifecycleService, IDisposable
{
    /// <summary>Exit codes after a signal are this plus the signal's number.</summary>
    private const int ExitOfSignals = 128;

    /// <summary>Interval at which due sessions are closed.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);

    /// <summary>Sessions that close together are told to reconnect at random times within this span.</summary>
    private static readonly TimeSpan ReconnectSpread = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private PosixSignalRegistration[] _signals = [];
    private ITimer? _timer;

    /// <summary>Sessions in the order in which they close; null before the window.</summary>
    private Queue<ScheduledClose>? _scheduled;
    private long _windowStart;

    /// <summary>True once the node has begun to stop.</summary>
    public bool IsStopping { get; private set; }

    /// <summary>Upper bound of a drain's duration, until the server has stopped.</summary>
    public static TimeSpan DurationMax(SocketOptions options) =>
        options.DrainDelay + options.DrainWindow + options.CloseTimeout + SocketListener.Linger;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        lifetime.ApplicationStopping.Register(Begin);
        return Task.CompletedTask;
    }

    /// <summary>
    /// Completes when all sessions have been told to close, and those that poll have ended: they need the server for
    /// it. The host calls it before it stops any service.
    /// </summary>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        Begin();
        await _done.Task.WaitAsync(cancellationToken);
        await engines.WhenPolledAsync().WaitAsync(cancellationToken);
    }

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>
    /// Completes when the closed sessions have ended or were cut. The server, the last service to start, has stopped by
    /// then.
    /// </summary>
    public Task StopAsync(CancellationToken cancellationToken) => sessions.AllLeft.WaitAsync(cancellationToken);

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose()
    {
        _timer?.Dispose();
        foreach (var signal in _signals)
        {
            signal.Dispose();
        }
    }

    private void Begin()
    {
        lock (_lock)
        {
            if (IsStopping)
            {
                return;
            }

            IsStopping = true;
        }

        // A signal received from here on is the second one.
        _signals =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, ExitNow),
            PosixSignalRegistration.Create(PosixSignal.SIGINT, ExitNow),
        ];
        LogStopping(sessions.Count, options.DrainDelay.TotalSeconds, options.DrainWindow.TotalSeconds);

        // Rearmed after each step, so that steps never overlap.
        _timer = time.CreateTimer(_ => Step(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        if (options.DrainDelay == TimeSpan.Zero)
        {
            Step();
        }
        else
        {
            _timer.Change(options.DrainDelay, Timeout.InfiniteTimeSpan);
        }
    }

    private void Step()
    {
        if (_scheduled is null)
        {
            _windowStart = time.GetTimestamp();
            _scheduled = AnnounceDrain();
        }

        var elapsed = time.GetElapsedTime(_windowStart);
        while (_scheduled.TryPeek(out var next) && next.After <= elapsed)
        {
            _scheduled.Dequeue();
            next.Session.Close(sessions.Restarting(Random.Shared.Next((int)ReconnectSpread.TotalMilliseconds)));
        }

        if (_scheduled.Count == 0 || sessions.Count == 0)
        {
            _done.TrySetResult();
        }
        else
        {
            _timer!.Change(Interval, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Sends each session its remaining time, and returns the sessions in closing order.</summary>
    private Queue<ScheduledClose> AnnounceDrain()
    {
        var all = sessions.Drain(options.DrainWindow);
        Random.Shared.Shuffle(all);
        var scheduled = new Queue<ScheduledClose>(all.Length);
        for (var i = 0; i < all.Length; i++)
        {
            // A random time within a slice per session: closing times are random and evenly spread.
            var after = options.DrainWindow * ((i + Random.Shared.NextDouble()) / all.Length);
            all[i].Send("drain", ServerEvents.Drain((int)after.TotalMilliseconds));
            scheduled.Enqueue(new ScheduledClose(all[i], after));
        }

        return scheduled;
    }

    private void ExitNow(PosixSignalContext context)
    {
        LogExit(context.Signal);
        Environment.Exit(ExitOfSignals + (context.Signal == PosixSignal.SIGINT ? 2 : 15));
    }

    [LoggerMessage(
        4010,
        LogLevel.Information,
        "Stopping: {Sessions} sessions; serving on for {Delay} s, then closing them over {Window} s. "
            + "A second signal ends it now."
    )]
    private partial void LogStopping(int sessions, double delay, double window);

    [LoggerMessage(4011, LogLevel.Warning, "Ended by a second {Signal}: what was queued is lost.")]
    private partial void LogExit(PosixSignal signal);

    /// <summary>A session, and its closing time from the start of the window.</summary>
    private readonly record struct ScheduledClose(Session Session, TimeSpan After);
}
