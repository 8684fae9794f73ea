using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace Dmb.Webhooks;

/// <summary>
/// Signs deliveries by Standard Webhooks 1.0 ("Signature scheme"): <c>v1,</c> and base64 of HMAC-SHA256 over
/// <c>id.timestamp.body</c>.
/// </summary>
internal static class WebhookSignature
{
    /// <summary>Describes the form of a secret in error texts.</summary>
    public const string SecretForm = "A secret is whsec_ and base64 of 24 to 64 bytes.";

    private const string Prefix = "whsec_";
    private const int BytesMin = 24;
    private const int BytesMax = 64;
    private const int BytesDefault = 32;

    public static string NewSecret() => Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(BytesDefault));

    /// <summary>Whether a text has the form of a secret.</summary>
    public static bool IsSecret(string text) => Key(text) is { Length: >= BytesMin and <= BytesMax };

    /// <summary>The value of <c>webhook-signature</c>: one signature per valid secret, separated by spaces.</summary>
    /// <param name="secrets">The secrets; those expired at <paramref name="now"/> are left out.</param>
    /// <param name="id">The value of <c>webhook-id</c>.</param>
    /// <param name="now">The value of <c>webhook-timestamp</c>, in seconds.</param>
    /// <param name="body">The body.</param>
    public static string Sign(WebhookSecret[] secrets, string id, DateTimeOffset now, ReadOnlySpan<byte> body)
    {
        var head = string.Create(CultureInfo.InvariantCulture, $"{id}.{now.ToUnixTimeSeconds()}.");
        var signed = ArrayPool<byte>.Shared.Rent(head.Length + body.Length);
        try
        {
            Encoding.ASCII.GetBytes(head, signed);
            body.CopyTo(signed.AsSpan(head.Length));
            var signatures = new StringBuilder();
            Span<byte> hash = stackalloc byte[HMACSHA256.HashSizeInBytes];
            foreach (var secret in secrets)
            {
                if (secret.Until is null || secret.Until > now)
                {
                    HMACSHA256.HashData(Key(secret.Text), signed.AsSpan(0, head.Length + body.Length), hash);
                    signatures.Append(signatures.Length == 0 ? "v1," : " v1,").Append(Convert.ToBase64String(hash));
                }
            }

            return signatures.ToString();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(signed);
        }
    }

    private static byte[]? Key(string text)
    {
        var key = new byte[BytesMax + 1];
        return
            text.StartsWith(Prefix, StringComparison.Ordinal)
            && Convert.TryFromBase64String(text[Prefix.Length..], key, out var length)
            ? key[..length]
            : null;
    }
}
