using Dmb.Routing;

namespace Dmb.Access;

/// <summary>Finds who shows a key or a token, wherever it was shown.</summary>
internal sealed class Credentials(HostKeys keys, UserTokens tokens, AccessRules rules)
{
    /// <summary>Whoever shows this key's secret, or this token.</summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c> or <c>token_expired</c>.</exception>
    public ValueTask<Caller> FindAsync(string shown) =>
        !rules.IsOn ? new(Caller.TrustedHost) : UserTokens.IsShaped(shown) ? tokens.ReadAsync(shown) : new(FindKey(shown));

    /// <summary>The host with this key.</summary>
    /// <param name="secret">The secret.</param>
    /// <param name="name">The key's name, where it is told.</param>
    /// <exception cref="RefusedException"><c>unauthenticated</c>.</exception>
    public Caller FindKey(string secret, string? name = null) =>
        keys.Find(secret, name) is { } key ? Caller.Host(key) : throw new RefusedException(ErrorCode.Unauthenticated, "The key is not accepted.");
}
