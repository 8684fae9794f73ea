using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>
/// Which pages may use the broker: its own and the allowed ones. A page from somewhere else must not be able to publish
/// through its visitor's localhost.
/// </summary>
internal sealed class OriginCheck(BrokerOptions options)
{
    private readonly HashSet<string> _allowed = new(options.AllowedOrigins, StringComparer.OrdinalIgnoreCase);
    private readonly bool _isLoopback = Settings.IsLoopback(options);

    /// <summary>Whether a request comes from no page at all, from one of the broker's, or from an allowed one (RFC 6454).</summary>
    public bool Allows(HttpRequest request)
    {
        if (!request.Headers.TryGetValue("Origin", out var header))
        {
            return true;
        }

        var origin = header.ToString();
        if (_allowed.Contains(origin))
        {
            return true;
        }

        // On loopback a name that somebody pointed at this machine is not the broker's own.
        var isKnownHost = !_isLoopback || request.Host.Host is "localhost" or "127.0.0.1" or "[::1]" or "::1";
        return isKnownHost && origin.Equals($"{request.Scheme}://{request.Host}", StringComparison.OrdinalIgnoreCase);
    }
}

/// <summary>Refuses requests of foreign pages before their bodies are read.</summary>
internal static class OriginMiddleware
{
    /// <summary>Everything but /ws, which tells the page itself (close code 4003).</summary>
    public static void UseOriginCheck(this WebApplication app)
    {
        var origins = app.Services.GetRequiredService<OriginCheck>();
        app.Use((context, next) =>
        {
            return context.Request.Path == "/ws" || origins.Allows(context.Request)
                ? next(context)
                : throw new RefusedException(ErrorCode.ForbiddenOrigin, "Pages of this origin may not use the broker; DMB_ALLOWED_ORIGINS names those that may.");
        });
    }
}
