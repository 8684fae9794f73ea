using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>The message was taken.</summary>
internal sealed record NotifyAnswer(
    bool Ok, string Id, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool Duplicate);

/// <summary>Nobody registered the event.</summary>
internal sealed record IgnoredAnswer(bool Ok, bool Ignore);

/// <summary>One result for each item of a batch, in its order.</summary>
internal sealed record BatchAnswer(bool Ok, BatchResult[] Results);

/// <summary>What became of one item: an id, or ignored, or an error.</summary>
internal sealed record BatchResult(
    bool Ok,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Id = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool Duplicate = false,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool Ignore = false,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] BatchError? Error = null);

/// <summary>Why an item was refused, as a socket would be told.</summary>
internal sealed record BatchError(string Code, string Message, bool Retry);

/// <summary>POST /_notify/{event} and POST /_notify: somebody pushes an event, or several.</summary>
internal static class NotifyEndpoints
{
    public static void MapNotify(this IEndpointRouteBuilder routes)
    {
        var group = routes.MapGroup("/_notify").WithTags("Publish");

        group.MapPost("/{event}", NotifyAsync)
            .WithName("notify")
            .WithSummary("Push an event.")
            .WithDescription("Delivers the body, any JSON value of any content type, to the event's default bus, to the notification rooms of its `_in`, and to `endpoint:<endpoint>`.")
            .WithMetadata(new RequestExample("""{"endpoint":"1234","status":"registered"}"""), new RouteExample("event", "report_csr"))
            .WithMetadata(new RequestHeader("Idempotency-Key", "The same key within 5 minutes answers the first answer, and delivers nothing."))
            .WithMetadata(new RequestHeader("Prefer", "`handling=strict` makes an unknown event a 404."))
            .Produces<NotifyAnswer>()
            .ProducesProblems(400, 403, 404, 413);

        group.MapPost("/", BatchAsync)
            .WithName("notifyBatch")
            .WithSummary("Push several events, in order.")
            .WithDescription("Takes an array of at most 100 items; each has its own result. An `id` is the message's id and its idempotency key.")
            .WithMetadata(new RequestExample("""[{"event":"call","data":{"endpoint":"1234"},"id":"call-1"},{"event":"report_csr","data":{}}]"""))
            .Produces<BatchAnswer>()
            .ProducesProblems(400, 403, 413);
    }

    private static async Task NotifyAsync(
        HttpContext context, string @event, EventTable events, Publisher publisher, BrokerOptions options, BrokerTelemetry telemetry)
    {
        if (!Names.IsEvent(@event))
        {
            throw new RefusedException(ErrorCode.BadName, Names.EventForm);
        }

        string? key = null;
        if (context.Request.Headers.TryGetValue("Idempotency-Key", out var header) && !Names.IsId(key = header.ToString()))
        {
            throw new RefusedException(ErrorCode.BadName, Names.IdForm);
        }

        using var body = await RequestBody.ReadAsync(context, options.MaxMessageBytes, telemetry);
        var address = publisher.ReadAddress(body.Json.Span);
        var published = await publisher.PublishAsync(events.Find(@event), body.Json, address, key, id: null);
        if (published.Id is null && IsStrict(context.Request))
        {
            throw new RefusedException(ErrorCode.UnknownEvent, $"Nobody registered the event {@event}.");
        }

        Answer(context.Response, published);
    }

    private static async Task<BatchAnswer> BatchAsync(
        HttpContext context, EventTable events, Publisher publisher, BrokerOptions options, BrokerTelemetry telemetry)
    {
        using var body = await RequestBody.ReadAsync(context, options.MaxBatchBytes, telemetry);
        var items = BatchItem.ReadAll(body.Json, publisher.ReaderOptions, options.MaxBatchItems);
        var results = new BatchResult[items.Count];
        for (var i = 0; i < results.Length; i++)
        {
            results[i] = await PublishAsync(items[i], events, publisher, options);
        }

        return new BatchAnswer(Array.TrueForAll(results, result => result.Ok), results);
    }

    private static async ValueTask<BatchResult> PublishAsync(BatchItem item, EventTable events, Publisher publisher, BrokerOptions options)
    {
        try
        {
            item.Check(options.MaxMessageBytes);
            var published = await publisher.PublishAsync(events.Find(item.Event), item.Data, item.Address, item.Id, item.Id);
            return published.Id is { } id
                ? new BatchResult(true, id, published.Duplicate)
                : new BatchResult(false, Ignore: true);
        }
        catch (RefusedException refused)
        {
            return new BatchResult(false, Error: new BatchError(refused.Code, refused.Message, Retry: false));
        }
    }

    private static bool IsStrict(HttpRequest request) =>
        request.Headers["Prefer"].ToString().Contains("handling=strict", StringComparison.OrdinalIgnoreCase);

    /// <summary>Written by hand, since it is the answer to every push: no serializer, nothing allocated.</summary>
    private static void Answer(HttpResponse response, Published published)
    {
        response.ContentType = "application/json";
        var writer = response.BodyWriter;
        var target = writer.GetSpan(64 + (6 * Names.MaxIdLength));
        var length = 0;
        if (published.Id is { } id)
        {
            Put("{\"ok\":true,\"id\":\""u8, target, ref length);

            // Single pushes get ids of ours, or of a batch's item before: those may need escapes.
            var isPlain = Ascii.IsValid(id) && id.AsSpan().IndexOfAny('"', '\\') < 0;
            var text = isPlain ? Encoding.ASCII.GetBytes(id) : JsonEncodedText.Encode(id).EncodedUtf8Bytes;
            Put(text, target, ref length);
            Put(published.Duplicate ? "\",\"duplicate\":true}"u8 : "\"}"u8, target, ref length);
        }
        else
        {
            Put("{\"ok\":false,\"ignore\":true}"u8, target, ref length);
        }

        response.ContentLength = length;
        writer.Advance(length);
    }

    private static void Put(ReadOnlySpan<byte> bytes, Span<byte> target, ref int length)
    {
        bytes.CopyTo(target[length..]);
        length += bytes.Length;
    }
}
