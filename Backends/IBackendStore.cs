using Dmb.Routing;

namespace Dmb.Backends;

/// <summary>
/// What is known of backends and their users, over all nodes. Each method counts as a use of the backend, which keeps
/// its registration alive for <see cref="BackendOptions.BackendTtl"/>, and throws a <see cref="RefusedException"/> with
/// <see cref="ErrorCode.UnknownBackend"/> where there is no such backend.
/// </summary>
internal interface IBackendStore
{
    /// <summary>Raised on each node when a backend was freed on any.</summary>
    event Action<string>? Freed;

    /// <summary>Registers a backend; one that is known only lives on.</summary>
    /// <exception cref="RefusedException">
    /// The bkid is that of a backend with another name, or there are too many backends.
    /// </exception>
    ValueTask RegisterAsync(Backend backend);

    /// <summary>Notes that a backend is used.</summary>
    ValueTask TouchAsync(string bkid);

    /// <summary>Frees a backend, and deletes all that is stored of it.</summary>
    ValueTask FreeAsync(string bkid);

    /// <summary>Publishes a backend's message to its users.</summary>
    /// <param name="bkid">The backend.</param>
    /// <param name="envelope">The message.</param>
    /// <param name="user">The one user that it is for; null for all.</param>
    /// <param name="key">
    /// The backend's own id of the message: the same one again is the same message. Null for none.
    /// </param>
    ValueTask<Sent> SendAsync(string bkid, Envelope envelope, string? user, string? key);

    /// <summary>Tells the backend of a session that came; once for each session.</summary>
    ValueTask ConnectAsync(BackendUser user);

    /// <summary>Tells the backend of a session that went.</summary>
    ValueTask DisconnectAsync(BackendUser user);

    /// <summary>Stores what a user said, and publishes it to the backend's listeners.</summary>
    ValueTask<PublishOutcome> SendUplinkAsync(string bkid, string user, Envelope uplink);

    /// <summary>The stored uplinks that came after the one with an id, or from the oldest, the oldest first.</summary>
    /// <exception cref="RefusedException">There is no such backend, or Redis is away.</exception>
    ValueTask<IReadOnlyList<StoredUplink>> ReadUplinkAsync(string bkid, string? after, int max);
}
