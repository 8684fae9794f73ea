using Dmb.Routing;

namespace Dmb.Access;

/// <summary>Finds who shows a key or a token, wherever it was shown.</summary>
/// <param name="keys">The keys of hosts.</param>
/// <param name="rules">Whether callers are asked at all.</param>
/// <param name="tokens">The tokens of users, where there are any: what reads them is not loaded before.</param>
internal sealed class Credentials(HostKeys keys, AccessRules rules, UserTokens? tokens = null)
{
    /// <summary>The caller who shows this key's secret, or this token.</summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c> or <c>token_expired</c>.</exception>
    public ValueTask<Caller> FindAsync(string shown) =>
        !rules.IsOn ? new(Caller.TrustedHost)
        : IsToken(shown) && tokens is not null ? tokens.ReadAsync(shown)
        : new(FindKey(shown));

    /// <summary>Whether a text has a token's shape: three parts, the first a JSON object (RFC 7515 §7.1).</summary>
    public static bool IsToken(string text) =>
        text.StartsWith("ey", StringComparison.Ordinal) && text.AsSpan().Count('.') == 2;

    /// <summary>The host with this key.</summary>
    /// <param name="secret">The secret.</param>
    /// <param name="name">The key's name, where it is told.</param>
    /// <exception cref="RefusedException"><c>unauthenticated</c>.</exception>
    public Caller FindKey(string secret, string? name = null) =>
        keys.Find(secret, name) ?? throw new RefusedException(ErrorCode.Unauthenticated, "The key is not accepted.");
}
