using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>
/// Bytes of bodies that have come in part and wait for their rest, over all connections. The limit does not
/// depend on the senders, so that many slow ones together do not take the node's memory.
/// </summary>
internal sealed class UnfinishedBodies(HttpOptions options)
{
    private long _bytes;

    /// <summary>Bytes that are held now.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>Replaces what a request holds by a new amount; 0 gives all back.</summary>
    /// <param name="held">Bytes that the request held; becomes the new amount.</param>
    /// <param name="bytes">Bytes that it holds from now on.</param>
    /// <exception cref="RefusedException">
    /// <c>rate_limited</c>, as 503: all requests together hold as much as they may.
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
