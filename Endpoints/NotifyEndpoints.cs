using System.Text.Json.Serialization;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>The result of a push: an id, or ignored, or, for an item of a batch, an error.</summary>
/// <param name="Ok">Whether it was accepted.</param>
/// <param name="Id">The message's id: a UUIDv7, or the publisher's own.</param>
/// <param name="Duplicate">
/// True if its key was used before: the first result is repeated, and nothing is delivered.
/// </param>
/// <param name="Ignore">True if the event is not registered.</param>
/// <param name="Degraded">
/// While Redis is down: <c>spooled</c>, delivered here and kept for other nodes; <c>local</c>, delivered here only.
/// </param>
/// <param name="Error">Why an item of a batch was refused.</param>
internal sealed record NotifyAnswer(
    bool Ok,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Id = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool Duplicate = false,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool Ignore = false,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Degraded = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] NotifyError? Error = null
);

/// <summary>Why an item of a batch was refused, as in a socket's error.</summary>
/// <param name="Code">One of the contract's codes, for programs.</param>
/// <param name="Message">The reason, in English.</param>
/// <param name="Retry">Whether a retry can succeed.</param>
internal sealed record NotifyError(string Code, string Message, bool Retry);

/// <summary>The result of a batch.</summary>
/// <param name="Ok">Whether every item was accepted.</param>
/// <param name="Results">One result per item, in order.</param>
internal sealed record BatchAnswer(bool Ok, NotifyAnswer[] Results);

/// <summary>Maps POST /_notify/{event} and POST /_notify: pushes on Kestrel, and batches.</summary>
internal static class NotifyEndpoints
{
    /// <summary>The route of a push, as telemetry names it.</summary>
    public const string Route = "/_notify/{event}";

    public static void MapNotify(this IEndpointRouteBuilder routes)
    {
        var group = routes.MapGroup("/_notify").WithTags("Publish");

        // Resolved once, so that a push creates no service scope.
        var pushes = routes.ServiceProvider.GetRequiredService<PushHandler>();
        var batches = routes.ServiceProvider.GetRequiredService<BatchHandler>();
        group
            .MapPost("/{event}", (HttpContext context, string @event) => NotifyAsync(context, @event, pushes))
            .WithName("notify")
            .WithSummary("Push an event.")
            .WithDescription(
                "Delivers the body, any JSON value of any content type, to the event's default bus, to the "
                    + "notification rooms of its `_in`, and to `endpoint:<endpoint>`."
            )
            .WithMetadata(
                new RequestExample("""{"endpoint":"1234","status":"registered"}"""),
                new RouteExample("event", "report_csr")
            )
            .WithMetadata(
                new RequestHeader(
                    "Idempotency-Key",
                    "The same key within 5 minutes answers the first answer, and delivers nothing."
                )
            )
            .WithMetadata(new RequestHeader("Prefer", "`handling=strict` makes an unknown event a 404."))
            .Produces<NotifyAnswer>()
            .Produces<NotifyAnswer>(StatusCodes.Status202Accepted)
            .ProducesProblems(400, 401, 403, 404, 413, 429, 503)
            .Requires(Operation.Publish);

        group
            .MapPost("/", (Delegate)batches.BatchAsync)
            .WithName("notifyBatch")
            .WithSummary("Push several events, in order.")
            .WithDescription(
                "Takes an array of at most 100 items; each has its own result. An `id` is the message's id and its "
                    + "idempotency key."
            )
            .WithMetadata(
                new RequestExample(
                    """[{"event":"call","data":{"endpoint":"1234"},"id":"call-1"},{"event":"report_csr","data":{}}]"""
                )
            )
            .Produces<BatchAnswer>()
            .ProducesProblems(400, 401, 403, 413)
            .Requires(Operation.Publish);
    }

    /// <summary>Records a push, or a whole batch, that was refused; other requests are no pushes.</summary>
    public static void TraceRefusal(HttpContext context, Tail tail, RefusedException refused)
    {
        if (tail.IsOpen && context.Request.Path.StartsWithSegments("/_notify", out var rest))
        {
            tail.Refused(new Origin(Origin.Http, context.Caller().Name, rest.Value?.TrimStart('/')), refused);
        }
    }

    private static async Task NotifyAsync(HttpContext context, string @event, PushHandler pushes)
    {
        if (context.Features.Get<AdmittedPush>()?.TryConsume() != true)
        {
            pushes.Admit(context.Caller(), context.Connection.RemoteIpAddress);
        }

        using var body = await RequestBody.ReadAsync(context, pushes.BodyBytesMax);
        var headers = context.Request.Headers;
        var isStrict = headers["Prefer"].ToString().Contains("handling=strict", StringComparison.OrdinalIgnoreCase);
        var published = await pushes.PublishAsync(
            new PushRequest(
                pushes.Find(@event),
                body.Bytes,
                headers["Idempotency-Key"].ToString(),
                headers.TraceParent,
                context.Caller(),
                @event,
                isStrict
            )
        );

        var response = context.Response;
        var length = NotifyAnswers.Write(published, response.BodyWriter.GetSpan(NotifyAnswers.BytesMax));
        (response.StatusCode, response.ContentType, response.ContentLength) = (
            NotifyAnswers.StatusOf(published),
            "application/json",
            length
        );
        response.BodyWriter.Advance(length);
    }
}
