using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Dmb.Tests.Support;

/// <summary>Tokens of users, made by hand so that they can also be wrong.</summary>
public static class Token
{
    /// <summary>The secret of HS256 that <see cref="Of"/> signs with.</summary>
    public const string Secret = "a secret of the tests, thirty-two bytes or more";

    /// <summary>A token of a user that <see cref="Secret"/> has signed.</summary>
    /// <param name="sub">The user.</param>
    /// <param name="expires">When it ends.</param>
    /// <param name="claims">More members of the payload, each <c>"name":value</c>.</param>
    public static string Of(string sub, DateTimeOffset expires, params string[] claims) =>
        WithClaims([
            $"\"sub\":\"{sub}\"",
            $"\"exp\":{expires.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture)}",
            .. claims,
        ]);

    /// <summary>A token of just these members, signed with <see cref="Secret"/>.</summary>
    public static string WithClaims(params string[] claims) => Make("""{"alg":"HS256","typ":"JWT"}""", claims, Hs256);

    /// <summary>A token with any header, signed in any way.</summary>
    public static string Make(string header, string[] claims, Func<byte[], byte[]> sign)
    {
        var signed =
            $"{Base64(Encoding.UTF8.GetBytes(header))}.{Base64(Encoding.UTF8.GetBytes($"{{{string.Join(',', claims)}}}"))}";
        return $"{signed}.{Base64(sign(Encoding.ASCII.GetBytes(signed)))}";
    }

    /// <summary>Signs with <see cref="Secret"/>.</summary>
    public static byte[] Hs256(byte[] bytes) => HMACSHA256.HashData(Encoding.UTF8.GetBytes(Secret), bytes);

    /// <summary>Base64 as JWTs have it (RFC 7515 §2).</summary>
    public static string Base64(byte[] bytes) =>
        Convert.ToBase64String(bytes).TrimEnd('=').Replace('+', '-').Replace('/', '_');
}
