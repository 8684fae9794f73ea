using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>
/// Detects copies of delivered messages, sent again or read from the log, by their ids, for at least a minute. A new
/// message can reuse an id after the idempotency window. Not thread-safe.
/// </summary>
/// <param name="window">The idempotency window.</param>
/// <param name="time">The clock.</param>
internal sealed class SeenIds(TimeSpan window, TimeProvider time)
{
    private const int GenerationMax = 500_000;
    private static readonly TimeSpan Generation = TimeSpan.FromMinutes(1);

    private Dictionary<string, Delivery> _now = [];
    private Dictionary<string, Delivery> _before = [];
    private long _since = time.GetTimestamp();

    /// <summary>Adds an id; false if the message was delivered before.</summary>
    /// <param name="id">The message id.</param>
    /// <param name="isAgain">Whether the message is certainly a copy.</param>
    /// <param name="members">
    /// If it was delivered before, <see cref="Membership.Made"/> at that time: members with a higher number have not
    /// got it.
    /// </param>
    public bool Add(string id, bool isAgain, out long members)
    {
        if (_now.Count >= GenerationMax || time.GetElapsedTime(_since) >= Generation)
        {
            (_before, _now) = (_now, _before);
            _now.Clear();
            _since = time.GetTimestamp();
        }

        if (
            (_now.TryGetValue(id, out var seen) || _before.TryGetValue(id, out seen))
            && (isAgain || time.GetElapsedTime(seen.At) < window)
        )
        {
            members = seen.Members;
            return false;
        }

        members = 0;
        _now[id] = new Delivery(time.GetTimestamp(), Membership.Made);
        return true;
    }

    /// <param name="At">The timestamp of the delivery.</param>
    /// <param name="Members"><see cref="Membership.Made"/> at that time.</param>
    private readonly record struct Delivery(long At, long Members);
}
