namespace Dmb.Sockets;

/// <summary>
/// When clients of event streams come back (HTML Living Standard §9.2.3): each after a time of its own, so that those
/// that are lost together do not return together.
/// </summary>
internal static class EventStreamRetry
{
    private static readonly TimeSpan AtLeast = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan SpreadMax = TimeSpan.FromSeconds(2);

    /// <summary>The <c>retry:</c> field of a client that may come back after a time.</summary>
    /// <param name="after">Until when coming back is of no use.</param>
    public static byte[] After(TimeSpan after) =>
        EventStreamFrames.Retry((after > AtLeast ? after : AtLeast) + (SpreadMax * Random.Shared.NextDouble()));

    /// <summary>
    /// The whole stream of a client that can't be served for now: any other answer would end an EventSource for good.
    /// </summary>
    public static byte[] StreamAfter(TimeSpan after) => [.. After(after), .. "\n"u8];
}
