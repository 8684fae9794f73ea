using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Connections.Features;

namespace Dmb.Endpoints;

/// <summary>Middleware for all requests, in the order of <c>Program.cs</c>.</summary>
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

    /// <summary>Applies forwarded headers of trusted proxies.</summary>
    public static void UseTrustedProxies(this WebApplication app)
    {
        var proxies = app.Services.GetRequiredService<TrustedProxies>();
        if (proxies.IsOn)
        {
            app.Use(
                (context, next) =>
                {
                    proxies.Apply(context);
                    return next(context);
                }
            );
        }
    }

    /// <summary>
    /// Collapses leading slashes: a client's base URL with a trailing slash yields <c>//_notify/…</c>.
    /// </summary>
    public static void UseBrokerPaths(this WebApplication app) =>
        app.Use(
            (context, next) =>
            {
                if (context.Request.Path.Value is ['/', '/', ..] path)
                {
                    // By the constructor, since the conversion from a string would decode the path again.
                    context.Request.Path = new PathString("/" + path.TrimStart('/'));
                }

                return next(context);
            }
        );

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

    /// <summary>Closes each connection after its response while the node drains.</summary>
    public static void UseDrain(this WebApplication app)
    {
        var sessions = app.Services.GetRequiredService<SessionTable>();
        app.Use(
            (context, next) =>
            {
                if (sessions.IsDraining)
                {
                    context.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
                }

                return next(context);
            }
        );
    }

    /// <summary>Adds security headers of pages: no framing, no content sniffing, no referrer.</summary>
    public static void AddPageHeaders(IHeaderDictionary headers)
    {
        headers.ContentSecurityPolicy = "frame-ancestors 'none'";
        headers.XFrameOptions = "DENY";
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
    }
}
