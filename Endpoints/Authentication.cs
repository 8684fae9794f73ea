using System.Text;
using Dmb.Access;
using Dmb.Routing;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Authorization.Policy;

namespace Dmb.Endpoints;

/// <summary>Who is calling over HTTP: the credentials of a request (docs/protocol.md §10).</summary>
internal sealed class Authentication(Credentials credentials, AccessRules rules, BrokerOptions options)
{
    /// <summary>What a WebSocket's subprotocol begins with that is a token: a page can't set headers.</summary>
    private const string SubprotocolPrefix = "bearer.";

    /// <summary>
    /// Whoever a request says it is from: <c>Authorization</c> as Bearer (RFC 6750 §2.1) or Basic (RFC 7617), <c>X-Api-Key</c>, a
    /// WebSocket's subprotocol, and a token in the query where that is allowed.
    /// </summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c> or <c>token_expired</c>.</exception>
    public ValueTask<Caller> ReadAsync(HttpRequest request)
    {
        if (!rules.IsOn)
        {
            return new(Caller.TrustedHost);
        }

        var header = request.Headers.Authorization.ToString();
        if (header.Length > 0)
        {
            return header.Split(' ', 2, StringSplitOptions.TrimEntries) switch
            {
                [var scheme, var shown] when scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase) => credentials.FindAsync(shown),
                [var scheme, var shown] when scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase) => new(Basic(shown)),
                _ => throw new RefusedException(ErrorCode.Unauthenticated, "Authorization is Bearer and a key or token, or Basic with a key's name and secret."),
            };
        }

        if (request.Headers["X-Api-Key"].ToString() is { Length: > 0 } key)
        {
            return new(credentials.FindKey(key));
        }

        if (request.HttpContext.WebSockets.WebSocketRequestedProtocols.FirstOrDefault(IsBearer) is { } protocol)
        {
            return credentials.FindAsync(protocol[SubprotocolPrefix.Length..]);
        }

        if (request.Query["access_token"].ToString() is not { Length: > 0 } token)
        {
            return new(Caller.Anonymous);
        }

        return options.TokenInQuery && Credentials.IsToken(token)
            ? credentials.FindAsync(token)
            : throw new RefusedException(ErrorCode.Unauthenticated, "No key is taken from a URL, and a token only where DMB_TOKEN_IN_QUERY allows it.");
    }

    private static bool IsBearer(string protocol) => protocol.StartsWith(SubprotocolPrefix, StringComparison.Ordinal);

    private Caller Basic(string shown)
    {
        var bytes = new byte[shown.Length];
        var text = Convert.TryFromBase64String(shown, bytes, out var length) ? Encoding.UTF8.GetString(bytes, 0, length) : "";
        return text.Split(':', 2) is [var name, var secret]
            ? credentials.FindKey(secret, name)
            : throw new RefusedException(ErrorCode.Unauthenticated, "The key is not accepted.");
    }
}

/// <summary>Asks who is calling, and refuses what they may not do, before a body is read.</summary>
internal static class AuthenticationMiddleware
{
    /// <summary>Who is calling this node.</summary>
    public static Caller Caller(this HttpContext context) => context.User as Caller ?? Access.Caller.TrustedHost;

    /// <summary>
    /// Every request has a caller, and every route that says what it needs gets it. All but /ws, which tells a page itself (close code
    /// 4000). Nothing of it is there where everybody is let in.
    /// </summary>
    public static void UseCallers(this WebApplication app)
    {
        if (!app.Services.GetRequiredService<AccessRules>().IsOn)
        {
            return;
        }

        var authentication = app.Services.GetRequiredService<Authentication>();
        app.Use(async (context, next) =>
        {
            try
            {
                context.User = Access.Caller.Anonymous;
                context.User = SocketEndpoints.IsSocket(context.Request) ? Access.Caller.Anonymous : await authentication.ReadAsync(context.Request);
            }
            catch (RefusedException)
            {
                Problems.CloseIfUnread(context);
                throw;
            }

            await next(context);
        });
    }

    /// <summary>The policies of routes, which come after routing.</summary>
    public static void UseRules(this WebApplication app)
    {
        if (app.Services.GetRequiredService<AccessRules>().IsOn)
        {
            app.UseAuthorization();
        }
    }

    /// <summary>Says what a route's callers need.</summary>
    public static TBuilder Requires<TBuilder>(this TBuilder route, Operation operation)
        where TBuilder : IEndpointConventionBuilder
    {
        route.Add(endpoint =>
        {
            endpoint.Metadata.Add(new Requirement(operation));
            if (endpoint.ApplicationServices.GetRequiredService<AccessRules>().IsOn)
            {
                endpoint.Metadata.Add(new AuthorizeAttribute(operation.ToString()));
            }
        });
        return route;
    }

    /// <summary>A policy that is not met is answered like any other refusal.</summary>
    internal sealed class Result : IAuthorizationMiddlewareResultHandler
    {
        public Task HandleAsync(RequestDelegate next, HttpContext context, AuthorizationPolicy policy, PolicyAuthorizationResult authorizeResult)
        {
            if (authorizeResult.Succeeded)
            {
                return next(context);
            }

            Problems.CloseIfUnread(context);
            AccessRules.DemandSomebody(context.Caller());
            throw authorizeResult.AuthorizationFailure!.FailureReasons.OfType<AccessRules.Refusal>().First().Refused;
        }
    }
}
