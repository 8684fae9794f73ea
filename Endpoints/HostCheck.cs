using System.Net;
using System.Text;
using Dmb.Access;

namespace Dmb.Endpoints;

/// <summary>
/// Decides which <c>Host</c> names are served. A node on loopback without credentials serves loopback names only,
/// against DNS rebinding: a foreign page could resolve its own name to 127.0.0.1 and read as same-origin.
/// <c>DMB_ALLOWED_HOSTS</c> adds names there, and restricts the names of any other node.
/// </summary>
internal sealed class HostCheck(HttpOptions options, AccessOptions access)
{
    private const string Loopback = "localhost";

    private readonly HashSet<string> _allowed = new(
        options.AllowedHosts.Concat(options.AsciiOrigins.Select(origin => new Uri(origin).Host)),
        StringComparer.OrdinalIgnoreCase
    );

    /// <summary>
    /// The host that the fast path allowed last, as received: most pushes of a node have the same one.
    /// </summary>
    private volatile byte[] _last = [];

    /// <summary>Whether hosts are restricted.</summary>
    public bool IsOn { get; } =
        options.AllowedHosts.Length > 0 || (options.IsLoopback && !access.HasCredentials && access.Auth != "none");

    /// <summary>Whether a request with this <c>Host</c> (RFC 9110 §7.2) is served. HTTP/1.0 needs none.</summary>
    public bool Allows(HostString host)
    {
        if (!IsOn || !host.HasValue)
        {
            return true;
        }

        var name = host.Host.Trim('[', ']').TrimEnd('.');
        return name.Equals(Loopback, StringComparison.OrdinalIgnoreCase)
            || name.EndsWith("." + Loopback, StringComparison.OrdinalIgnoreCase)
            || (IPAddress.TryParse(name, out var address) && IPAddress.IsLoopback(address))
            || _allowed.Contains(name);
    }

    /// <summary>Whether a request with this <c>Host</c>, in ASCII, is served.</summary>
    public bool Allows(ReadOnlySpan<byte> host)
    {
        if (!IsOn || host.SequenceEqual(_last))
        {
            return true;
        }

        if (!Allows(new HostString(Encoding.ASCII.GetString(host))))
        {
            return false;
        }

        _last = host.ToArray();
        return true;
    }
}
