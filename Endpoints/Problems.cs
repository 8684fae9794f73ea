using System.Text.Json;
using System.Text.Json.Serialization;
using Dmb.Routing;
using Dmb.Webhooks;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Endpoints;

/// <summary>A problem (RFC 9457) with a code as an extension member.</summary>
/// <param name="Type">The problem type: <c>about:blank</c>; the code identifies the error.</param>
/// <param name="Title">The status in words.</param>
/// <param name="Status">The HTTP status.</param>
/// <param name="Detail">The fault of this request.</param>
/// <param name="Code">One of the contract's codes, for programs.</param>
internal sealed record Problem(string Type, string Title, int Status, string Detail, string Code);

/// <summary>Maps refusals and exceptions to HTTP responses, for all routes.</summary>
internal static partial class Problems
{
    /// <summary>Unread bytes of a body that Kestrel discards, to keep the connection open.</summary>
    private const int DrainedBytesMax = 65_536;

    /// <summary>The detail of an internal error.</summary>
    public const string FailureDetail = "The broker failed; its log says why.";

    /// <summary>RFC 9457 §3.</summary>
    public const string ContentType = "application/problem+json";

    /// <summary>Answers refusals of endpoints and Kestrel, and unexpected exceptions, with a problem.</summary>
    public static void UseProblems(this WebApplication app)
    {
        var tail = app.Services.GetRequiredService<Tail>();
        app.Use(
            async (context, next) =>
            {
                try
                {
                    await next(context);
                    if (
                        context.Response is
                        { HasStarted: false, StatusCode: >= 400, ContentLength: null, ContentType: null }
                    )
                    {
                        if (context.Request.ContentLength is not <= DrainedBytesMax)
                        {
                            CloseIfUnread(context);
                        }

                        await WriteAsync(
                            context,
                            context.Response.StatusCode,
                            CodeOf(context.Response.StatusCode),
                            DetailOf(context)
                        );
                    }
                }
                catch (RefusedException refused) when (!context.Response.HasStarted)
                {
                    NotifyEndpoints.TraceRefusal(context, tail, refused);
                    if (await EventStreamSession.TryPostponeAsync(context, refused))
                    {
                        return;
                    }

                    if (HeaderOf(refused) is var (name, value))
                    {
                        context.Response.Headers[name] = value;
                    }

                    await WriteAsync(context, StatusOf(refused), refused.Code, refused.Message);
                }
                catch (BadHttpRequestException bad) when (!context.Response.HasStarted)
                {
                    // Kestrel's exceptions while a body is read: invalid chunks, too slow, disconnected. Caught here,
                    // they do not end the connection, and Kestrel would parse the rest of the body as the next request.
                    context.Features.Get<IConnectionLifetimeNotificationFeature>()?.RequestClose();
                    await WriteAsync(context, bad.StatusCode, CodeOf(bad.StatusCode), bad.Message);
                }
                catch (Exception e)
                    when (e is ConnectionResetException || context.RequestAborted.IsCancellationRequested)
                {
                    // The body's reader can see a reset before Kestrel, which would continue to read.
                    context.Abort();
                    LogGone(app.Logger, context.Request.Path, e);
                }
                catch (Exception e) when (!context.Response.HasStarted)
                {
                    LogFailed(app.Logger, context.Request.Path.ToString(), e);
                    await WriteAsync(context, 500, ErrorCode.Internal, FailureDetail);
                }
            }
        );
    }

    /// <summary>Writes a problem as the response.</summary>
    public static Task WriteAsync(HttpContext context, int status, string code, string detail)
    {
        var response = context.Response;
        response.StatusCode = status;
        response.ContentType = ContentType;
        var problem = Write(status, code, detail);
        response.ContentLength = problem.Length;
        return response.Body.WriteAsync(problem, context.RequestAborted).AsTask();
    }

    /// <summary>A problem as JSON.</summary>
    public static byte[] Write(int status, string code, string detail) =>
        JsonSerializer.SerializeToUtf8Bytes(
            new Problem("about:blank", ReasonPhrases.GetReasonPhrase(status), status, detail, code),
            ApiJson.Wire.Problem
        );

    /// <summary>
    /// The response header of a refusal: <c>WWW-Authenticate</c> (RFC 9110 §11.6.1, RFC 6750 §3) or <c>Retry-After</c>
    /// (RFC 9110 §10.2.3); null for none.
    /// </summary>
    public static (string Name, string Value)? HeaderOf(RefusedException refused) =>
        StatusOf(refused) switch
        {
            StatusCodes.Status401Unauthorized => (
                "WWW-Authenticate",
                refused.Code == ErrorCode.TokenExpired ? "Bearer error=\"invalid_token\"" : "Bearer"
            ),
            StatusCodes.Status429TooManyRequests => (
                "Retry-After",
                $"{Math.Max(1, Math.Ceiling(refused.RetryAfter!.Value.TotalSeconds))}"
            ),
            StatusCodes.Status503ServiceUnavailable => ("Retry-After", "1"),
            _ => null,
        };

