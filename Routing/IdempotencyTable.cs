namespace Dmb.Routing;

/// <summary>
/// The keys of lately accepted messages and the ids they got: the same key again is the same message.
/// </summary>
internal sealed class IdempotencyTable(RoutingOptions options, TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, TaskCompletionSource<string>> _ids = [];
    private readonly Queue<Entry> _byAge = new();

    /// <summary>
    /// Takes a key. True for the first one, who then says in <paramref name="id"/> which id the message has, or why it
    /// was refused; later callers find it there.
    /// </summary>
    public bool TryTake(string key, out TaskCompletionSource<string> id)
    {
        lock (_lock)
        {
            while (_byAge.TryPeek(out var oldest) && time.GetElapsedTime(oldest.Since) >= options.IdempotencyWindow)
            {
                ForgetOldest();
            }

            if (_ids.TryGetValue(key, out id!))
            {
                return false;
            }

            if (_byAge.Count >= options.MaxIdempotencyKeys)
            {
                ForgetOldest();
            }

            id = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
            _ids.Add(key, id);
            _byAge.Enqueue(new Entry(key, id, time.GetTimestamp()));
            return true;
        }
    }

    /// <summary>The message was refused after all: its key may come again.</summary>
    public void Forget(string key)
    {
        lock (_lock)
        {
            _ids.Remove(key);
        }
    }

    private void ForgetOldest()
    {
        var (key, id, _) = _byAge.Dequeue();
        if (_ids.GetValueOrDefault(key) == id)
        {
            _ids.Remove(key);
        }
    }

    private sealed record Entry(string Key, TaskCompletionSource<string> Id, long Since);
}
