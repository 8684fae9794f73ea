using System.Buffers;
using System.Net.Mime;
using System.Net.WebSockets;
using System.Text;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Transport;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>/socket.io/: requests of Engine.IO clients (docs/protocol.md §5).</summary>
internal sealed class SocketIoEndpoints(
    EngineIoSessions engines,
    SocketSessions sessions,
    OriginCheck origins,
    Authentication authentication
)
{
    private const string Path = "/socket.io";
    private const string WebSocketName = "websocket";

    /// <summary>Whether a request is for Socket.IO.</summary>
    public static bool IsSocketIo(HttpRequest request) =>
        request.Path.StartsWithSegments(Path, StringComparison.OrdinalIgnoreCase);

    /// <summary>Answers any request below /socket.io/.</summary>
    public async Task HandleAsync(HttpContext context)
    {
        var request = context.Request;
        if (!origins.Allows(request))
        {
            await RefuseAsync(context, EngineIoError.Forbidden);
            return;
        }

        AllowOrigin(context);
        if (HttpMethods.IsOptions(request.Method))
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            context.Response.Headers.AccessControlAllowMethods = "GET,POST";
            context.Response.Headers.AccessControlAllowHeaders = "Authorization,Content-Type,X-Api-Key";
            context.Response.Headers.AccessControlMaxAge = "600";
            return;
        }

        var isSocket = request.Query["transport"] == WebSocketName;
        if (!isSocket && request.Query["transport"] != "polling")
        {
            await RefuseAsync(context, EngineIoError.UnknownTransport);
        }
        else if (request.Query["sid"].ToString() is { Length: > 0 } sid)
        {
            await ContinueAsync(context, sid, isSocket);
        }
        else if (!HttpMethods.IsGet(request.Method) && !(isSocket && context.WebSockets.IsWebSocketRequest))
        {
            await RefuseAsync(context, EngineIoError.BadHandshakeMethod);
        }
        else if (isSocket != context.WebSockets.IsWebSocketRequest)
        {
            await RefuseAsync(context, EngineIoError.BadRequest);
        }
        else if (VersionOf(request) is not { } version)
        {
            await RefuseAsync(context, EngineIoError.UnsupportedVersion);
        }
        else
        {
            await OpenAsync(context, version, isSocket);
        }
    }

    private async Task OpenAsync(HttpContext context, EngineIoVersion version, bool isSocket)
    {
        var isRecoveryAsked = context.Request.Query["recovery"].ToString() is "1" or "true";
        var admitted = await sessions.AdmitAsync(
            authentication.ReadAsync(context.Request),
            isAllowed: true,
            context.Connection.RemoteIpAddress
        );
        admitted = admitted with { Agent = UserAgents.Intern(context.Request.Headers.UserAgent.ToString()) };
        EngineIoWebSocket? socket;
        EngineIoSession engine;
        try
        {
            socket = isSocket ? await AcceptAsync(context) : null;
            engine = engines.Open(version, admitted, socket, isRecoveryAsked);
        }
        catch
        {
            admitted.Lease.Dispose();
            throw;
        }

        if (socket is null)
        {
            await PollAsync(context, engine);
            return;
        }

        var reading = socket.ReadAsync(engine);
        if (!socket.IsDetached)
        {
            await Task.WhenAll(reading, engine.Running);
        }
    }

    private async Task ContinueAsync(HttpContext context, string sid, bool isSocket)
    {
        var engine = engines.Find(sid);
        engine?.Session.Tick();
        if (
            engine is null
            || engine.Session.IsClosing && engine.Polling is null
            || !await BelongsAsync(context, engine)
        )
        {
            await RefuseAsync(context, EngineIoError.UnknownSession);
        }
        else if (isSocket)
        {
            await ProbeAsync(context, engine);
        }
        else if (context.WebSockets.IsWebSocketRequest || engine.Polling is null)
        {
            await RefuseAsync(context, EngineIoError.BadRequest);
        }
        else if (HttpMethods.IsGet(context.Request.Method))
        {
            await PollAsync(context, engine);
        }
        else if (HttpMethods.IsPost(context.Request.Method))
        {
            await PostAsync(context, engine);
        }
        else
        {
            await RefuseAsync(context, EngineIoError.BadRequest);
        }
    }

    private async ValueTask<bool> BelongsAsync(HttpContext context, EngineIoSession engine)
    {
        try
        {
            return engine.BelongsTo(
                await authentication.ReadAsync(context.Request),
                context.Connection.RemoteIpAddress
            );
        }
        catch (RefusedException)
        {
            return engine.BelongsTo(Caller.Anonymous, context.Connection.RemoteIpAddress);
        }
    }

    private async Task ProbeAsync(HttpContext context, EngineIoSession engine)
    {
        if (!context.WebSockets.IsWebSocketRequest || !engine.TryBeginProbe())
        {
            await RefuseAsync(context, EngineIoError.BadRequest);
            return;
        }

        EngineIoWebSocket socket;
        try
        {
            socket = await AcceptAsync(context);
        }
        catch
        {
            engine.EndProbe();
            throw;
        }

        var probing = socket.ProbeAsync(engine, engines.Time);
        if (!socket.IsDetached)
        {
            await probing;
        }
    }

    private static async Task PollAsync(HttpContext context, EngineIoSession engine)
    {
        if (engine.Polling is not { } polling)
        {
            await RefuseAsync(context, EngineIoError.BadRequest);
            return;
        }

        engine.Session.RecordActivity();
        var polled = polling.PollAsync(out var isSecond);
        if (isSecond)
        {
            engine.End(isClosedByClient: false);
        }

        byte[]? payload;
        if (polled.IsCompleted)
        {
            payload = await polled;
        }
        else
        {
            context.Features.Get<SocketConnection>()?.Watch();
            await using (
                context.RequestAborted.Register(static e => ((EngineIoSession)e!).End(isClosedByClient: false), engine)
            )
            {
                payload = await polled;
            }
        }

        if (payload is null)
        {
            await RefuseAsync(context, isSecond ? EngineIoError.BadRequest : EngineIoError.UnknownSession);
            return;
        }

        await WriteAsync(context, StatusCodes.Status200OK, "text/plain; charset=UTF-8", payload);
    }

    private async Task PostAsync(HttpContext context, EngineIoSession engine)
    {
        if (!engine.TryBeginPost())
        {
            engine.End(isClosedByClient: false);
            await RefuseAsync(context, EngineIoError.BadRequest);
            return;
        }

        byte[] buffer = [];
        try
        {
            if (context.Request.ContentLength > engines.MaxPayloadBytes)
            {
                await RefuseAsync(context, EngineIoError.TooBig);
                return;
            }

            buffer = ArrayPool<byte>.Shared.Rent(
                (int)Math.Min(context.Request.ContentLength ?? engines.MaxPayloadBytes, engines.MaxPayloadBytes) + 1
            );
            if (await ReadBodyAsync(context, engine, buffer) is not { } length)
            {
                return;
            }

            if (length > engines.MaxPayloadBytes)
            {
                await RefuseAsync(context, EngineIoError.TooBig);
                return;
            }

            engine.Session.RecordActivity();
            var isGood = await ReceiveAsync(context, engine, buffer.AsMemory(0, length));
            await (
                isGood
                    ? WriteAsync(context, StatusCodes.Status200OK, MediaTypeNames.Text.Html, "ok"u8.ToArray())
                    : RefuseAsync(context, EngineIoError.BadRequest)
            );
        }
        finally
        {
            engine.EndPost();
            if (buffer.Length > 0)
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }
    }

    private static async ValueTask<bool> ReceiveAsync(
        HttpContext context,
        EngineIoSession engine,
        ReadOnlyMemory<byte> body
    )
    {
        var isBinary =
            context.Request.ContentType?.StartsWith(
                MediaTypeNames.Application.Octet,
                StringComparison.OrdinalIgnoreCase
            ) == true;
        var reader = new EngineIoPayloadReader(engine.Version, body, isBinary);
        try
        {
            while (reader.TryRead(out var packet) && !engine.Session.IsClosing)
            {
                if (!await engine.ReceiveAsync(packet))
                {
                    return false;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The session ended before it was open.
            return false;
        }

        if (reader.IsMalformed)
        {
            engine.End(isClosedByClient: false);
        }

        return !reader.IsMalformed;
    }

    /// <summary>Fills the buffer from the body; null if the client went meanwhile, which ends the session.</summary>
    private static async ValueTask<int?> ReadBodyAsync(HttpContext context, EngineIoSession engine, byte[] buffer)
    {
        try
        {
            return await context.Request.Body.ReadAtLeastAsync(
                buffer,
                buffer.Length,
                throwOnEndOfStream: false,
                context.RequestAborted
            );
        }
        catch (Exception e) when (e is IOException or OperationCanceledException && e is not BadHttpRequestException)
        {
            engine.End(isClosedByClient: false);
            return null;
        }
    }

    private async Task<EngineIoWebSocket> AcceptAsync(HttpContext context)
    {
        var accepted = await context.WebSockets.AcceptWebSocketAsync();
        var stream = ((SharedUpgrade)context.Features.GetRequiredFeature<IHttpUpgradeFeature>()).Stream!;

        // On a socket that has left the server, the server's WebSocket would hold the request, and abort it.
        return stream.Socket is null
            ? new EngineIoWebSocket(
                accepted,
                stream,
                new StreamFrameOutput(stream.Inner!, SocketEndpoints.AbortOf(context)),
                engines.MaxPayloadBytes
            )
            : new EngineIoWebSocket(
                WebSocket.CreateFromStream(
                    stream,
                    new WebSocketCreationOptions { IsServer = true, KeepAliveInterval = Timeout.InfiniteTimeSpan }
                ),
                stream,
                new SocketFrameOutput(stream.Socket),
                engines.MaxPayloadBytes
            );
    }

    private static EngineIoVersion? VersionOf(HttpRequest request) =>
        request.Query["EIO"].ToString() switch
        {
            "2" or "3" => EngineIoVersion.V3,
            "4" => EngineIoVersion.V4,
            _ => null,
        };

    /// <summary>
    /// The page's origin, which is allowed, is echoed: its credentials may come too (Fetch Standard, CORS protocol).
    /// </summary>
    private static void AllowOrigin(HttpContext context)
    {
        if (context.Request.Headers.Origin.ToString() is { Length: > 0 } origin)
        {
            context.Response.Headers.AccessControlAllowOrigin = origin;
            context.Response.Headers.AccessControlAllowCredentials = "true";
        }

        context.Response.Headers.Vary = "Origin";
    }

    private static Task RefuseAsync(HttpContext context, EngineIoError error)
    {
        Problems.CloseIfUnread(context);
        return WriteAsync(context, error.Status, MediaTypeNames.Application.Json, error.Body);
    }

    private static Task WriteAsync(HttpContext context, int status, string type, byte[] body)
    {
        var response = context.Response;
        response.StatusCode = status;
        response.ContentType = type;
        response.ContentLength = body.Length;
        response.Headers.CacheControl = "no-store";
        return HttpMethods.IsHead(context.Request.Method)
            ? Task.CompletedTask
            : response.Body.WriteAsync(body, context.RequestAborted).AsTask();
    }
}

/// <summary>A refusal as Engine.IO clients read it.</summary>
/// <param name="Status">The HTTP status.</param>
/// <param name="Body">The answer.</param>
internal sealed record EngineIoError(int Status, byte[] Body)
{
    public static readonly EngineIoError UnknownTransport = Of(0, "Transport unknown");
    public static readonly EngineIoError UnknownSession = Of(1, "Session ID unknown");
    public static readonly EngineIoError BadHandshakeMethod = Of(2, "Bad handshake method");
    public static readonly EngineIoError BadRequest = Of(3, "Bad request");
    public static readonly EngineIoError Forbidden = Of(4, "Forbidden", StatusCodes.Status403Forbidden);
    public static readonly EngineIoError UnsupportedVersion = Of(5, "Unsupported protocol version");
    public static readonly EngineIoError TooBig = Of(3, "Bad request", StatusCodes.Status413PayloadTooLarge);

    private static EngineIoError Of(int code, string message, int status = StatusCodes.Status400BadRequest) =>
        new(status, Encoding.ASCII.GetBytes($"{{\"code\":{code},\"message\":\"{message}\"}}"));
}

/// <summary>Maps /socket.io/.</summary>
internal static class SocketIoRoutes
{
    public static void MapSocketIo(this IEndpointRouteBuilder routes)
    {
        var services = routes.ServiceProvider;
        var endpoints = new SocketIoEndpoints(
            services.GetRequiredService<EngineIoSessions>(),
            services.GetRequiredService<SocketSessions>(),
            services.GetRequiredService<OriginCheck>(),
            services.GetRequiredService<Authentication>()
        );
        routes.Map("/socket.io", endpoints.HandleAsync).ExcludeFromDescription();
    }
}
