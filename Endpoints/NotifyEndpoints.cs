using System.Net;
using System.Text;
using System.Text.Json.Serialization;
using Dmb.Access;
using Dmb.Connections;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>What became of a push: an id, or ignored, or, for an item of a batch, an error.</summary>
/// <param name="Ok">Whether it was taken.</param>
/// <param name="Id">The message's id: ours, a UUIDv7, or the one that it brought.</param>
/// <param name="Duplicate">True when its key was known: this is the first answer, and nothing was delivered.</param>
/// <param name="Ignore">True when nobody registered the event.</param>
/// <param name="Degraded">While Redis is away: <c>spooled</c>, delivered here and kept for other nodes; <c>local</c>, delivered here only.</param>
/// <param name="Error">Why an item of a batch was refused.</param>
internal sealed record NotifyAnswer(
    bool Ok,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Id = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool Duplicate = false,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool Ignore = false,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Degraded = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] NotifyError? Error = null);

/// <summary>Why an item of a batch was refused, as a socket would be told.</summary>
/// <param name="Code">One of the contract's codes, for programs.</param>
/// <param name="Message">What is wrong, for people.</param>
/// <param name="Retry">Whether the same may pass later.</param>
internal sealed record NotifyError(string Code, string Message, bool Retry);

/// <summary>What became of a batch.</summary>
/// <param name="Ok">Whether every item was taken.</param>
/// <param name="Results">One result for each item, in their order.</param>
internal sealed record BatchAnswer(bool Ok, NotifyAnswer[] Results);

/// <summary>POST /_notify/{event} and POST /_notify: somebody pushes an event, or several.</summary>
internal static class NotifyEndpoints
{
    public static void MapNotify(this IEndpointRouteBuilder routes)
    {
        var group = routes.MapGroup("/_notify").WithTags("Publish");

        // Found once and not for each push, nor is a scope of services made for it.
        var pushes = routes.ServiceProvider.GetRequiredService<Pushes>();
        group.MapPost("/{event}", pushes.NotifyAsync)
            .WithName("notify")
            .WithSummary("Push an event.")
            .WithDescription("Delivers the body, any JSON value of any content type, to the event's default bus, to the notification rooms of its `_in`, and to `endpoint:<endpoint>`.")
            .WithMetadata(new RequestExample("""{"endpoint":"1234","status":"registered"}"""), new RouteExample("event", "report_csr"))
            .WithMetadata(new RequestHeader("Idempotency-Key", "The same key within 5 minutes answers the first answer, and delivers nothing."))
            .WithMetadata(new RequestHeader("Prefer", "`handling=strict` makes an unknown event a 404."))
            .Produces<NotifyAnswer>()
            .Produces<NotifyAnswer>(StatusCodes.Status202Accepted)
            .ProducesProblems(400, 401, 403, 404, 413, 429, 503)
            .Requires(Operation.Publish);

        group.MapPost("/", (Delegate)pushes.BatchAsync)
            .WithName("notifyBatch")
            .WithSummary("Push several events, in order.")
            .WithDescription("Takes an array of at most 100 items; each has its own result. An `id` is the message's id and its idempotency key.")
            .WithMetadata(new RequestExample("""[{"event":"call","data":{"endpoint":"1234"},"id":"call-1"},{"event":"report_csr","data":{}}]"""))
            .Produces<BatchAnswer>()
            .ProducesProblems(400, 401, 403, 413)
            .Requires(Operation.Publish);
    }
}

/// <summary>A push that was read.</summary>
/// <param name="Event">The event; null if nobody registered it.</param>
/// <param name="Body">As it came.</param>
/// <param name="Key">The idempotency key, or null.</param>
/// <param name="TraceParent">The trace that it came with, or null.</param>
/// <param name="Caller">Who pushes, or why that is refused.</param>
/// <param name="Length">Bytes of the request.</param>
/// <param name="IsLast">Whether the sender wants the connection closed after the answer.</param>
internal readonly record struct Push(EventRegistration? Event, ReadOnlyMemory<byte> Body, string? Key, string? TraceParent, ValueTask<Caller> Caller, int Length, bool IsLast);

