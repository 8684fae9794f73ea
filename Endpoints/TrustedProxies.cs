using System.Net;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.Extensions.Options;

namespace Dmb.Endpoints;

/// <summary>
/// Applies <c>X-Forwarded-For</c>, <c>-Proto</c> and <c>-Host</c> of the proxies in <c>DMB_TRUSTED_PROXIES</c> by the
/// framework's middleware, for Kestrel and the fast path.
/// </summary>
internal sealed class TrustedProxies
{
    private readonly ForwardedHeadersMiddleware? _middleware;

    public TrustedProxies(HttpOptions options, ILoggerFactory loggers)
    {
        if (options.TrustedProxies.Length > 0)
        {
            _middleware = new ForwardedHeadersMiddleware(
                static _ => Task.CompletedTask,
                loggers,
                Options.Create(Read(options.TrustedProxies))
            );
        }
    }

    /// <summary>Whether any proxy is trusted.</summary>
    public bool IsOn => _middleware is not null;

    /// <summary>Sets a request's scheme, host and address from the headers of trusted proxies.</summary>
    public void Apply(HttpContext context) => _middleware?.ApplyForwarders(context);

    /// <summary>
    /// The client's address for a request with <c>X-Forwarded-For</c>, and nothing else that an address depends on.
    /// </summary>
    /// <param name="peer">The connection's peer.</param>
    /// <param name="forwardedFor">The header's value.</param>
    public IPAddress? ClientOf(IPEndPoint? peer, string forwardedFor)
    {
        var context = new DefaultHttpContext();
        (context.Connection.RemoteIpAddress, context.Connection.RemotePort) = (peer?.Address, peer?.Port ?? 0);
        context.Request.Headers["X-Forwarded-For"] = forwardedFor;
        Apply(context);
        return context.Connection.RemoteIpAddress;
    }

    private static ForwardedHeadersOptions Read(string[] proxies)
    {
        var forwarded = new ForwardedHeadersOptions
        {
            ForwardedHeaders =
                ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto | ForwardedHeaders.XForwardedHost,

            // All trusted hops, up to the first untrusted address.
            ForwardLimit = null,
        };
        forwarded.KnownProxies.Clear();
        forwarded.KnownIPNetworks.Clear();
        foreach (var proxy in proxies)
        {
            if (IPAddress.TryParse(proxy, out var address))
            {
                forwarded.KnownProxies.Add(address);
            }
            else
            {
                forwarded.KnownIPNetworks.Add(System.Net.IPNetwork.Parse(proxy));
            }
        }

        return forwarded;
    }
}
