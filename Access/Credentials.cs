using Dmb.Routing;

namespace Dmb.Access;

/// <summary>Authenticates a key or token of any transport.</summary>
/// <param name="keys">The keys of hosts.</param>
/// <param name="rules">Whether callers have to authenticate.</param>
/// <param name="tokens">
/// Validates the tokens of users; null without tokens, so that its libraries are not loaded.
/// </param>
/// <param name="url">Asked about tokens that are no JWTs and no keys, and about cookies; null to ask none.</param>
internal sealed class Credentials(HostKeys keys, AccessRules rules, UserTokens? tokens = null, AuthorizeUrl? url = null)
{
    /// <summary>Authenticates a key's secret or a token.</summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c> or <c>token_expired</c>.</exception>
    public ValueTask<Caller> FindAsync(string shown) =>
        !rules.IsOn ? new(Caller.TrustedHost)
        : IsToken(shown) && tokens is not null ? tokens.ReadAsync(shown)
        : url is not null && keys.Find(shown, name: null) is null ? url.FindAsync("token", shown)
        : new(FindKey(shown));

    /// <summary>Authenticates the header <c>Cookie</c>; an anonymous caller where no URL is asked about it.</summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c>.</exception>
    public ValueTask<Caller> FindCookieAsync(string cookie) =>
        url is null || cookie.Length == 0 ? new(Caller.Anonymous) : url.FindAsync("cookie", cookie);

    /// <summary>Whether a text has the form of a JWT: three parts, the first a JSON object (RFC 7515 §7.1).</summary>
    public static bool IsToken(string text) =>
        text.StartsWith("ey", StringComparison.Ordinal) && text.AsSpan().Count('.') == 2;

    /// <summary>Authenticates a host's key.</summary>
    /// <param name="secret">The key's secret.</param>
    /// <param name="name">The key's name; null to accept any.</param>
    /// <exception cref="RefusedException"><c>unauthenticated</c>.</exception>
    public Caller FindKey(string secret, string? name = null) =>
        keys.Find(secret, name) ?? throw new RefusedException(ErrorCode.Unauthenticated, "The key is not accepted.");
}
