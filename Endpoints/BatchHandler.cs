using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>Handles POST /_notify: publishes the items of a batch in order, each as one push.</summary>
internal sealed class BatchHandler(
    EventTable events,
    Publisher publisher,
    Limits limits,
    RoutingOptions options,
    HttpOptions http,
    BrokerTelemetry telemetry
)
{
    public async Task<IResult> BatchAsync(HttpContext context)
    {
        using var body = await RequestBody.ReadAsync(context, http.MaxBatchBytes, telemetry);
        var items = BatchItem.ReadAll(body.Json, publisher.ReaderOptions, http.MaxBatchItems);
        var results = new NotifyAnswer[items.Count];
        for (var i = 0; i < results.Length; i++)
        {
            results[i] = await PublishAsync(items[i], context);
        }

        return Results.Json(
            new BatchAnswer(Array.TrueForAll(results, result => result.Ok), results),
            ApiJson.Wire.BatchAnswer
        );
    }

    private async ValueTask<NotifyAnswer> PublishAsync(BatchItem item, HttpContext context)
    {
        var caller = context.Caller();
        try
        {
            limits.Publish(caller, context.Connection.RemoteIpAddress);
            item.Check(options.MaxMessageBytes);
            var registration = events.Find(item.Event!);
            if (events.Resolver is { } resolver)
            {
                registration = await resolver(item.Event!, registration);
            }

            var published = await publisher.PublishAsync(
                registration,
                item.Data,
                item.Address,
                caller.Scoped(item.Id),
                item.Id,
                new Origin(Origin.Http, caller.Name, item.Event),
                context.Request.Headers.TraceParent
            );
            return published.Id is { } id
                ? new NotifyAnswer(true, id, published.Duplicate, Degraded: NotifyAnswers.DegradedOf(published.Outcome))
                : new NotifyAnswer(false, Ignore: true);
        }
        catch (RefusedException refused)
        {
            publisher.Tail.Refused(new Origin(Origin.Http, caller.Name, item.Event), refused);
            return new NotifyAnswer(false, Error: new NotifyError(refused.Code, refused.Message, refused.Retry));
        }
    }
}
