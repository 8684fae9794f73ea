using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// A key in Redis holds something else than the broker keeps there: a value of another type, or a text where a number
/// belongs. What needs the key is refused with 503 <c>backplane_down</c>; the link goes on with all else.
/// <see cref="RedisLink"/> makes all of them.
/// </summary>
internal sealed class RedisKeyException : RefusedException
{
    private RedisKeyException(string why, RedisServerException cause)
        : base(ErrorCode.BackplaneDown, "A key of it in Redis holds something else.", cause) => Why = why;

    /// <summary>The reason, for the log and <c>/readyz</c>.</summary>
    public string Why { get; }

    /// <summary>The exception for an error that Redis answered; null when the error is not about a key.</summary>
    public static RedisKeyException? From(Exception e) =>
        e is RedisServerException answer && IsAboutKey(answer) ? new(RedisReason.Of(answer), answer) : null;

    /// <summary>
    /// Whether an error is about what a key holds: by its code, or, for a value of the right type, by the text of Redis
    /// or of Lua's arithmetic.
    /// </summary>
    public static bool IsAboutKey(RedisServerException e) =>
        e.Message.Contains("WRONGTYPE", StringComparison.Ordinal)
        || e.Message.Contains("value is not an integer", StringComparison.Ordinal)
        || e.Message.Contains(": attempt to ", StringComparison.Ordinal);
}
