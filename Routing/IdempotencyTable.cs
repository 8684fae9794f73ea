namespace Dmb.Routing;

/// <summary>The keys of lately accepted messages and the ids they got: the same key again is the same message.</summary>
internal sealed class IdempotencyTable(BrokerOptions options, TimeProvider time)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, string> _ids = [];
    private readonly Queue<(string Key, long Since)> _byAge = new();

    /// <summary>Takes a key for a message id. False when it is taken: then <paramref name="id"/> becomes the first one's id.</summary>
    public bool TryTake(string key, ref string id)
    {
        lock (_lock)
        {
            while (_byAge.TryPeek(out var oldest) && time.GetElapsedTime(oldest.Since) >= options.IdempotencyWindow)
            {
                ForgetOldest();
            }

            if (_ids.TryGetValue(key, out var first))
            {
                id = first;
                return false;
            }

            if (_ids.Count == options.MaxIdempotencyKeys)
            {
                ForgetOldest();
            }

            _ids.Add(key, id);
            _byAge.Enqueue((key, time.GetTimestamp()));
            return true;
        }
    }

    private void ForgetOldest() => _ids.Remove(_byAge.Dequeue().Key);
}
