namespace Dmb.Routing;

/// <summary>Maps the idempotency keys of recent messages to message ids, to detect duplicates.</summary>
internal sealed class IdempotencyTable(RoutingOptions options, TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, TaskCompletionSource<string>> _ids = [];
    private readonly Queue<Entry> _byAge = new();

    /// <summary>
    /// Adds a key. True for the first caller, which completes <paramref name="id"/> with the message's id or its
    /// refusal; later callers await it.
    /// </summary>
    public bool TryAdd(string key, out TaskCompletionSource<string> id)
    {
        lock (_lock)
        {
            while (_byAge.TryPeek(out var oldest) && time.GetElapsedTime(oldest.Since) >= options.IdempotencyWindow)
            {
                RemoveOldest();
            }

            if (_ids.TryGetValue(key, out id!))
            {
                return false;
            }

            if (_byAge.Count >= options.MaxIdempotencyKeys)
            {
                RemoveOldest();
            }

            id = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
            _ids.Add(key, id);
            _byAge.Enqueue(new Entry(key, id, time.GetTimestamp()));
            return true;
        }
    }

    /// <summary>Removes the key of a message that was refused, so that it can be retried.</summary>
    public void Forget(string key)
    {
        lock (_lock)
        {
            _ids.Remove(key);
        }
    }

    private void RemoveOldest()
    {
        var (key, id, _) = _byAge.Dequeue();
        if (_ids.GetValueOrDefault(key) == id)
        {
            _ids.Remove(key);
        }
    }

    private sealed record Entry(string Key, TaskCompletionSource<string> Id, long Since);
}
