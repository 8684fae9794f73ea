using System.Net;
using Dmb.Access;

namespace Dmb.Sockets;

/// <summary>A session that was admitted at its handshake and is not open yet.</summary>
/// <param name="Caller">The authenticated caller.</param>
/// <param name="Refusal">
/// Reason to close it right after it opens, since a page cannot read the answer to a refused handshake; null to keep
/// it.
/// </param>
/// <param name="Address">The client's address.</param>
/// <param name="Lease">Its permit in the session limits, disposed at its end.</param>
/// <param name="Wire">How its frames are encoded.</param>
/// <param name="Agent">The client's <c>User-Agent</c>, as <see cref="UserAgents.Intern"/> gives it.</param>
/// <param name="Answer">
/// Bytes that precede all frames: the answer to the handshake, Engine.IO's open packet; null for none.
/// </param>
internal readonly record struct AdmittedSession(
    Caller Caller,
    CloseReason? Refusal,
    IPAddress? Address,
    IDisposable Lease,
    Wire Wire,
    string? Agent = null,
    byte[]? Answer = null
);
