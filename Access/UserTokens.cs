using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Dmb.Routing;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Dmb.Access;

/// <summary>
/// Validates users' tokens: JWTs (RFC 7519) signed with a secret (HS256) or a private key (RS256, ES256) whose public
/// key is in a file.
/// </summary>
internal sealed class UserTokens
{
    /// <summary>Minimum bytes of the HS256 secret (RFC 7518 §3.2).</summary>
    public const int SecretBytesMin = 32;

    /// <summary>Describes the form of a file of public keys in error texts.</summary>
    public const string KeysForm =
        "PEM blocks of public keys or certificates, or a JWKS; RSA of 2048 bits or more, or EC on P-256";

    private const int RsaBitsMin = 2_048;
    private const int TokenLengthMax = 16_384;

    /// <summary>Tolerance for a node's clock that is behind the issuer's.</summary>
    private static readonly TimeSpan Skew = TimeSpan.FromMinutes(1);

    private readonly JsonWebTokenHandler _handler = new()
    {
        MapInboundClaims = false,
        MaximumTokenSizeInBytes = TokenLengthMax,
    };
    private readonly AccessOptions _options;
    private readonly RoutingOptions _routing;
    private readonly TimeProvider _time;
    private readonly Lock _replacing = new();
    private SymmetricSecurityKey[] _secret;
    private IReadOnlyList<SecurityKey> _publicKeys = [];
    private volatile TokenValidationParameters _parameters;

    public UserTokens(AccessOptions options, RoutingOptions routing, TimeProvider time)
    {
        (_options, _routing, _time) = (options, routing, time);
        _secret = options.JwtSecret.Length == 0 ? [] : [ReadSecret(options.JwtSecret)];
        _parameters = Parameters();
    }

    /// <summary>Replaces the public keys.</summary>
    public void Replace(IReadOnlyList<SecurityKey> keys)
    {
        lock (_replacing)
        {
            _publicKeys = keys;
            _parameters = Parameters();
        }
    }

    /// <summary>Replaces the secret of HS256.</summary>
    public void Replace(SymmetricSecurityKey secret)
    {
        lock (_replacing)
        {
            _secret = [secret];
            _parameters = Parameters();
        }
    }

    /// <summary>
    /// Parses the HS256 secret; surrounding white space, such as a file's last line break, is trimmed.
    /// </summary>
    /// <exception cref="FormatException">It has fewer than <see cref="SecretBytesMin"/> bytes.</exception>
    public static SymmetricSecurityKey ReadSecret(string text)
    {
        var secret = Encoding.UTF8.GetBytes(text.Trim());
        return secret.Length >= SecretBytesMin
            ? new SymmetricSecurityKey(secret)
            : throw new FormatException($"the secret has fewer than {SecretBytesMin} bytes");
    }

    /// <summary>Validates a token and returns its user.</summary>
    /// <exception cref="RefusedException">
    /// <c>token_expired</c>, or <c>unauthenticated</c> for any other fault, which is not disclosed.
    /// </exception>
    public async ValueTask<Caller> ReadAsync(string token)
    {
        var result = await _handler.ValidateTokenAsync(token, _parameters);
        if (result.Exception is SecurityTokenExpiredException)
        {
            throw new RefusedException(ErrorCode.TokenExpired, "The token has expired; get a new one.");
        }

        return
            result is { IsValid: true, SecurityToken: JsonWebToken read }
            && !HasCritical(read)
            && UserOf(read) is { } user
            ? user
            : throw new RefusedException(ErrorCode.Unauthenticated, "The token is not accepted.");
    }

    /// <summary>Parses a file of public keys.</summary>
    /// <exception cref="FormatException">The text is invalid; the message has the reason.</exception>
    public static IReadOnlyList<SecurityKey> ReadKeys(string text)
    {
        try
        {
            var keys = text.AsSpan().TrimStart() is ['{', ..] ? ReadJwks(text) : ReadPem(text);
            return keys.Count > 0 ? keys : throw new FormatException("there is no key in it");
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or JsonException)
        {
            throw new FormatException($"a key in it can't be read: {e.Message}", e);
        }
    }

    /// <summary>
    /// Whether the header has a <c>crit</c> member (RFC 7515 §4.1.11): such a token is rejected, since the broker
    /// supports no extensions.
    /// </summary>
    private bool HasCritical(JsonWebToken token)
    {
        var header = Base64UrlEncoder.DecodeBytes(token.EncodedHeader);
        return !JsonMembers.Read(header, _routing.MaxJsonDepth, ErrorCode.Unauthenticated).Raw("crit").IsEmpty;
    }

