using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Pings all sessions and closes silent ones, by one timer.</summary>
internal sealed class KeepAlive(SessionTable sessions, BackplaneState backplane, TimeProvider time)
    : IHostedService,
        IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);
    private ITimer? _timer;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        sessions.AddGauges();
        backplane.Changed += isUp =>
            sessions.Tell("backplane", isUp ? "{\"state\":\"up\"}"u8 : "{\"state\":\"down\"}"u8);

        // Rearmed after each tick, so that ticks never overlap.
        _timer = time.CreateTimer(_ => Tick(), null, Interval, Timeout.InfiniteTimeSpan);
        return Task.CompletedTask;
    }

    /// <summary>Keeps the timer running: it cuts connections that do not close until the server has stopped.</summary>
    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose() => _timer?.Dispose();

    private void Tick()
    {
        sessions.Tick();
        _timer?.Change(Interval, Timeout.InfiniteTimeSpan);
    }
}
