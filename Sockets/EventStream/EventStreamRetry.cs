namespace Dmb.Sockets;

/// <summary>
/// Chooses the reconnection time of event streams (HTML Living Standard §9.2.3), random per client so that clients
/// disconnected together do not reconnect together.
/// </summary>
internal static class EventStreamRetry
{
    private static readonly TimeSpan WaitMin = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan SpreadMax = TimeSpan.FromSeconds(2);

    /// <summary>A <c>retry</c> field with a random time not before <paramref name="after"/>.</summary>
    /// <param name="after">Earliest time at which reconnecting can succeed.</param>
    public static byte[] After(TimeSpan after) =>
        EventStreamFrames.Retry((after > WaitMin ? after : WaitMin) + (SpreadMax * Random.Shared.NextDouble()));

    /// <summary>
    /// The whole body for a client that cannot be served now: an error status would end an EventSource for good.
    /// </summary>
    public static byte[] StreamAfter(TimeSpan after) => [.. After(after), .. "\n"u8];
}
