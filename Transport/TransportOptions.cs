using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Transport;

/// <summary>Settings of connections, before and beside the protocol that they speak.</summary>
internal sealed class TransportOptions
{
    [Description(
        "How long a new connection may take to say something, and a request, or a handshake, to have sent its headers."
    )]
    [Range(1, 300)]
    public TimeSpan HeadersTimeout { get; set; } = TimeSpan.FromSeconds(10);

    [Description(
        "Connections of one address, of IPv6 of one /64; a further one is accepted and closed. 0 is no limit."
    )]
    [Range(0, 10_000_000)]
    public int MaxConnectionsPerAddress { get; set; }
}