    /// <summary>
    /// Parses the claims from the JSON, since the handler converts types: the number 12 to <c>"12"</c>, <c>"true"</c>
    /// to true.
    /// </summary>
    private Caller? UserOf(JsonWebToken token)
    {
        var claims = JsonMembers.Read(
            Base64UrlEncoder.DecodeBytes(token.EncodedPayload),
            _routing.MaxJsonDepth,
            ErrorCode.Unauthenticated
        );
        var isText = claims.Raw("sub").Span is [(byte)'"', ..];
        return isText && claims.TextOrNull("sub") is { } name && Names.IsUser(name)
            ? Caller.User(
                name,
                claims.Raw("admin").Span.SequenceEqual("true"u8),
                Texts(claims.Raw("roles").Span),
                new DateTimeOffset(token.ValidTo, TimeSpan.Zero)
            )
            : null;
    }

    /// <summary>The strings of an array, or a single string.</summary>
    private List<string> Texts(ReadOnlySpan<byte> json)
    {
        var texts = new List<string>();
        var reader = new Utf8JsonReader(
            json.IsEmpty ? "null"u8 : json,
            new JsonReaderOptions { MaxDepth = _routing.MaxJsonDepth }
        );
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            Add(ref reader);
            return texts;
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            Add(ref reader);
            reader.Skip();
        }

        return texts;

        void Add(ref Utf8JsonReader reader)
        {
            if (reader.TokenType == JsonTokenType.String && JsonText.Read(ref reader) is { } text)
            {
                texts.Add(text);
            }
        }
    }

    private static List<SecurityKey> ReadJwks(string text) =>
        [
            .. new JsonWebKeySet(text)
                .Keys.Where(key => key.Kty is "RSA" or "EC" && key.Use is null or "" or "sig")
                .Select(key => Checked(key, key.KeySize)),
        ];

    private static List<SecurityKey> ReadPem(string text)
    {
        var keys = new List<SecurityKey>();
        var rest = text.AsSpan();
        while (PemEncoding.TryFind(rest, out var block))
        {
            var pem = rest[block.Location];
            keys.Add(
                rest[block.Label] switch
                {
                    "CERTIFICATE" => Certified(pem),
                    "RSA PUBLIC KEY" => Rsa(pem),
                    "PUBLIC KEY" => Public(pem),
                    var label => throw new FormatException($"it has a {label}; it takes {KeysForm}"),
                }
            );
            rest = rest[block.Location.End..];
        }

        return keys;
    }

    private static SecurityKey Certified(ReadOnlySpan<char> pem)
    {
        using var certificate = X509Certificate2.CreateFromPem(pem);
        return certificate.GetRSAPublicKey() is { } rsa
            ? Checked(new RsaSecurityKey(rsa), rsa.KeySize)
            : Checked(
                new ECDsaSecurityKey(
                    certificate.GetECDsaPublicKey() ?? throw new FormatException($"it takes {KeysForm}")
                ),
                0
            );
    }

    private static SecurityKey Public(ReadOnlySpan<char> pem)
    {
        var ec = ECDsa.Create();
        try
        {
            ec.ImportFromPem(pem);
            return Checked(new ECDsaSecurityKey(ec), 0);
        }
        catch (CryptographicException)
        {
            // Not an EC key.
            ec.Dispose();
            return Rsa(pem);
        }
    }

    private static SecurityKey Rsa(ReadOnlySpan<char> pem)
    {
        var rsa = RSA.Create();
        rsa.ImportFromPem(pem);
        return Checked(new RsaSecurityKey(rsa), rsa.KeySize);
    }

    private static SecurityKey Checked(SecurityKey key, int rsaBits)
    {
        var isGood = key switch
        {
            ECDsaSecurityKey { ECDsa.KeySize: var bits } => bits == 256,
            JsonWebKey { Kty: "EC", Crv: var curve } => curve == "P-256",
            _ => rsaBits >= RsaBitsMin,
        };
        return isGood
            ? key
            : throw new FormatException($"a key in it is too weak, or on another curve; it takes {KeysForm}");
    }

    private TokenValidationParameters Parameters() =>
        new()
        {
            // Each algorithm has its own type of key, which prevents algorithm confusion (RFC 8725 §3.1).
            ValidAlgorithms =
            [
                .. _secret.Length > 0 ? [SecurityAlgorithms.HmacSha256] : (string[])[],
                .. _publicKeys.Count > 0
                    ? [SecurityAlgorithms.RsaSha256, SecurityAlgorithms.EcdsaSha256]
                    : (string[])[],
            ],
            IssuerSigningKeys = [.. _secret, .. _publicKeys],
            RequireSignedTokens = true,
            RequireExpirationTime = true,
            ValidateIssuer = _options.JwtIssuer.Length > 0,
            ValidIssuer = _options.JwtIssuer,
            ValidateAudience = _options.JwtAudience.Length > 0,
            ValidAudience = _options.JwtAudience,
            LifetimeValidator = IsNow,
        };

    /// <summary>
    /// Validates the lifetime by the node's clock without tolerance for expiry, since a session ends with its token.
    /// </summary>
    private bool IsNow(DateTime? from, DateTime? until, SecurityToken token, TokenValidationParameters parameters)
    {
        var now = _time.GetUtcNow().UtcDateTime;
        return until is not null && until <= now
            ? throw new SecurityTokenExpiredException()
            : until is not null && (from is null || from <= now + Skew);
    }
}
