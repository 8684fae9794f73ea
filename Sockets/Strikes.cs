namespace Dmb.Sockets;

/// <summary>What a client may do wrong only so often in a minute.</summary>
internal sealed class Strikes(int max, TimeProvider time)
{
    private static readonly TimeSpan Window = TimeSpan.FromMinutes(1);
    private Queue<long>? _last;

    /// <summary>Counts one more; true when it is one too many.</summary>
    public bool Add()
    {
        var last = _last ??= new();
        while (last.TryPeek(out var oldest) && time.GetElapsedTime(oldest) >= Window)
        {
            last.Dequeue();
        }

        last.Enqueue(time.GetTimestamp());
        return last.Count >= max;
    }
}
