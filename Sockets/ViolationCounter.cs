namespace Dmb.Sockets;

/// <summary>Counts violations of one client in a sliding window of one minute.</summary>
/// <param name="max">Violations in one window at which the client is closed.</param>
/// <param name="time">The clock.</param>
internal sealed class ViolationCounter(int max, TimeProvider time)
{
    private static readonly TimeSpan Window = TimeSpan.FromMinutes(1);
    private Queue<long>? _timestamps;

    /// <summary>Records one violation; true when the maximum is reached.</summary>
    public bool Add()
    {
        var timestamps = _timestamps ??= new();
        while (timestamps.TryPeek(out var oldest) && time.GetElapsedTime(oldest) >= Window)
        {
            timestamps.Dequeue();
        }

        timestamps.Enqueue(time.GetTimestamp());
        return timestamps.Count >= max;
    }
}
