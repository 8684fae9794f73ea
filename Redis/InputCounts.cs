using System.Security.Cryptography;
using System.Text;

namespace Dmb.Redis;

/// <summary>
/// Counts equal inputs received within the last minute, to distinguish an input sent twice from one received by two
/// nodes, and creates the claims. Not thread-safe.
/// </summary>
internal sealed class InputCounts(RedisChannels channels, TimeProvider time)
{
    private const int GenerationMax = 500_000;
    private static readonly TimeSpan Window = TimeSpan.FromMinutes(1);

    private Dictionary<string, (long Count, long Seen)> _now = [];
    private Dictionary<string, (long Count, long Seen)> _before = [];
    private long _since = time.GetTimestamp();

    /// <summary>When this node subscribed the inputs, by Redis's clock, in ms.</summary>
    public long ListensSinceMs { get; set; }

    /// <summary>The hash of an input by channel and body.</summary>
    public static string Hash(string channel, ReadOnlySpan<byte> body) =>
        Convert.ToHexStringLower(SHA256.HashData([.. Encoding.UTF8.GetBytes(channel + "\n"), .. body])[..16]);

    /// <summary>The claim by an input's id.</summary>
    public InputClaim ById(string id) => InputClaim.ById(channels.Claim("id:" + id), Window);

    /// <summary>The claim of an input without an id.</summary>
    /// <param name="hash">Its name.</param>
    public InputClaim ByCount(string hash) => ByCount(hash, ReplyCache.None(channels));

    /// <summary>The claim of an input with an id.</summary>
    /// <param name="hash">Its name.</param>
    /// <param name="replies">The replies to its id.</param>
    public InputClaim ByCount(string hash, ReplyCache replies) =>
        InputClaim.ByCount(channels.Claim(hash), replies, Before(hash), Window, ListensSinceMs);

    /// <summary>How often an equal input was received within the window.</summary>
    public long Before(string hash)
    {
        var (count, seen) = _now.TryGetValue(hash, out var found) ? found : _before.GetValueOrDefault(hash);
        return count > 0 && time.GetElapsedTime(seen) >= Window ? 0 : count;
    }

    /// <summary>Records how often an input was received.</summary>
    public void Note(string hash, long count)
    {
        if (_now.Count >= GenerationMax || time.GetElapsedTime(_since) >= Window)
        {
            (_before, _now) = (_now, _before);
            _now.Clear();
            _since = time.GetTimestamp();
        }

        _now[hash] = (count, time.GetTimestamp());
    }
}
