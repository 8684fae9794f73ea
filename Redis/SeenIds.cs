namespace Dmb.Redis;

/// <summary>The ids delivered within the last minute: the same one again is the same message. For one thread.</summary>
internal sealed class SeenIds(TimeProvider time)
{
    private const int GenerationMax = 500_000;
    private static readonly TimeSpan Generation = TimeSpan.FromMinutes(1);

    private HashSet<string> _now = [];
    private HashSet<string> _before = [];
    private long _since = time.GetTimestamp();

    /// <summary>Notes an id. False when it is known.</summary>
    public bool Add(string id)
    {
        if (_now.Count >= GenerationMax || time.GetElapsedTime(_since) >= Generation)
        {
            (_before, _now) = (_now, _before);
            _now.Clear();
            _since = time.GetTimestamp();
        }

        return !_before.Contains(id) && _now.Add(id);
    }
}
