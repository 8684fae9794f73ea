using System.Net.Mime;
using System.Text;

namespace Dmb.Endpoints;

/// <summary>Writes responses of Engine.IO.</summary>
internal static class EngineIoAnswer
{
    public static Task RefuseAsync(HttpContext context, EngineIoError error)
    {
        Problems.CloseIfUnread(context);
        return WriteAsync(context, error.Status, MediaTypeNames.Application.Json, error.Body);
    }

    public static Task WriteAsync(HttpContext context, int status, string type, byte[] body)
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