/// <summary>What a push and a batch do.</summary>
internal sealed class Pushes(
    EventTable events, Publisher publisher, Authentication authentication, AccessRules rules, Limits limits, RoutingOptions options, HttpOptions http, BrokerTelemetry telemetry)
{
    /// <summary>Bytes that an answer to a push has at most.</summary>
    public const int AnswerBytesMax = 64 + (6 * Names.MaxIdLength);

    private static ReadOnlySpan<byte> Path => "/_notify/"u8;

    /// <summary>Bytes that the body of a push may have.</summary>
    public int BodyMax => options.MaxMessageBytes;

    /// <summary>Reads a push; false if the request is something else, or has a name that is none.</summary>
    public bool TryRead(in PlainRequest request, ReadOnlyMemory<byte> came, out Push push)
    {
        push = default;
        Span<char> name = stackalloc char[Names.MaxEventLength];
        if (!request.IsPost || !request.Target.StartsWith(Path) || !request.Origin.IsEmpty || !request.Upgrade.IsEmpty
            || !Encoding.ASCII.TryGetChars(request.Target[Path.Length..], name, out var length)
            || !Names.IsEvent(name[..length]))
        {
            return false;
        }

        var key = TextOrNull(request.IdempotencyKey);
        if (key is not null && !Names.IsId(key))
        {
            return false;
        }

        push = new Push(
            events.Find(name[..length]), came[request.Body], key, TextOrNull(request.TraceParent), authentication.ReadAsync(request), request.Length, request.IsLast);
        return true;
    }

    /// <summary>Publishes a push.</summary>
    /// <exception cref="RefusedException">Its sender may not, or not so often, or it is not one JSON value, or the broker can't take it.</exception>
    public async ValueTask<Published> PublishAsync(Push push, IPAddress? address)
    {
        var caller = await push.Caller;
        rules.Demand(caller, Operation.Publish);
        limits.Publish(caller, address);
        var data = JsonText.Clean(push.Body, telemetry);
        return await publisher.PublishAsync(push.Event, data, publisher.ReadAddress(data.Span), push.Key, id: null, push.TraceParent);
    }

    public async Task NotifyAsync(HttpContext context, string @event)
    {
        limits.Publish(context.Caller(), context.Connection.RemoteIpAddress);
        using var body = await RequestBody.ReadAsync(context, options.MaxMessageBytes, telemetry);
        if (!Names.IsEvent(@event))
        {
            throw new RefusedException(ErrorCode.BadName, Names.EventForm);
        }

        // A SIP server's variable that nobody set is no key.
        var key = context.Request.Headers["Idempotency-Key"].ToString() is { Length: > 0 } header ? header : null;
        if (key is not null && !Names.IsId(key))
        {
            throw new RefusedException(ErrorCode.BadName, Names.IdForm);
        }

        var address = publisher.ReadAddress(body.Json.Span);
        var published = await publisher.PublishAsync(events.Find(@event), body.Json, address, key, id: null, context.Request.Headers.TraceParent);
        if (published.Id is null && IsStrict(context.Request))
        {
            throw new RefusedException(ErrorCode.UnknownEvent, $"Nobody registered the event {@event}.");
        }

        var response = context.Response;
        var length = WriteAnswer(published, response.BodyWriter.GetSpan(AnswerBytesMax));
        (response.StatusCode, response.ContentType, response.ContentLength) = (StatusOf(published), "application/json", length);
        response.BodyWriter.Advance(length);
    }

    public async Task<IResult> BatchAsync(HttpContext context)
    {
        using var body = await RequestBody.ReadAsync(context, http.MaxBatchBytes, telemetry);
        var items = BatchItem.ReadAll(body.Json, publisher.ReaderOptions, http.MaxBatchItems);
        var results = new NotifyAnswer[items.Count];
        for (var i = 0; i < results.Length; i++)
        {
            results[i] = await PublishAsync(items[i], context);
        }

        return Results.Json(new BatchAnswer(Array.TrueForAll(results, result => result.Ok), results), ApiJson.Wire.BatchAnswer);
    }

    private async ValueTask<NotifyAnswer> PublishAsync(BatchItem item, HttpContext context)
    {
        try
        {
            limits.Publish(context.Caller(), context.Connection.RemoteIpAddress);
            item.Check(options.MaxMessageBytes);
            var published = await publisher.PublishAsync(events.Find(item.Event!), item.Data, item.Address, item.Id, item.Id, context.Request.Headers.TraceParent);
            return published.Id is { } id
                ? new NotifyAnswer(true, id, published.Duplicate, Degraded: DegradedOf(published.Taken))
                : new NotifyAnswer(false, Ignore: true);
        }
        catch (RefusedException refused)
        {
            return new NotifyAnswer(false, Error: new NotifyError(refused.Code, refused.Message, refused.Retry));
        }
    }

    /// <summary>What an answer says of a message that Redis doesn't have.</summary>
    public static string? DegradedOf(Taken taken) => taken switch
    {
        Taken.Spooled => "spooled",
        Taken.Locally => "local",
        _ => null,
    };

    private static string? TextOrNull(ReadOnlySpan<byte> header) => header.IsEmpty ? null : Encoding.ASCII.GetString(header);

    private static bool IsStrict(HttpRequest request) =>
        request.Headers["Prefer"].ToString().Contains("handling=strict", StringComparison.OrdinalIgnoreCase);

    /// <summary>What an answer to a push says, written by hand since there are so many.</summary>
    /// <param name="published">What became of it.</param>
    /// <param name="target">Where to write it: <see cref="AnswerBytesMax"/>.</param>
    /// <returns>How many bytes it has.</returns>
    public static int WriteAnswer(Published published, Span<byte> target)
    {
        var rest = target;
        if (published.Id is { } id)
        {
            JsonText.Put("{\"ok\":true,\"id\":"u8, ref rest);
            rest = rest[JsonText.Quote(id, rest)..];
            JsonText.Put(published.Duplicate ? ",\"duplicate\":true}"u8 : published.Taken switch
            {
                Taken.Spooled => ",\"degraded\":\"spooled\"}"u8,
                Taken.Locally => ",\"degraded\":\"local\"}"u8,
                _ => "}"u8,
            }, ref rest);
        }
        else
        {
            JsonText.Put("{\"ok\":false,\"ignore\":true}"u8, ref rest);
        }

        return target.Length - rest.Length;
    }

    /// <summary>The status of that answer.</summary>
    public static int StatusOf(Published published) =>
        published.Taken == Taken.Spooled ? StatusCodes.Status202Accepted : StatusCodes.Status200OK;
}
