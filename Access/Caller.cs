using System.Security.Claims;

namespace Dmb.Access;

/// <summary>What a key's scopes, and a token's rights, are made of.</summary>
[Flags]
internal enum Scopes
{
    None = 0,

    /// <summary>Join and read any room, be any user of a backend, read the event table and the metrics.</summary>
    Read = 1,

    /// <summary>Publish events, and send a backend's messages.</summary>
    Publish = 2,

    /// <summary>Register events and backends, and be a backend.</summary>
    Register = 4,

    /// <summary>All of them.</summary>
    Admin = Read | Publish | Register,
}

/// <summary>
/// Who is calling, as claims: a host by its key, a user by a token, or an anonymous caller. It never changes.
/// </summary>
internal sealed class Caller : ClaimsPrincipal
{
    /// <summary>The caller of a broker that asks for no credentials.</summary>
    public static readonly Caller TrustedHost = new("host", "", Scopes.Admin);

    /// <summary>A caller without credentials of a broker that asks for them.</summary>
    public static readonly Caller Anonymous = new(null, "", Scopes.None);

    private readonly HashSet<string> _roles;

    private Caller(string? kind, string name, Scopes scopes, IEnumerable<string>? roles = null)
        : base(new ClaimsIdentity(name.Length == 0 ? [] : [new Claim(ClaimTypes.Name, name)], kind))
    {
        (Name, Scopes) = (name, scopes);
        LimitKey = name.Length == 0 ? null : $"{kind} {name}";
        _roles = [.. roles ?? []];
    }

    /// <summary>The key's name, or the token's <c>sub</c>; empty for who has none.</summary>
    public string Name { get; }

    public Scopes Scopes { get; }

    /// <summary>The key by which a host came in.</summary>
    public HostKey? Key { get; private init; }

    /// <summary>When a user's token ends.</summary>
    public DateTimeOffset? ExpiresAt { get; private init; }

    public bool IsAnonymous => this == Anonymous;

    /// <summary>Whether it is a user, who reads what is theirs, and may be that user of a backend's.</summary>
    public bool IsUser => ExpiresAt is not null;

    /// <summary>What limits are counted by; null for who has no name, and is counted by address.</summary>
    public string? LimitKey { get; }

    /// <summary>
    /// An idempotency key as the cluster knows it: two callers' keys of one text are two keys. Null stays null.
    /// </summary>
    public string? Scoped(string? key) => key is null || LimitKey is null ? key : $"{LimitKey} {key}";

    /// <summary>A host that has shown its key.</summary>
    public static Caller Host(HostKey key) => new("key", key.Name, key.Scopes) { Key = key };

    /// <summary>A user that has shown a token.</summary>
    /// <param name="name">The token's <c>sub</c> (RFC 7519 §4.1.2).</param>
    /// <param name="isAdmin">Whether its claim <c>admin</c> is true.</param>
    /// <param name="roles">Its claim <c>roles</c>: the rooms that are theirs.</param>
    /// <param name="expiresAt">Its <c>exp</c> (RFC 7519 §4.1.4).</param>
    public static Caller User(string name, bool isAdmin, IEnumerable<string> roles, DateTimeOffset expiresAt) =>
        new("token", name, isAdmin ? Scopes.Admin : Scopes.None, roles) { ExpiresAt = expiresAt };

    /// <summary>Whether a role of this user equals a room's name.</summary>
    public bool HasRole(string room) => _roles.Contains(room);
}
