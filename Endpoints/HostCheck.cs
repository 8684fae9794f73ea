using System.Net;
using System.Text;
using Dmb.Access;
using Dmb.Routing;

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

/// <summary>Middleware for all requests: host check, HEAD, and rules of HTTP/1.0.</summary>
internal static class HttpEdges
{
    /// <summary>
    /// Checks the host of the request itself, before forwarded headers apply, which a page could send.
    /// </summary>
    public static void UseHostCheck(this WebApplication app)
    {
        var hosts = app.Services.GetRequiredService<HostCheck>();
        if (!hosts.IsOn)
        {
            return;
        }

        app.Use(
            (context, next) =>
            {
                if (hosts.Allows(context.Request.Host))
                {
                    return next(context);
                }

                Problems.CloseIfUnread(context);
                return Problems.WriteAsync(
                    context,
                    StatusCodes.Status421MisdirectedRequest,
                    ErrorCode.ForbiddenHost,
                    "This node does not serve that host; DMB_ALLOWED_HOSTS names those that it serves."
                );
            }
        );
    }

    /// <summary>
    /// Answers HEAD as GET without a body (RFC 9110 §9.3.2), except for streams. Closes the connection after a request
    /// of HTTP/1.0 with <c>Transfer-Encoding</c> (RFC 9112 §6.1).
    /// </summary>
    public static void UseHttpRules(this WebApplication app) =>
        app.Use(
            (context, next) =>
            {
                var request = context.Request;
                if (HttpMethods.IsHead(request.Method) && !EventStreamSession.IsStream(request.Path))
                {
                    // Kestrel keeps the original method, and sends no body.
                    request.Method = HttpMethods.Get;
                }

                if (request.Headers.TransferEncoding.Count > 0 && HttpProtocol.IsHttp10(request.Protocol))
                {
                    context.Response.Headers.Connection = "close";
                }

                return next(context);
            }
        );

    /// <summary>Adds security headers of pages: no framing, no content sniffing, no referrer.</summary>
    public static void AddPageHeaders(IHeaderDictionary headers)
    {
        headers.ContentSecurityPolicy = "frame-ancestors 'none'";
        headers.XFrameOptions = "DENY";
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
    }
}
