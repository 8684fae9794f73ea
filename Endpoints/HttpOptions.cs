using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Net;

namespace Dmb.Endpoints;

/// <summary>Settings of the HTTP server: address, trusted origins and proxies, limits of bodies and batches.</summary>
internal sealed class HttpOptions
{
    [Description("Port to listen on; 0 selects a free one. If unset, PORT applies.")]
    [Range(0, 65_535)]
    public int Port { get; set; } = 8082;

    [Description("Address to listen on: an IP address, localhost, or * for all.")]
    public string Host { get; set; } = "127.0.0.1";

    [Description("Origins of pages that may use the broker besides its own, e.g. https://desk.example.com.")]
    public string[] AllowedOrigins { get; set; } = [];

    /// <summary>The allowed origins as browsers send them, with the host in ASCII (RFC 5891, RFC 6454 §6.2).</summary>
    public string[] AsciiOrigins => [.. AllowedOrigins.Select(ToAscii)];

    [Description(
        "Trusted reverse proxies, whose X-Forwarded-For, -Proto and -Host apply: IP addresses, or networks such as "
            + "10.0.0.0/8."
    )]
    public string[] TrustedProxies { get; set; } = [];

    [Description(
        "Names that `Host` may have besides loopback's, on a node on loopback without credentials; on any other "
            + "node, if "
            + "set, the only ones besides loopback's."
    )]
    public string[] AllowedHosts { get; set; } = [];

    [Description("Bytes of incomplete bodies over all connections; past that a push is answered 503.")]
    [Range(65_536, 1_073_741_824)]
    public int MaxUnfinishedBytes { get; set; } = 33_554_432;

    [Description("Whether single pushes are answered before Kestrel, for less CPU; the answers are the same.")]
    [AllowedValues("on", "off")]
    public string FastPath { get; set; } = "on";

    [Description("Bytes of the body of a batch.")]
    [Range(64, 67_108_864)]
    public int MaxBatchBytes { get; set; } = 4_194_304;

    [Description("Items of one batch.")]
    [Range(1, 10_000)]
    public int MaxBatchItems { get; set; } = 100;

    /// <summary>The address to listen on; null for all addresses.</summary>
    public IPAddress? Address =>
        Host switch
        {
            "localhost" => IPAddress.Loopback,
            "*" or "+" => null,
            var host => IPAddress.Parse(host),
        };

    /// <summary>Whether the node listens on loopback only.</summary>
    public bool IsLoopback => Address is { } address && IPAddress.IsLoopback(address);

    private static string ToAscii(string origin)
    {
        var uri = new Uri(origin);
        return uri.HostNameType == UriHostNameType.Dns
            ? origin.Replace(uri.Host, uri.IdnHost, StringComparison.Ordinal)
            : origin;
    }
}
