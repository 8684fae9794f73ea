using System.Runtime.InteropServices;
using Dmb.Transport;

namespace Dmb.Sockets;

/// <summary>
/// How a node ends (docs/protocol.md §9): it is not ready at once, serves on for the delay, then takes no new sessions
/// and
/// sends away those there are, in random order over the window. Only then the server stops, and Redis is left after it.
/// </summary>
internal sealed partial class Drain(
    SessionTable sessions,
    SocketOptions options,
    TimeProvider time,
    IHostApplicationLifetime lifetime,
    ILogger<Drain> logger
) : IHostedLifecycleService, IDisposable
{
    /// <summary>Signals that came to end the process exit with this and their number.</summary>
    private const int ExitOfSignals = 128;

    /// <summary>How often the sessions whose time has come are closed.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(20);

    /// <summary>Over how long those that were closed together come back.</summary>
    private static readonly TimeSpan ComeBackMax = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly TaskCompletionSource _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private PosixSignalRegistration[] _signals = [];
    private ITimer? _timer;

    /// <summary>Those to be closed, by when; null before the window.</summary>
    private Queue<Leaving>? _leaving;
    private long _windowStart;

    /// <summary>Whether the node was told to stop.</summary>
    public bool IsStopping { get; private set; }

    /// <summary>The longest that a drain takes, until the server has stopped.</summary>
    public static TimeSpan LengthMax(SocketOptions options) =>
        options.DrainDelay + options.DrainWindow + options.CloseTimeout + SocketListener.Linger;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        lifetime.ApplicationStopping.Register(Begin);
        return Task.CompletedTask;
    }

    /// <summary>Before anything else stops: completes when all sessions were told to go.</summary>
    public Task StoppingAsync(CancellationToken cancellationToken)
    {
        Begin();
        return _done.Task.WaitAsync(cancellationToken);
    }

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>
    /// Completes when the sessions have left that were told to go, or were cut. The server has stopped by then: it is
    /// the last service to start.
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

        // Those that come from now on are the second ones.
        _signals =
        [
            PosixSignalRegistration.Create(PosixSignal.SIGTERM, EndNow),
            PosixSignalRegistration.Create(PosixSignal.SIGINT, EndNow),
        ];
        LogStopping(sessions.Count, options.DrainDelay.TotalSeconds, options.DrainWindow.TotalSeconds);

        // Armed anew after each step, so that two never overlap.
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
        if (_leaving is null)
        {
            _windowStart = time.GetTimestamp();
            _leaving = TellAll();
        }

        var elapsed = time.GetElapsedTime(_windowStart);
        while (_leaving.TryPeek(out var next) && next.After <= elapsed)
        {
            _leaving.Dequeue();
            next.Session.Close(sessions.Restarting(Random.Shared.Next((int)ComeBackMax.TotalMilliseconds)));
        }

        if (_leaving.Count == 0 || sessions.Count == 0)
        {
            _done.TrySetResult();
        }
        else
        {
            _timer!.Change(Interval, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Tells each session how long it has, and gives them in that order.</summary>
    private Queue<Leaving> TellAll()
    {
        var all = sessions.Drain(options.DrainWindow);
        Random.Shared.Shuffle(all);
        var leaving = new Queue<Leaving>(all.Length);
        for (var i = 0; i < all.Length; i++)
        {
            // Each somewhere in a slice of its own: random, and never many at once.
            var after = options.DrainWindow * ((i + Random.Shared.NextDouble()) / all.Length);
            all[i].Send("drain", ServerEvents.Drain((int)after.TotalMilliseconds));
            leaving.Enqueue(new Leaving(all[i], after));
        }

        return leaving;
    }

    private void EndNow(PosixSignalContext context)
    {
        LogNow(context.Signal);
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
    private partial void LogNow(PosixSignal signal);

    /// <summary>A session, and when in the window it is closed.</summary>
    private readonly record struct Leaving(Session Session, TimeSpan After);
}
