namespace Dmb.Client;

/// <summary>
/// Finds out that a network went away without a word. When nothing came for <c>ping</c> an answer is asked for, and
/// when nothing came for <c>silent</c> the connection is taken for dead.
/// </summary>
internal sealed class Watchdog : IDisposable
{
    private readonly TimeProvider _time;
    private readonly ITimer _timer;
    private readonly Action _ask;
    private readonly Action _lost;
    private TimeSpan _ping = Timeout.InfiniteTimeSpan;
    private TimeSpan _silent;
    private long _heard;
    private long _asked;

    public Watchdog(TimeProvider time, Action ask, Action lost)
    {
        (_time, _ask, _lost) = (time, ask, lost);
        _heard = time.GetTimestamp();
        _timer = time.CreateTimer(_ => Look(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public void Start(TimeSpan ping, TimeSpan silent)
    {
        (_ping, _silent) = (ping, silent);
        _timer.Change(ping, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Something came.</summary>
    public void Heard()
    {
        Volatile.Write(ref _heard, _time.GetTimestamp());
        Volatile.Write(ref _asked, 0);
    }

    public void Dispose() => _timer.Dispose();

    private void Look()
    {
        var asked = Volatile.Read(ref _asked);
        var left =
            asked == 0
                ? _ping - _time.GetElapsedTime(Volatile.Read(ref _heard))
                : _silent - _ping - _time.GetElapsedTime(asked);
        if (left <= TimeSpan.Zero)
        {
            if (asked != 0)
            {
                _lost();
                return;
            }

            Volatile.Write(ref _asked, Math.Max(1, _time.GetTimestamp()));
            _ask();
            left = _silent - _ping;
        }

        try
        {
            _timer.Change(
                left < TimeSpan.FromMilliseconds(1) ? TimeSpan.FromMilliseconds(1) : left,
                Timeout.InfiniteTimeSpan
            );
        }
        catch (ObjectDisposedException)
        {
            // The connection ended meanwhile.
        }
    }
}
