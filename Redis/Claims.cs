using System.Security.Cryptography;
using System.Text;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>Where the answers to the inputs with ids of one kind are kept: in two hashes by turns, so that those of long ago expire together.</summary>
/// <param name="Now">Where they are written.</param>
/// <param name="Before">Where those of the time before are.</param>
/// <param name="Id">The input's id; empty for none.</param>
/// <param name="LifeMs">How long what is written now is kept.</param>
internal readonly record struct Answers(RedisKey Now, RedisKey Before, string Id, long LifeMs)
{
    public static readonly Answers None = new("", "", "", 0);

    /// <summary>The answers to a backend's messages, or, of `register`, to registrations.</summary>
    public static Answers Of(string of, string id, RedisChannels channels, TimeSpan window, TimeProvider time)
    {
        var (turn, into) = Math.DivRem(time.GetUtcNow().ToUnixTimeMilliseconds(), (long)window.TotalMilliseconds);
        return new Answers(channels.Answered(of, turn), channels.Answered(of, turn + 1), id, (2 * (long)window.TotalMilliseconds) - into);
    }
}

/// <summary>By what one node takes an input that every node has: what a script that begins with a claim is told first.</summary>
internal sealed record Claim(RedisKey[] Keys, RedisValue[] Arguments)
{
    private Claim(RedisKey claim, Answers answers, RedisValue count, TimeSpan life, long sinceMs)
        : this([claim, answers.Now, answers.Before], [answers.Id, count, (long)life.TotalMilliseconds, sinceMs, answers.LifeMs])
    {
    }

    /// <summary>How often this node saw the input, by what the script gave.</summary>
    public long Seen { get; set; }

    /// <summary>The claim to what only this node has.</summary>
    public static Claim Own(Answers answers = default) => new("", answers.Id is null ? Answers.None : answers, "all", TimeSpan.Zero, 0);

    /// <summary>The claim to an input by its id alone.</summary>
    public static Claim ById(RedisKey claim, TimeSpan life) => new(claim, Answers.None, "id", life, 0);

    /// <summary>The claim to an input by how often its like was seen.</summary>
    public static Claim ByCount(RedisKey claim, Answers answers, long count, TimeSpan life, long sinceMs) => new(claim, answers, count, life, sinceMs);
}

/// <summary>What is answered to a backend over Redis.</summary>
/// <param name="Channel">Where.</param>
/// <param name="Yes">The ack.</param>
/// <param name="No">The ack if the backend is none, or has another name.</param>
internal sealed record Ack(string Channel, byte[] Yes, byte[] No);

/// <summary>The inputs that this node saw within the last minute, so that equal ones sent on purpose are told apart. For one thread.</summary>
internal sealed class Claims(RedisChannels channels, TimeProvider time)
{
    private const int GenerationMax = 500_000;
    private static readonly TimeSpan Lately = TimeSpan.FromMinutes(1);

    private Dictionary<string, (long Count, long Seen)> _now = [];
    private Dictionary<string, (long Count, long Seen)> _before = [];
    private long _since = time.GetTimestamp();

    /// <summary>Since when this node listens, by Redis's clock, in ms.</summary>
    public long ListensSinceMs { get; set; }

    /// <summary>What an input is known by.</summary>
    public static string Hash(string channel, ReadOnlySpan<byte> body) =>
        Convert.ToHexStringLower(SHA256.HashData([.. Encoding.UTF8.GetBytes(channel + "\n"), .. body])[..16]);

    /// <summary>The claim to an input by its id alone.</summary>
    public Claim ById(string id) => Claim.ById(channels.Claim("id:" + id), Lately);

    /// <summary>The claim to an input by how often its like was seen.</summary>
    /// <param name="hash">What it is known by.</param>
    /// <param name="answers">Where the answer to its id is kept.</param>
    public Claim ByCount(string hash, Answers answers) => Claim.ByCount(channels.Claim(hash), answers, Before(hash), Lately, ListensSinceMs);

    /// <summary>How often an equal input was seen lately.</summary>
    public long Before(string hash)
    {
        var (count, seen) = _now.TryGetValue(hash, out var found) ? found : _before.GetValueOrDefault(hash);
        return count > 0 && time.GetElapsedTime(seen) >= Lately ? 0 : count;
    }

    /// <summary>Notes that an input was seen this often.</summary>
    public void Note(string hash, long count)
    {
        if (_now.Count >= GenerationMax || time.GetElapsedTime(_since) >= Lately)
        {
            (_before, _now) = (_now, _before);
            _now.Clear();
            _since = time.GetTimestamp();
        }

        _now[hash] = (count, time.GetTimestamp());
    }
}
