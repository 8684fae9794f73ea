using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Dmb.Tests.Support;

/// <summary>Certificates for servers of tests.</summary>
public static class Certificates
{
    /// <summary>What a redis-server is started with to serve TLS with these files, and to ask for no certificate.</summary>
    public static string[] ForRedis(int port, (string Authority, string Certificate, string Key) files) =>
        [
            "--tls-port",
            $"{port}",
            "--tls-cert-file",
            files.Certificate,
            "--tls-key-file",
            files.Key,
            "--tls-ca-cert-file",
            files.Authority,
            "--tls-auth-clients",
            "no",
        ];

    /// <summary>An authority of our own, and a certificate by it for localhost, as PEM files.</summary>
    public static (string Authority, string Certificate, string Key) Write(string directory)
    {
        var (from, until) = (TimeProvider.System.GetUtcNow().AddDays(-1), TimeProvider.System.GetUtcNow().AddDays(1));
        using var authorityKey = RSA.Create(2048);
        var authority = new CertificateRequest(
            "CN=test authority",
            authorityKey,
            HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1
        );
        authority.CertificateExtensions.Add(
            new X509BasicConstraintsExtension(certificateAuthority: true, false, 0, critical: true)
        );
        authority.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true)
        );
        using var signer = authority.CreateSelfSigned(from, until);

        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        request.CertificateExtensions.Add(names.Build());
        using var certificate = request.Create(signer, from, until, [1, 2, 3, 4]);

        return (
            Save("ca.pem", signer.ExportCertificatePem()),
            Save("redis.pem", certificate.ExportCertificatePem()),
            Save("redis.key", key.ExportPkcs8PrivateKeyPem())
        );

        string Save(string name, string pem)
        {
            var path = Path.Combine(directory, name);
            File.WriteAllText(path, pem);
            return path;
        }
    }
}
