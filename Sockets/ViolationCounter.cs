namespace Dmb.Sockets;

/// <summary>Counts violations of one client in a sliding window of one minute.</summary>
/// <remarks>A mutable struct: a client without violations holds nothing but one empty reference.</remarks>
internal struct ViolationCounter
{
    private static readonly TimeSpan Window = TimeSpan.FromMinutes(1);
    private Queue<long>? _timestamps;

    /// <summary>Records one violation; true when the maximum is reached.</summary>
    /// <param name="max">Violations in one window at which the client is closed.</param>
    /// <param name="time">The clock.</param>
    public bool Add(int max, TimeProvider time)
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