    /// <summary>Adds <c>Connection: close</c> if the body is unread, which ends the connection.</summary>
    public static void CloseIfUnread(HttpContext context)
    {
        if (context.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: true })
        {
            context.Response.Headers.Connection = "close";
        }
    }

    /// <summary>The HTTP status of a refusal.</summary>
    public static int StatusOf(RefusedException refused) =>
        refused.Code switch
        {
            ErrorCode.RateLimited when refused.RetryAfter is not null => StatusCodes.Status429TooManyRequests,
            ErrorCode.Unauthenticated or ErrorCode.TokenExpired => StatusCodes.Status401Unauthorized,
            ErrorCode.ForbiddenOrigin or ErrorCode.ForbiddenPublish or ErrorCode.ForbiddenRoom =>
                StatusCodes.Status403Forbidden,
            ErrorCode.PublishOnly
            or ErrorCode.UnknownEvent
            or ErrorCode.UnknownBackend
            or ErrorCode.UnknownSession
            or ErrorCode.UnknownWebhook
            or ErrorCode.UnknownLetter => StatusCodes.Status404NotFound,
            ErrorCode.TooManyEvents => StatusCodes.Status409Conflict,
            ErrorCode.TooBig => StatusCodes.Status413PayloadTooLarge,
            ErrorCode.RateLimited or ErrorCode.Draining or ErrorCode.BackplaneDown =>
                StatusCodes.Status503ServiceUnavailable,
            _ => StatusCodes.Status400BadRequest,
        };

    private static string CodeOf(int status) =>
        status switch
        {
            StatusCodes.Status404NotFound => ErrorCode.NotFound,
            StatusCodes.Status405MethodNotAllowed => ErrorCode.BadMethod,
            StatusCodes.Status413PayloadTooLarge => ErrorCode.TooBig,
            >= 500 => ErrorCode.Internal,
            _ => ErrorCode.BadJson,
        };

    private static string DetailOf(HttpContext context) =>
        context.Response.StatusCode switch
        {
            StatusCodes.Status404NotFound =>
                $"There is nothing at {context.Request.Path}; /swagger shows what there is.",
            StatusCodes.Status405MethodNotAllowed =>
                $"{context.Request.Path} does not take {context.Request.Method}, but {context.Response.Headers.Allow}.",
            StatusCodes.Status400BadRequest =>
                "A parameter of the query has no valid value; /swagger shows what it takes.",
            var status => $"The request was refused with status {status}.",
        };

    [LoggerMessage(1001, LogLevel.Error, "Failed to answer {Path}.")]
    public static partial void LogFailed(ILogger logger, string path, Exception exception);

    [LoggerMessage(1002, LogLevel.Debug, "The client of {Path} disconnected.")]
    private static partial void LogGone(ILogger logger, PathString path, Exception exception);
}

/// <summary>Serializes the bodies of HTTP by generated code.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = false)]
[JsonSerializable(typeof(Problem))]
[JsonSerializable(typeof(NotifyAnswer))]
[JsonSerializable(typeof(BatchAnswer))]
[JsonSerializable(typeof(RegisterAnswer))]
[JsonSerializable(typeof(EventEntry[]))]
[JsonSerializable(typeof(RoomAnswer))]
[JsonSerializable(typeof(BackendAnswer))]
[JsonSerializable(typeof(MessageAnswer))]
[JsonSerializable(typeof(UplinkAnswer[]))]
[JsonSerializable(typeof(HealthAnswer))]
[JsonSerializable(typeof(NodesAnswer))]
[JsonSerializable(typeof(NodeEntry))]
[JsonSerializable(typeof(RoomsAnswer))]
[JsonSerializable(typeof(RoomEntry[]))]
[JsonSerializable(typeof(PresenceAnswer))]
[JsonSerializable(typeof(SessionsAnswer))]
[JsonSerializable(typeof(BackendsAnswer))]
[JsonSerializable(typeof(BackendNodeEntry[]))]
[JsonSerializable(typeof(SessionEntry[]))]
[JsonSerializable(typeof(SessionLinesQuery))]
[JsonSerializable(typeof(SessionQuery))]
[JsonSerializable(typeof(RoomQuery))]
[JsonSerializable(typeof(CloseCommand))]
[JsonSerializable(typeof(MoveCommand))]
[JsonSerializable(typeof(CommandAnswer))]
[JsonSerializable(typeof(ClosedAnswer))]
[JsonSerializable(typeof(HistoryAnswer))]
[JsonSerializable(typeof(WebhookAnswer))]
[JsonSerializable(typeof(WebhooksAnswer))]
[JsonSerializable(typeof(WebhookState[]))]
[JsonSerializable(typeof(DeadLettersAnswer))]
[JsonSerializable(typeof(ReplayedAnswer))]
[JsonSerializable(typeof(DeletedAnswer))]
[JsonSerializable(typeof(string))]
[JsonSerializable(typeof(MissingLine))]
[JsonSerializable(typeof(StatsAnswer))]
[JsonSerializable(typeof(StatsEntry[]))]
[JsonSerializable(typeof(TailLease))]
[JsonSerializable(typeof(TailBatch))]
internal sealed partial class ApiJson : JsonSerializerContext
{
    /// <summary>Escapes only what JSON requires.</summary>
    public static ApiJson Wire { get; } =
        new(
            new JsonSerializerOptions
            {
                PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
                Encoder = JsonText.Encoder,
            }
        );
}
