using Dmb.Routing;

namespace Dmb.Backends;

/// <summary>A registered backend, as operators see it.</summary>
/// <param name="Backend">The backend.</param>
/// <param name="Used">When it was last used.</param>
/// <param name="Users">Its connected users.</param>
/// <param name="Sessions">Their sessions.</param>
/// <param name="Stored">Its stored uplinks.</param>
internal readonly record struct BackendState(Backend Backend, DateTimeOffset Used, int Users, int Sessions, int Stored);

/// <summary>
/// Stores backends, their users and uplinks, shared by all nodes. Each method renews the backend's registration by
/// <see cref="BackendOptions.BackendTtl"/>, and throws a <see cref="RefusedException"/> with
/// <see cref="ErrorCode.UnknownBackend"/> if there is no such backend.
/// </summary>
internal interface IBackendStore
{
    /// <summary>Raised on each node when a backend was freed on any.</summary>
    event Action<string>? Freed;

    /// <summary>Registers a backend, or renews its registration.</summary>
    /// <exception cref="RefusedException">
    /// The bkid belongs to a backend with another name, or there are too many backends.
    /// </exception>
    ValueTask RegisterAsync(Backend backend);

    /// <summary>Renews a backend's registration.</summary>
    ValueTask TouchAsync(string bkid);

    /// <summary>Frees a backend, and deletes its data.</summary>
    ValueTask FreeAsync(string bkid);

    /// <summary>Publishes a backend's message to its users.</summary>
    /// <param name="bkid">The backend.</param>
    /// <param name="envelope">The message.</param>
    /// <param name="user">The addressed user; null for all.</param>
    /// <param name="key">The idempotency key, the backend's own id of the message; null for none.</param>
    ValueTask<Sent> SendAsync(string bkid, Envelope envelope, string? user, string? key);

    /// <summary>Counts a connected session and notifies the backend; idempotent per session.</summary>
    ValueTask ConnectAsync(BackendUser user);

    /// <summary>Removes a session and notifies the backend.</summary>
    ValueTask DisconnectAsync(BackendUser user);

    /// <summary>Stores what a user said, and publishes it to the backend's listeners.</summary>
    ValueTask<PublishOutcome> SendUplinkAsync(string bkid, string user, Envelope uplink);

    /// <summary>Reads the stored uplinks after an id, or from the oldest, in order.</summary>
    /// <exception cref="RefusedException">There is no such backend, or Redis is down.</exception>
    ValueTask<IReadOnlyList<StoredUplink>> ReadUplinkAsync(string bkid, string? after, int max);

    /// <summary>
    /// Lists registered backends in the order of <see cref="Backend.Cursor"/>. Does not renew registrations.
    /// </summary>
    /// <param name="prefix">Prefix of their names.</param>
    /// <param name="after">The cursor of the last one listed before; null to begin.</param>
    /// <param name="max">Maximum number of backends.</param>
    /// <exception cref="RefusedException">Redis is down.</exception>
    ValueTask<IReadOnlyList<BackendState>> ListAsync(string prefix, string? after, int max);

    /// <summary>Finds a backend; null if it is not registered. Does not renew the registration.</summary>
    /// <exception cref="RefusedException">Redis is down.</exception>
    ValueTask<BackendState?> FindAsync(string bkid);
}
