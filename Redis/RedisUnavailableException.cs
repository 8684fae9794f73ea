using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>
/// Redis is unavailable: there is no link, it was lost, or Redis did not answer in time or answered with an error.
/// Whether a command was executed is unknown. Answered 503 <c>backplane_down</c>. Created where links are made or used.
/// </summary>
/// <param name="why">The reason, for the log and <c>/readyz</c>.</param>
/// <param name="cause">The client library's exception; null without a link.</param>
internal sealed class RedisUnavailableException(string why, Exception? cause = null)
    : RefusedException(ErrorCode.BackplaneDown, "Redis is away; try again.", cause)
{
    /// <summary>The reason, for the log and <c>/readyz</c>.</summary>
    public string Why { get; } = why;
}
