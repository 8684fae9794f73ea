using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Access;

/// <summary>
/// Settings of credentials and limits: keys of hosts, tokens of users, and the rates of one caller or address.
/// </summary>
internal sealed class AccessOptions
{
    [Description(
        "`none` permits to listen on more than loopback without keys or tokens; every client that reaches the port "
            + "may do "
            + "everything then."
    )]
    [AllowedValues("", "none")]
    public string Auth { get; set; } = "";

    [Description(
        "Keys of hosts: name:secret:scopes, separated by `;`, e.g. "
            + "opensips:<secret>:publish;ops:<secret>:read,register. Scopes: read, publish, register, admin."
    )]
    public string Keys { get; set; } = "";

    [Description("A file of such keys, one a line, reloaded when it changes.")]
    public string KeysFile { get; set; } = "";

    [Description("Secret of the users' tokens (JWT, HS256): 32 bytes or more.")]
    public string JwtSecret { get; set; } = "";

    [Description("A file that contains only this secret, reloaded when it changes; instead of DMB_JWT_SECRET.")]
    public string JwtSecretFile { get; set; } = "";

    [Description(
        "A file of public keys of the users' tokens (JWT, RS256 and ES256), PEM or JWKS, reloaded when it changes."
    )]
    public string JwtKeys { get; set; } = "";

    [Description("The `iss` that tokens must have.")]
    public string JwtIssuer { get; set; } = "";

    [Description("The `aud` that tokens must have.")]
    public string JwtAudience { get; set; } = "";

    [Description(
        "A URL that is asked who has a cookie or a token that is no JWT, and whether a user may join a room "
            + "(docs/access.md)."
    )]
    public string AuthorizeUrl { get; set; } = "";

    [Description("Whether tokens are accepted as ?access_token=, for pages that stream /events. Proxies log URLs.")]
    public bool TokenInQuery { get; set; }

    [Description(
        "Messages that one key, one user, or else one address may publish in a second; a registration counts as "
            + "one. 0 is no limit."
    )]
    [Range(0, 10_000_000)]
    [Elsewhere(2_000)]
    public int PublishRate { get; set; }

    [Description("Rooms that one key, one user, or else one address may join in a second. 0 is no limit.")]
    [Range(0, 10_000_000)]
    [Elsewhere(1_000)]
    public int JoinRate { get; set; }

    [Description("Refused keys and tokens of one address in a second; more are answered 429. 0 is no limit.")]
    [Range(0, 10_000_000)]
    [Elsewhere(20)]
    public int FailureRate { get; set; }

    [Description("Sockets that one address may open in a second without credentials. 0 is no limit.")]
    [Range(0, 10_000_000)]
    [Elsewhere(20)]
    public int HandshakeRate { get; set; }

    [Description("Sessions of one address, of IPv6 of one /64; one more is refused with 503. 0 is no limit.")]
    [Range(0, 10_000_000)]
    public int MaxSessionsPerAddress { get; set; }

    /// <summary>Whether keys, tokens or a URL to ask are configured, so that callers have to authenticate.</summary>
    public bool HasCredentials => Keys.Length + KeysFile.Length + AuthorizeUrl.Length > 0 || HasTokens;

    /// <summary>Whether tokens of users are configured.</summary>
    public bool HasTokens => JwtSecret.Length + JwtSecretFile.Length + JwtKeys.Length > 0;
}

/// <summary>Declares the default of a setting on a node that listens on more than loopback.</summary>
[AttributeUsage(AttributeTargets.Property)]
internal sealed class ElsewhereAttribute(int value) : Attribute
{
    /// <summary>The default, in the unit of the setting.</summary>
    public int Value { get; } = value;
}
