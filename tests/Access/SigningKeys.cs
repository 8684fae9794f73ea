using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Dmb.Tests.Access;

/// <summary>Keys that tokens are signed with, and the public halves as a node is given them.</summary>
public sealed class SigningKeys : IDisposable
{
    public RSA Rsa { get; } = RSA.Create(2_048);

    public RSA OtherRsa { get; } = RSA.Create(2_048);

    public ECDsa Ec { get; } = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public ECDsa OtherEc { get; } = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    /// <summary>Both as PEM, with the words around them that openssl prints.</summary>
    public string Pem =>
        $"Public keys\n{Rsa.ExportSubjectPublicKeyInfoPem()}\nand\n{Ec.ExportSubjectPublicKeyInfoPem()}\n";

    /// <summary>Both as a JWKS (RFC 7517 §5), and with more keys.</summary>
    public string Jwks(params string[] more)
    {
        var (rsa, ec) = (Rsa.ExportParameters(false), Ec.ExportParameters(false));
        string[] keys =
        [
            $$"""{"kty":"RSA","kid":"r1","use":"sig","alg":"RS256","n":"{{Token.Base64(rsa.Modulus!)}}","e":"{{Token.Base64(rsa.Exponent!)}}"}""",
            $$"""{"kty":"EC","kid":"e1","crv":"P-256","x":"{{Token.Base64(ec.Q.X!)}}","y":"{{Token.Base64(ec.Q.Y!)}}"}""",
            .. more,
        ];
        return $$"""{"keys":[{{string.Join(',', keys)}}]}""";
    }

    /// <summary>A certificate of the RSA key, and one of the EC key.</summary>
    public string Certificates()
    {
        var until = new DateTimeOffset(2036, 1, 1, 0, 0, 0, TimeSpan.Zero);
        using var rsa = new CertificateRequest(
            "CN=rsa",
            Rsa,
            HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1
        ).CreateSelfSigned(until.AddYears(-20), until);
        using var ec = new CertificateRequest("CN=ec", Ec, HashAlgorithmName.SHA256).CreateSelfSigned(
            until.AddYears(-20),
            until
        );
        return rsa.ExportCertificatePem() + "\n" + ec.ExportCertificatePem();
    }

    public static byte[] Rs256(RSA key, byte[] bytes) =>
        key.SignData(bytes, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);

    public static byte[] Es256(ECDsa key, byte[] bytes) => key.SignData(bytes, HashAlgorithmName.SHA256);

    public void Dispose()
    {
        Rsa.Dispose();
        OtherRsa.Dispose();
        Ec.Dispose();
        OtherEc.Dispose();
    }
}
