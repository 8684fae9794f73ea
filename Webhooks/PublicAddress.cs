using System.Net;
using System.Net.Sockets;

namespace Dmb.Webhooks;

/// <summary>
/// Classifies addresses as public: all outside the registries of special-purpose addresses (RFC 6890, IANA), also where
/// an IPv6 address contains an IPv4 one.
/// </summary>
internal static class PublicAddress
{
    /// <summary>IPv4: RFC 6890 §2.2.2 and later; multicast (RFC 5771), reserved (RFC 1112 §4), broadcast.</summary>
    private static readonly IPNetwork[] Special4 =
    [
        .. Networks(
            "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
                + "192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 "
                + "198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
        ),
    ];

    /// <summary>IPv6: only 2000::/3 is allocated (RFC 4291 §2.4), except for these networks.</summary>
    private static readonly IPNetwork[] Special6 = [.. Networks("2001::/23 2001:db8::/32 2620:4f:8000::/48 3fff::/20")];

    private static readonly IPNetwork Unicast6 = IPNetwork.Parse("2000::/3");

    /// <summary>6to4 (RFC 3056 §2): the IPv4 address follows the first 16 bits.</summary>
    private static readonly IPNetwork SixToFour = IPNetwork.Parse("2002::/16");

    /// <summary>NAT64 (RFC 6052 §2.1): the IPv4 address is the last 32 bits.</summary>
    private static readonly IPNetwork Nat64 = IPNetwork.Parse("64:ff9b::/96");

    /// <summary>Whether an address is public.</summary>
    public static bool Is(IPAddress address)
    {
        if (address.AddressFamily == AddressFamily.InterNetwork)
        {
            return !Special4.Any(network => network.Contains(address));
        }

        if (address.IsIPv4MappedToIPv6)
        {
            return Is(address.MapToIPv4());
        }

        var bytes = address.GetAddressBytes();
        return Nat64.Contains(address) ? Is(new IPAddress(bytes.AsSpan(12, 4)))
            : SixToFour.Contains(address) ? Is(new IPAddress(bytes.AsSpan(2, 4)))
            : address.ScopeId == 0 && Unicast6.Contains(address) && !Special6.Any(network => network.Contains(address));
    }

    private static IEnumerable<IPNetwork> Networks(string list) => list.Split(' ').Select(IPNetwork.Parse);
}
