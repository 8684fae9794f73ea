using System.Collections.Concurrent;
using System.Security.Claims;

namespace Dmb.Access;

/// <summary>The scopes of a key or token (docs/access.md).</summary>
[Flags]
internal enum Scopes
{
    None = 0,

    /// <summary>Join and read any room, act as any user of a backend, read the event table and the metrics.</summary>
    Read = 1,

    /// <summary>Publish events, and send a backend's messages.</summary>
    Publish = 2,

    /// <summary>Register events and backends, and act as a backend.</summary>
    Register = 4,

    /// <summary>All of them.</summary>
    Admin = Read | Publish | Register,
}

/// <summary>An authenticated host (by key) or user (by token), or an anonymous caller, as claims.</summary>
internal sealed class Caller : ClaimsPrincipal
{
    /// <summary>Any caller of a broker without credentials.</summary>
    public static readonly Caller TrustedHost = new("host", "", Scopes.Admin);

    /// <summary>A caller without credentials of a broker with credentials.</summary>
    public static readonly Caller Anonymous = new(null, "", Scopes.None);

    private readonly HashSet<string> _roles;
    private readonly ConcurrentDictionary<string, bool> _granted = [];

    private Caller(string? kind, string name, Scopes scopes, IEnumerable<string>? roles = null)
        : base(new ClaimsIdentity(name.Length == 0 ? [] : [new Claim(ClaimTypes.Name, name)], kind))
    {
        (Name, Scopes) = (name, scopes);
        LimitKey = name.Length == 0 ? null : $"{kind} {name}";
        _roles = [.. roles ?? []];
    }

    /// <summary>The key's name or the token's <c>sub</c>; else empty.</summary>
    public string Name { get; }

    public Scopes Scopes { get; }

    /// <summary>The host's key; null for other callers.</summary>
    public HostKey? Key { get; private init; }

    /// <summary>The expiry of the user's token; null for other callers.</summary>
    public DateTimeOffset? ExpiresAt { get; private init; }

    public bool IsAnonymous => this == Anonymous;

    /// <summary>Whether it is a user, who may join the rooms of its roles and act as itself to backends.</summary>
    public bool IsUser => ExpiresAt is not null;

    /// <summary>
    /// The partition of its rate limits; null for callers without a name, who are counted by address.
    /// </summary>
    public string? LimitKey { get; }

    /// <summary>
    /// Scopes an idempotency key to this caller, so that equal keys of two callers differ. Null stays null.
    /// </summary>
    public string? Scoped(string? key) => key is null || LimitKey is null ? key : $"{LimitKey} {key}";

    /// <summary>Creates the caller of a host's key.</summary>
    public static Caller Host(HostKey key) => new("key", key.Name, key.Scopes) { Key = key };

    /// <summary>Creates the caller of a user's token.</summary>
    /// <param name="name">The token's <c>sub</c> (RFC 7519 §4.1.2).</param>
    /// <param name="isAdmin">Whether its claim <c>admin</c> is true.</param>
    /// <param name="roles">Its claim <c>roles</c>: the rooms that the user may join.</param>
    /// <param name="expiresAt">Its <c>exp</c> (RFC 7519 §4.1.4).</param>
    public static Caller User(string name, bool isAdmin, IEnumerable<string> roles, DateTimeOffset expiresAt) =>
        new("token", name, isAdmin ? Scopes.Admin : Scopes.None, roles) { ExpiresAt = expiresAt };

    /// <summary>Lets this user join a room besides those of its roles, or not any more.</summary>
    public void Grant(string room, bool isAllowed)
    {
        if (isAllowed)
        {
            _granted[room] = true;
        }
        else
        {
            _granted.TryRemove(room, out _);
        }
    }

    /// <summary>Whether this user may join a room by <see cref="Grant"/>.</summary>
    public bool IsGranted(string room) => _granted.ContainsKey(room);

    /// <summary>Whether a role of this user equals a room's name.</summary>
    public bool HasRole(string room) => _roles.Contains(room);
}
