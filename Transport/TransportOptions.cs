using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Transport;

/// <summary>Settings of TCP connections, independent of their protocol.</summary>
internal sealed class TransportOptions
{
    [Description("Limit for the first byte of a new connection, and for the headers of a request or handshake.")]
    [Range(1, 300)]
    public TimeSpan HeadersTimeout { get; set; } = TimeSpan.FromSeconds(10);

    [Description("Connections per address (IPv6: per /64); a further one is accepted and closed. 0 is no limit.")]
    [Range(0, 10_000_000)]
    public int MaxConnectionsPerAddress { get; set; }
}
