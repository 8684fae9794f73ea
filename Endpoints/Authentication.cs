using System.Net;
using System.Text;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>The credentials of a request; absent ones are empty.</summary>
/// <param name="Authorization"><c>Authorization</c>: Bearer (RFC 6750 §2.1) or Basic (RFC 7617).</param>
/// <param name="ApiKey"><c>X-Api-Key</c>.</param>
/// <param name="Protocols">The WebSocket subprotocols, one of which can carry a token.</param>
/// <param name="Token"><c>access_token</c> of the query.</param>
/// <param name="Cookie"><c>Cookie</c>.</param>
internal readonly record struct ShownCredentials(
    string Authorization,
    string ApiKey,
    string Protocols = "",
    string Token = "",
    string Cookie = ""
);

/// <summary>Authenticates HTTP requests by their credentials (docs/protocol.md §10).</summary>
internal sealed class Authentication(Credentials credentials, AccessRules rules, Limits limits, AccessOptions options)
{
    /// <summary>Prefix of a WebSocket subprotocol that carries a token, since a page cannot set headers.</summary>
    private const string SubprotocolPrefix = "bearer.";

    /// <summary>Authenticates a request.</summary>
    /// <exception cref="RefusedException"><c>unauthenticated</c> or <c>token_expired</c>.</exception>
    public ValueTask<Caller> ReadAsync(HttpRequest request)
    {
        if (!rules.IsOn)
        {
            return new(Caller.TrustedHost);
        }

        var headers = request.Headers;
        return FindAsync(
            new ShownCredentials(
                headers.Authorization.ToString(),
                headers["X-Api-Key"].ToString(),
                headers.SecWebSocketProtocol.ToString(),
                request.Query["access_token"].ToString(),
                headers.Cookie.ToString()
            ),
            request.HttpContext.Connection.RemoteIpAddress
        );
    }

    /// <summary>Authenticates credentials.</summary>
    /// <param name="shown">The credentials.</param>
    /// <param name="address">The client's address, by which refused credentials are limited.</param>
    /// <exception cref="RefusedException">
    /// <c>unauthenticated</c>, <c>token_expired</c>, or <c>rate_limited</c> after too many refused ones of the address.
    /// </exception>
    public async ValueTask<Caller> FindAsync(ShownCredentials shown, IPAddress? address)
    {
        try
        {
            return await FindAsync(shown);
        }
        catch (RefusedException refused) when (refused.Code == ErrorCode.Unauthenticated)
        {
            limits.Failure(address);
            throw;
        }
    }

    private async ValueTask<Caller> FindAsync(ShownCredentials shown)
    {
        var (authorization, apiKey, protocols, token, cookie) = shown;
        if (authorization.Length > 0)
        {
            return authorization.Split(' ', 2, StringSplitOptions.TrimEntries) switch
            {
                [var scheme, var text] when scheme.Equals("Bearer", StringComparison.OrdinalIgnoreCase) =>
                    await credentials.FindAsync(text),
                [var scheme, var text] when scheme.Equals("Basic", StringComparison.OrdinalIgnoreCase) => Basic(text),
                _ => throw new RefusedException(
                    ErrorCode.Unauthenticated,
                    "Authorization is Bearer and a key or token, or Basic with a key's name and secret."
                ),
            };
        }

        if (apiKey.Length > 0)
        {
            return credentials.FindKey(apiKey);
        }

        if (Array.Find(protocols.Split(',', StringSplitOptions.TrimEntries), IsBearer) is { } protocol)
        {
            return await credentials.FindAsync(protocol[SubprotocolPrefix.Length..]);
        }

        if (token.Length == 0)
        {
            return await credentials.FindCookieAsync(cookie);
        }

        return options.TokenInQuery && Credentials.IsToken(token)
            ? await credentials.FindAsync(token)
            : throw new RefusedException(
                ErrorCode.Unauthenticated,
                "No key is taken from a URL, and a token only where DMB_TOKEN_IN_QUERY allows it."
            );
    }

    private static bool IsBearer(string protocol) => protocol.StartsWith(SubprotocolPrefix, StringComparison.Ordinal);

    private Caller Basic(string shown)
    {
        var bytes = new byte[shown.Length];
        var text = Convert.TryFromBase64String(shown, bytes, out var length)
            ? Encoding.UTF8.GetString(bytes, 0, length)
            : "";
        return text.Split(':', 2) is [var name, var secret]
            ? credentials.FindKey(secret, name)
            : throw new RefusedException(ErrorCode.Unauthenticated, "The key is not accepted.");
    }
}

/// <summary>Authenticates and authorizes requests before their body is read.</summary>
internal static class AuthenticationMiddleware
{
    /// <summary>The authenticated caller of the request.</summary>
    public static Caller Caller(this HttpContext context) => context.User as Caller ?? Access.Caller.TrustedHost;

    /// <summary>
    /// Sets the caller of every request, except to /ws, which reports a refusal by close code 4000. Not installed
    /// without credentials.
    /// </summary>
    public static void UseCallers(this WebApplication app)
    {
        if (!app.Services.GetRequiredService<AccessRules>().IsOn)
        {
            return;
        }

        var authentication = app.Services.GetRequiredService<Authentication>();
        app.Use(
            (context, next) =>
            {
                context.User = Access.Caller.Anonymous;
                if (SocketEndpoints.IsSocket(context.Request))
                {
                    return next(context);
                }

                // Keys are found synchronously.
                var reading = authentication.ReadAsync(context.Request);
                if (!reading.IsCompletedSuccessfully)
                {
                    return AwaitAsync(context, next, reading);
                }

                context.User = reading.Result;
                return next(context);
            }
        );
    }

    /// <summary>Enforces each route's <see cref="Requirement"/>; runs after routing.</summary>
    public static void UseRules(this WebApplication app)
    {
        var rules = app.Services.GetRequiredService<AccessRules>();
        if (!rules.IsOn)
        {
            return;
        }

        app.Use(
            (context, next) =>
            {
                if (
                    context.GetEndpoint()?.Metadata.GetMetadata<Requirement>() is { NeedsName: false } requirement
                    && !rules.May(context.Caller(), requirement.Operation)
                )
                {
                    Problems.CloseIfUnread(context);
                    rules.Demand(context.Caller(), requirement.Operation);
                }

                return next(context);
            }
        );
    }

    /// <summary>Declares the operation that a route's callers need.</summary>
    public static TBuilder Requires<TBuilder>(this TBuilder route, Operation operation)
        where TBuilder : IEndpointConventionBuilder => route.WithMetadata(new Requirement(operation));

    private static async Task AwaitAsync(HttpContext context, RequestDelegate next, ValueTask<Caller> reading)
    {
        try
        {
            context.User = await reading;
        }
        catch (RefusedException)
        {
            Problems.CloseIfUnread(context);
            throw;
        }

        await next(context);
    }
}
