using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>
/// Decides which pages may use the broker: its own and those of allowed origins. A foreign page must not publish
/// through its visitor's localhost.
/// </summary>
internal sealed class OriginCheck(HttpOptions options)
{
    private readonly HashSet<string> _allowed = new(options.AsciiOrigins, StringComparer.OrdinalIgnoreCase);
    private readonly bool _isLoopback = options.IsLoopback;

    /// <summary>Whether a request has no origin, the broker's own, or an allowed one (RFC 6454).</summary>
    public bool Allows(HttpRequest request) =>
        request.Headers.Origin is not { Count: > 0 } header
        || Allows(header.ToString(), request.Scheme, request.Host.ToString(), request.HttpContext.Connection.LocalPort);

    private bool Allows(string origin, string scheme, string host, int port)
    {
        if (_allowed.Contains(origin))
        {
            return true;
        }

        if (!_isLoopback)
        {
            return origin.Equals($"{scheme}://{host}", StringComparison.OrdinalIgnoreCase);
        }

        // Independent of Host, which may be a foreign name that resolves to this machine.
        var local = port == 80 ? "" : $":{port}";
        return origin == "http://localhost" + local
            || origin == "http://127.0.0.1" + local
            || origin == "http://[::1]" + local;
    }
}

/// <summary>Refuses requests of foreign pages before their body is read.</summary>
internal static class OriginMiddleware
{
    /// <summary>
    /// Applies the framework's CORS to requests with an origin only, since it creates a service scope per request.
    /// </summary>
    public static void UseCrossOrigin(this WebApplication app) =>
        app.UseWhen(
            context => context.Request.Headers.Origin.Count > 0 && !SocketIoEndpoints.IsSocketIo(context.Request),
            pages => pages.UseCors()
        );

    /// <summary>Checks all requests except to /ws, which reports a refusal by close code 4003.</summary>
    public static void UseOriginCheck(this WebApplication app)
    {
        var origins = app.Services.GetRequiredService<OriginCheck>();
        app.Use(
            (context, next) =>
            {
                if (SocketEndpoints.IsSocket(context.Request) || origins.Allows(context.Request))
                {
                    return next(context);
                }

                Problems.CloseIfUnread(context);
                throw new RefusedException(
                    ErrorCode.ForbiddenOrigin,
                    "Pages of this origin may not use the broker; DMB_ALLOWED_ORIGINS names those that may."
                );
            }
        );
    }
}
