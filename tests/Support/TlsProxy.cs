using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.RegularExpressions;

namespace Dmb.Tests.Support;

/// <summary>
/// nginx or Apache in front of a node or two, with the file that deploy/ has for it and a certificate made for the
/// test.
/// </summary>
public sealed partial class TlsProxy : IAsyncDisposable
{
    private readonly ChildProcess _process;
    private readonly DirectoryInfo _directory;
    private readonly X509Certificate2 _certificate;

    private TlsProxy(ChildProcess process, DirectoryInfo directory, int port, X509Certificate2 certificate)
    {
        (_process, _directory, _certificate) = (process, directory, certificate);
        Url = new Uri($"https://localhost:{port}");
        Http = new HttpClient(
            new SocketsHttpHandler
            {
                SslOptions = { RemoteCertificateValidationCallback = (_, shown, _, _) => IsOurs(shown) },
            }
        )
        {
            Timeout = Node.Patience,
        };
    }

    public Uri Url { get; }

    /// <summary>The file of its certificate, which a program that is to trust it reads.</summary>
    public string CertificateFile => Path.Combine(_directory.FullName, "fullchain.pem");

    /// <summary>A client that knows its certificate, and takes no other.</summary>
    public HttpClient Http { get; }

    /// <summary>Whether a certificate is the one that was made for the test.</summary>
    public bool IsOurs(X509Certificate? shown) => shown?.GetCertHashString() == _certificate.GetCertHashString();

    /// <summary>Starts nginx or Apache as deploy/ has it.</summary>
    public static async Task<TlsProxy> StartAsync(string kind, params int[] nodePorts) =>
        await StartSiteAsync(
            kind,
            await File.ReadAllTextAsync(Path.Combine(Repository.Root, "deploy", kind + ".conf")),
            nodePorts
        );

    /// <summary>
    /// Starts nginx or Apache with a site like those in deploy/, whose nodes have the ports 8082 and 8083. A node that
    /// is alone takes the place of both, and is listed once.
    /// </summary>
    public static async Task<TlsProxy> StartSiteAsync(string kind, string site, params int[] nodePorts)
    {
        var directory = Directory.CreateTempSubdirectory("dmb-" + kind);
        var port = RedisServer.FreePort();
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.MaxValue.AddYears(-1));
        await File.WriteAllTextAsync(
            Path.Combine(directory.FullName, "fullchain.pem"),
            certificate.ExportCertificatePem()
        );
        await File.WriteAllTextAsync(Path.Combine(directory.FullName, "key.pem"), key.ExportPkcs8PrivateKeyPem());

        site = nodePorts.Length > 1 ? site : SecondInList().Replace(site, "$1");
        site = site.Replace("/etc/ssl/dmb", directory.FullName, StringComparison.Ordinal)
            .Replace(":8082", $":{nodePorts[0]}", StringComparison.Ordinal)
            .Replace(":8083", $":{nodePorts[^1]}", StringComparison.Ordinal)
            .Replace("listen 443", $"listen 127.0.0.1:{port}", StringComparison.Ordinal)
            .Replace("*:443", $"127.0.0.1:{port}", StringComparison.Ordinal);
        var process =
            kind == "nginx"
                ? await ReverseProxy.StartNginxAsync(directory.FullName, site)
                : await StartApacheAsync(directory.FullName, site, port);
        return new TlsProxy(process, directory, port, certificate);
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _process.DisposeAsync();
        _certificate.Dispose();
        _directory.Delete(recursive: true);
    }

    private static async Task<ChildProcess> StartApacheAsync(string directory, string site, int port)
    {
        var configuration = Path.Combine(directory, "main.conf");
        await File.WriteAllTextAsync(
            configuration,
            $"""
            ServerRoot {directory}
            ServerName localhost
            PidFile apache.pid
            DefaultRuntimeDir {directory}
            Mutex file:{directory}
            ErrorLog /proc/self/fd/2
            LogLevel notice
            User www-data
            Group www-data
            {string.Join('\n', ((string[])["mpm_event", "authz_core", "socache_shmcb", "slotmem_shm", "ssl", "headers", "rewrite", "proxy", "proxy_http", "proxy_wstunnel", "proxy_balancer", "lbmethod_byrequests"])
                .Select(module => $"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so"))}
            Listen 127.0.0.1:{port}
            {site}
            """
        );

        // Logged once it listens.
        return await ChildProcess.StartAsync(
            "/usr/sbin/apache2",
            ["-f", configuration, "-D", "FOREGROUND"],
            directory,
            "resuming normal operations"
        );
    }

    [GeneratedRegex(@"(:8082.*\n).*:8083.*\n")]
    private static partial Regex SecondInList();
}
