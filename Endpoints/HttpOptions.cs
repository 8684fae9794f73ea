using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Net;

namespace Dmb.Endpoints;

/// <summary>
/// Settings of the HTTP server: where it listens, which pages and proxies it believes, the limits of a batch.
/// </summary>
internal sealed class HttpOptions
{
    [Description("Port to listen on; 0 takes any free one. Without it, PORT is taken.")]
    [Range(0, 65_535)]
    public int Port { get; set; } = 8082;

    [Description("Address to listen on: an IP address, localhost, or * for all.")]
    public string Host { get; set; } = "127.0.0.1";

    [Description("Origins of pages that may use the broker besides its own, e.g. https://desk.example.com.")]
    public string[] AllowedOrigins { get; set; } = [];

    /// <summary>
    /// The allowed origins as browsers send them: the host in its ASCII form (RFC 5891, RFC 6454 §6.2).
    /// </summary>
    public string[] AsciiOrigins => [.. AllowedOrigins.Select(ToAscii)];

    [Description(
        "Reverse proxies whose X-Forwarded-For, -Proto and -Host are believed: IP addresses, or networks such as "
            + "10.0.0.0/8."
    )]
    public string[] TrustedProxies { get; set; } = [];

    [Description(
        "Names that `Host` may have besides loopback's, on a node on loopback that asks for no credentials; on any "
            + "other node, if set, the only ones besides loopback's."
    )]
    public string[] AllowedHosts { get; set; } = [];

    [Description("Bytes of bodies that have come in part, over all connections; beyond that a push is answered 503.")]
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

    /// <summary>The address to listen on; null stands for all addresses.</summary>
    public IPAddress? Address =>
        Host switch
        {
            "localhost" => IPAddress.Loopback,
            "*" or "+" => null,
            var host => IPAddress.Parse(host),
        };

    /// <summary>Whether only this machine can reach the node.</summary>
    public bool IsLoopback => Address is { } address && IPAddress.IsLoopback(address);

    private static string ToAscii(string origin)
    {
        var uri = new Uri(origin);
        return uri.HostNameType == UriHostNameType.Dns
            ? origin.Replace(uri.Host, uri.IdnHost, StringComparison.Ordinal)
            : origin;
    }
}
