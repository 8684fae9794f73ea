namespace Dmb.Client;

/// <summary>A refusal or a failure.</summary>
/// <param name="code">
/// One of docs/protocol.md §3, or <c>timeout</c>, <c>connection_lost</c>, <c>closed</c>, <c>bad_frame</c>,
/// <c>needs_socket</c>.
/// </param>
/// <param name="message">What is wrong, for people.</param>
/// <param name="retry">Whether the same may work later.</param>
public sealed class DmbException(string code, string message, bool retry = false) : Exception(message)
{
    /// <summary>What went wrong, for programs.</summary>
    public string Code { get; } = code;

    /// <summary>Whether the same may work later.</summary>
    public bool Retry { get; } = retry;

    internal static DmbException ConnectionLost() => new("connection_lost", "The connection was lost.", retry: true);
}
