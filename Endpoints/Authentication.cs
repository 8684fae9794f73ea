using System.Text;
using Dmb.Access;
using Dmb.Connections;
using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>Who is calling over HTTP: the credentials of a request (docs/protocol.md §10).</summary>
internal sealed class Authentication(Credentials credentials, HostKeys keys, AccessRules rules, BrokerOptions options)
{
    /// <summary>What a WebSocket's subprotocol begins with that is a token: a page can't set headers.</summary>
    private const string SubprotocolPrefix = "bearer.";

    private static ReadOnlySpan<byte> BearerPrefix => "Bearer "u8;

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

    /// <summary>The host that a plain request is from; null where that is somebody else, or needs to be asked for as above.</summary>
    public Caller? FindAtOnce(in PlainRequest request)
    {
        if (!rules.IsOn)
        {
            return Caller.TrustedHost;
        }

        var shown = request.Authorization.IsEmpty ? request.ApiKey
            : request.Authorization.Length > BearerPrefix.Length && Ascii.EqualsIgnoreCase(request.Authorization[..BearerPrefix.Length], BearerPrefix)
                ? request.Authorization[BearerPrefix.Length..].TrimStart((byte)' ')
            : default;
        var secret = Encoding.ASCII.GetString(shown);
        return secret.Length == 0 || Credentials.IsToken(secret) ? null : keys.Find(secret);
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
    /// Every request has a caller. All but those to /ws, which tells a page itself (close code 4000). Nothing of it is there where everybody
    /// is let in.
    /// </summary>
    public static void UseCallers(this WebApplication app)
    {
        if (!app.Services.GetRequiredService<AccessRules>().IsOn)
        {
            return;
        }

        var authentication = app.Services.GetRequiredService<Authentication>();
        app.Use((context, next) =>
        {
            context.User = Access.Caller.Anonymous;
            if (SocketEndpoints.IsSocket(context.Request))
            {
                return next(context);
            }

            try
            {
                // A key is found at once.
                var reading = authentication.ReadAsync(context.Request);
                if (!reading.IsCompletedSuccessfully)
                {
                    return AwaitAsync(context, next, reading);
                }

                context.User = reading.Result;
            }
            catch (RefusedException)
            {
                Problems.CloseIfUnread(context);
                throw;
            }

            return next(context);
        });
    }

    /// <summary>Every route that says what it needs gets it: comes after routing.</summary>
    public static void UseRules(this WebApplication app)
    {
        var rules = app.Services.GetRequiredService<AccessRules>();
        if (!rules.IsOn)
        {
            return;
        }

        app.Use((context, next) =>
        {
            if (context.GetEndpoint()?.Metadata.GetMetadata<Requirement>() is { NeedsName: false } requirement
                && !rules.May(context.Caller(), requirement.Operation))
            {
                Problems.CloseIfUnread(context);
                rules.Demand(context.Caller(), requirement.Operation);
            }

            return next(context);
        });
    }

    /// <summary>Says what a route's callers need.</summary>
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
