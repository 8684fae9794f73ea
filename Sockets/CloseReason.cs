using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// Why the broker closes a session, as sent to the client (docs/protocol.md §4; codes of RFC 6455 §7.4).
/// </summary>
/// <param name="Code">The close code.</param>
/// <param name="Text">The reason in English, at most 123 bytes.</param>
/// <param name="Reconnect">Whether the client should reconnect.</param>
/// <param name="AfterMs">Milliseconds to wait before reconnecting.</param>
/// <param name="DrainMs">Milliseconds for which this node still refuses new sessions before it stops.</param>
internal sealed record CloseReason(int Code, string Text, bool Reconnect, int AfterMs = 0, int DrainMs = 0)
{
    public const int KickedCode = 4001;

    public static readonly CloseReason Binary = new(1003, "binary frames are not taken", Reconnect: false);

    public static readonly CloseReason TooBig = new(1009, "the message is too big", Reconnect: false);

    public static readonly CloseReason BrokerFailed = new(1011, "the broker failed", Reconnect: true, AfterMs: 1_000);

    public static readonly CloseReason BadCredentials = new(4000, "the key or token is not accepted", Reconnect: false);

    public static readonly CloseReason Unauthenticated = new(4000, "no key or token came in time", Reconnect: false);

    /// <summary>An operator closes the session.</summary>
    /// <param name="code">4001, or another of 4000 to 4099.</param>
    /// <param name="text">At most 123 bytes.</param>
    public static CloseReason Kicked(int code = KickedCode, string text = "kicked") =>
        new(code, text, Reconnect: false);

    public static readonly CloseReason Protocol = new(4002, "too many frames that are no events", Reconnect: false);

    public static readonly CloseReason Origin = new(4003, "pages of this origin may not connect", Reconnect: false);

    public static readonly CloseReason SlowConsumer = new(4100, "slow consumer", Reconnect: true);

    public static readonly CloseReason Silent = new(4101, "silent for too long", Reconnect: true);

    public static readonly CloseReason TooFast = new(
        4102,
        "too many frames past the limits",
        Reconnect: true,
        AfterMs: 5_000
    );

    public static readonly CloseReason TokenExpired = new(4103, "the token has expired", Reconnect: true);

    public static readonly CloseReason RightsReduced = new(4103, "the new token may do less", Reconnect: true);

    public static readonly CloseReason KeyRevoked = new(4103, "the key has changed or was taken away", Reconnect: true);

    /// <summary>The close reason for a key or token that was refused.</summary>
    public static CloseReason Of(RefusedException refused) =>
        refused.Code == ErrorCode.TokenExpired ? TokenExpired : BadCredentials;

    /// <summary>The node is about to stop.</summary>
    public static CloseReason Restarting(int afterMs, int drainMs = 0) =>
        new(1012, "the node restarts", Reconnect: true, afterMs, drainMs);
}
