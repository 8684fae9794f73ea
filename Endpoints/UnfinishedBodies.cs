using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>
/// Limits the bytes of incomplete bodies over all connections, so that many slow senders cannot exhaust the node's
/// memory.
/// </summary>
internal sealed class UnfinishedBodies(HttpOptions options)
{
    private long _bytes;

    /// <summary>Bytes reserved now.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Changes the bytes that a request has reserved; 0 releases all.</summary>
    /// <param name="held">The request's reservation; set to the new one.</param>
    /// <param name="bytes">The new reservation in bytes.</param>
    /// <exception cref="RefusedException">
    /// <c>rate_limited</c>, as 503: the limit of all requests is reached.
    /// </exception>
    public void Hold(ref long held, long bytes)
    {
        var more = bytes - held;
        held = bytes;
        if (Interlocked.Add(ref _bytes, more) > options.MaxUnfinishedBytes && more > 0)
        {
            throw new RefusedException(
                ErrorCode.RateLimited,
                "Too many bodies are incomplete; send this one again later."
            );
        }
    }
}
