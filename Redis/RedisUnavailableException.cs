using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>
/// Redis did not do what it was told: there is no link, it was lost, or Redis did not answer in time or answered with
/// an error. Whether a command was executed is not known. A caller that gets it is answered 503 <c>backplane_down</c>.
/// <see cref="RedisLink"/> makes all of them.
/// </summary>
/// <param name="why">The reason, for the log and <c>/readyz</c>.</param>
/// <param name="cause">What the client library threw; null for a link that is not there.</param>
internal sealed class RedisUnavailableException(string why, Exception? cause = null)
    : RefusedException(ErrorCode.BackplaneDown, "Redis is away; try again.", cause)
{
    /// <summary>The reason, for the log and <c>/readyz</c>.</summary>
    public string Why { get; } = why;
}
