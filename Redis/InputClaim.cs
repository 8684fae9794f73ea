using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The first keys and arguments of a script that begins with claim.lua: exactly one node processes an input that all
/// nodes receive.
/// </summary>
internal sealed record InputClaim(RedisKey[] Keys, RedisValue[] Arguments)
{
    private InputClaim(
        RedisKey claim,
        RedisKey refused,
        ReplyCache replies,
        RedisValue count,
        TimeSpan life,
        long sinceMs
    )
        : this(
            [claim, refused, replies.Now, replies.Before],
            [replies.Id, count, (long)life.TotalMilliseconds, sinceMs, replies.LifeMs]
        ) { }

    /// <summary>How often this node has received the input, by the script's answer.</summary>
    public long Seen { get; set; }

    /// <summary>The claim for an input that only this node has.</summary>
    /// <param name="replies">The replies to its id; <see cref="ReplyCache.None"/> for none.</param>
    public static InputClaim Own(ReplyCache replies) => new(replies.Now, replies.Now, replies, "all", TimeSpan.Zero, 0);

    /// <summary>The claim by an input's id.</summary>
    public static InputClaim ById(string claim, TimeSpan life) =>
        new(claim, claim, new ReplyCache(claim, claim, "", 0), "id", life, 0);

    /// <summary>The claim by the number of equal inputs received.</summary>
    public static InputClaim ByCount(string claim, ReplyCache replies, long count, TimeSpan life, long sinceMs) =>
        new(claim, claim + ":refused", replies, count, life, sinceMs);
}

/// <summary>
/// The stored replies to inputs with ids, in two alternating hashes, so that old ones expire together.
/// </summary>
/// <param name="Now">The current hash, which is written.</param>
/// <param name="Before">The hash of the previous window.</param>
/// <param name="Id">The input's id; empty for none.</param>
/// <param name="LifeMs">Lifetime of a stored reply, in ms.</param>
internal readonly record struct ReplyCache(RedisKey Now, RedisKey Before, string Id, long LifeMs)
{
    /// <summary>The replies to a backend's messages, or, of `register`, to registrations.</summary>
    public static ReplyCache Of(string of, string id, RedisChannels channels, TimeSpan window, TimeProvider time)
    {
        var (turn, into) = Math.DivRem(time.GetUtcNow().ToUnixTimeMilliseconds(), (long)window.TotalMilliseconds);
        return new ReplyCache(
            channels.Answered(of, turn),
            channels.Answered(of, turn + 1),
            id,
            (2 * (long)window.TotalMilliseconds) - into
        );
    }

    /// <summary>The replies of an input without an id; the keys are declared and unused.</summary>
    public static ReplyCache None(RedisChannels channels) => new(channels.Epoch, channels.Epoch, "", 0);
}

/// <summary>The answer to a backend over Redis.</summary>
/// <param name="Channel">The channel to answer on.</param>
/// <param name="Yes">The positive ack.</param>
/// <param name="No">The negative ack, if the backend is not registered or has another name.</param>
internal sealed record Ack(string Channel, byte[] Yes, byte[] No);
