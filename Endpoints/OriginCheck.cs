using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>
/// Which pages may use the broker: its own and the allowed ones. A page from somewhere else must not be able to publish
/// through its visitor's localhost.
/// </summary>
internal sealed class OriginCheck(HttpOptions options)
{
    private readonly HashSet<string> _allowed = new(options.AsciiOrigins, StringComparer.OrdinalIgnoreCase);
    private readonly bool _isLoopback = options.IsLoopback;

    /// <summary>
    /// Whether a request comes from no page at all, from one of the broker's, or from an allowed one (RFC 6454).
    /// </summary>
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

        // The Host is not asked: it may be a foreign name that points at this machine.
        var local = port == 80 ? "" : $":{port}";
        return origin == "http://localhost" + local
            || origin == "http://127.0.0.1" + local
            || origin == "http://[::1]" + local;
    }
}

/// <summary>Refuses requests of foreign pages before their bodies are read.</summary>
internal static class OriginMiddleware
{
    /// <summary>
    /// The framework's CORS, for requests of pages: it would make a service scope for each of the others too.
    /// </summary>
    public static void UseCrossOrigin(this WebApplication app) =>
        app.UseWhen(
            context => context.Request.Headers.Origin.Count > 0 && !SocketIoEndpoints.IsSocketIo(context.Request),
            pages => pages.UseCors()
        );

    /// <summary>Everything but /ws, which tells the page itself (close code 4003).</summary>
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
