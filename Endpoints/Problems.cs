using System.Text.Json;
using System.Text.Json.Serialization;
using Dmb.Routing;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Endpoints;

/// <summary>An error as HTTP tells it (RFC 9457), with a code for programs beside the standard's members.</summary>
/// <param name="Type">A URI for the kind of error: <c>about:blank</c>, the code says which it is.</param>
/// <param name="Title">The status in words.</param>
/// <param name="Status">The HTTP status.</param>
/// <param name="Detail">What is wrong with this request.</param>
/// <param name="Code">One of the contract's codes, for programs.</param>
internal sealed record Problem(string Type, string Title, int Status, string Detail, string Code);

/// <summary>How refusals become HTTP answers: one place for all routes.</summary>
internal static partial class Problems
{
    /// <summary>What the server reads and throws away by itself, so that the connection goes on.</summary>
    private const int DrainedBytesMax = 65_536;

    /// <summary>What is said of an error of ours.</summary>
    public const string FailureDetail = "The broker failed; its log says why.";

    /// <summary>RFC 9457 §3.</summary>
    public const string ContentType = "application/problem+json";

    /// <summary>
    /// Answers what endpoints refuse, what the server refuses, and unexpected exceptions, with a problem.
    /// </summary>
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
                    // The server's own refusals while a body is read: chunks that are none, too slow, gone. It hears of
                    // none of them, and would look for the next request behind such a body.
                    context.Features.GetRequiredFeature<IConnectionLifetimeNotificationFeature>().RequestClose();
                    await WriteAsync(context, bad.StatusCode, CodeOf(bad.StatusCode), bad.Message);
                }
                catch (Exception e)
                    when (e is ConnectionResetException || context.RequestAborted.IsCancellationRequested)
                {
                    // The reader of a body may know of a reset before the server does, which would then read on.
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

    /// <summary>Writes a problem as the answer.</summary>
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
    /// What an answer says besides: how to say who one is (RFC 9110 §11.6.1, RFC 6750 §3), or after how many seconds
    /// the same may pass (RFC 9110 §10.2.3).
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

    /// <summary>A body that is not read ends the connection: the answer says so.</summary>
    public static void CloseIfUnread(HttpContext context)
    {
        if (context.Features.Get<IHttpRequestBodyDetectionFeature>() is { CanHaveBody: true })
        {
            context.Response.Headers.Connection = "close";
        }
    }

    /// <summary>The status for a refusal.</summary>
    public static int StatusOf(RefusedException refused) =>
        refused.Code switch
        {
            ErrorCode.RateLimited when refused.RetryAfter is not null => StatusCodes.Status429TooManyRequests,
            ErrorCode.Unauthenticated or ErrorCode.TokenExpired => StatusCodes.Status401Unauthorized,
            ErrorCode.ForbiddenOrigin or ErrorCode.ForbiddenPublish or ErrorCode.ForbiddenRoom =>
                StatusCodes.Status403Forbidden,
            ErrorCode.UnknownEvent
            or ErrorCode.UnknownBackend
            or ErrorCode.UnknownSession
            or ErrorCode.UnknownWebhook => StatusCodes.Status404NotFound,
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
            var status => $"The request was refused with status {status}.",
        };

    [LoggerMessage(1001, LogLevel.Error, "Failed to answer {Path}.")]
    public static partial void LogFailed(ILogger logger, string path, Exception exception);

    [LoggerMessage(1002, LogLevel.Debug, "The client that asked for {Path} is gone.")]
    private static partial void LogGone(ILogger logger, PathString path, Exception exception);
}

/// <summary>What HTTP bodies are written with: generated code, no reflection.</summary>
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
[JsonSerializable(typeof(SessionEntry[]))]
[JsonSerializable(typeof(SessionQuery))]
[JsonSerializable(typeof(RoomQuery))]
[JsonSerializable(typeof(CloseCommand))]
[JsonSerializable(typeof(MoveCommand))]
[JsonSerializable(typeof(CommandAnswer))]
[JsonSerializable(typeof(ClosedAnswer))]
[JsonSerializable(typeof(HistoryAnswer))]
[JsonSerializable(typeof(WebhookAnswer))]
[JsonSerializable(typeof(WebhooksAnswer))]
[JsonSerializable(typeof(StatsAnswer))]
[JsonSerializable(typeof(StatsEntry[]))]
[JsonSerializable(typeof(TailLease))]
[JsonSerializable(typeof(TailBatch))]
internal sealed partial class ApiJson : JsonSerializerContext
{
    /// <summary>Escapes no more than JSON asks for.</summary>
    public static ApiJson Wire { get; } =
        new(
            new JsonSerializerOptions
            {
                PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
                Encoder = JsonText.Encoder,
            }
        );
}
