using System.Text.Json;
using System.Text.Json.Serialization;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;
using Dmb.Webhooks;

namespace Dmb.Endpoints;

/// <summary>A webhook.</summary>
/// <param name="Id">Its identity.</param>
/// <param name="Url">Where messages are posted.</param>
/// <param name="Events">Events whose messages it gets.</param>
/// <param name="Rooms">Rooms whose messages it gets.</param>
/// <param name="Backend">The bkid of the backend whose uplink it gets, or null.</param>
/// <param name="Created">When it was registered.</param>
/// <param name="Secret">What deliveries are signed with: only in the answer that tells a new one.</param>
/// <param name="Delivery">
/// How the delivery is: only where webhooks are shown, and a node has delivered to it since it took it over.
/// </param>
internal sealed record WebhookAnswer(
    string Id,
    string Url,
    IReadOnlyList<string> Events,
    IReadOnlyList<string> Rooms,
    string? Backend,
    DateTimeOffset Created,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Secret = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] WebhookState? Delivery = null
)
{
    public static WebhookAnswer Of(Webhook webhook, string? secret = null, WebhookState? delivery = null) =>
        new(webhook.Id, webhook.Url, webhook.Events, webhook.Rooms, webhook.Backend, webhook.Created, secret, delivery);
}

/// <summary>Webhooks, the newest first.</summary>
/// <param name="Items">The webhooks.</param>
/// <param name="Next">What `after` takes for more, or null.</param>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record WebhooksAnswer(IReadOnlyList<WebhookAnswer> Items, string? Next, IReadOnlyList<string> Missing);

/// <summary>/webhooks: URLs that get messages.</summary>
internal static partial class WebhookEndpoints
{
    private const string IdExample = "0123456789abcdef0123456789abcdef";
    private const string Tag = "Webhooks";

    /// <summary>Name of the question for deliveries; its argument are ids of webhooks, by commas.</summary>
    private const string Deliveries = "webhooks";

    public static void MapWebhooks(this IEndpointRouteBuilder routes)
    {
        var services = routes.ServiceProvider;
        var (delivery, cluster) = (
            services.GetRequiredService<WebhookDelivery>(),
            services.GetRequiredService<ICluster>()
        );
        services
            .GetRequiredService<ClusterQuestions>()
            .Add(Deliveries, ids =>
                ValueTask.FromResult(
                    JsonSerializer.SerializeToUtf8Bytes(
                        delivery.Show(ids.Split(','), cluster.NodeId),
                        ApiJson.Wire.WebhookStateArray
                    )
                )
            );

        routes
            .MapPost("/webhooks", RegisterAsync)
            .WithTags(Tag)
            .WithName("registerWebhook")
            .WithSummary("Register a URL that gets messages.")
            .WithDescription(
                "It gets the messages of `events`, those of `rooms`, and the uplink of `backend`, as CloudEvents "
                    + "1.0 in "
                    + "binary mode, signed after Standard Webhooks. The URL is asked by the Web Hook handshake. The "
                    + "answer is the only one with the secret."
            )
            .WithMetadata(new RequestExample("""{"url":"https://example.com/hook","rooms":["support"]}"""))
            .Produces<WebhookAnswer>(StatusCodes.Status201Created)
            .ProducesProblems(400, 401, 403, 404, 409, 413, 503)
            .Requires(Operation.Register);

        routes
            .MapGet("/webhooks", ListAsync)
            .WithTags(Tag)
            .WithName("listWebhooks")
            .WithSummary("List the webhooks, the newest first.")
            .WithDescription("Each with its `delivery`: what waits, since when, and what failed last.")
            .WithMetadata(OperatorEndpoints.Limit, OperatorEndpoints.After)
            .Produces<WebhooksAnswer>()
            .ProducesProblems(400, 401, 403)
            .Requires(Operation.Register);

        routes
            .MapGet("/webhooks/{webhook}", ShowAsync)
            .WithTags(Tag)
            .WithName("showWebhook")
            .WithSummary("Show a webhook.")
            .WithMetadata(new RouteExample("webhook", IdExample))
            .Produces<WebhookAnswer>()
            .ProducesProblems(401, 403, 404)
            .Requires(Operation.Register);

        routes
            .MapPost("/webhooks/{webhook}/secret", RotateAsync)
            .WithTags(Tag)
            .WithName("rotateWebhookSecret")
            .WithSummary("Give a webhook another secret.")
            .WithDescription(
                "Without `secret` the broker makes one. For a day deliveries have the signatures of both secrets."
            )
            .WithMetadata(new RouteExample("webhook", IdExample), new RequestExample("{}"))
            .Produces<WebhookAnswer>()
            .ProducesProblems(400, 401, 403, 404, 413, 503)
            .Requires(Operation.Register);

        routes
            .MapDelete("/webhooks/{webhook}", RemoveAsync)
            .WithTags(Tag)
            .WithName("removeWebhook")
            .WithSummary("Remove a webhook, and all that waits for it.")
            .WithMetadata(new RouteExample("webhook", IdExample))
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(401, 403, 404, 503)
            .Requires(Operation.Register);
    }

    private static async Task<IResult> RegisterAsync(
        HttpContext context,
        WebhookRegistration webhooks,
        Limits limits,
        RoutingOptions options,
        BrokerTelemetry telemetry,
        ILogger<WebhookRegistration> logger
    )
    {
        limits.Publish(context.Caller(), context.Connection.RemoteIpAddress);
        using var body = await RequestBody.ReadAsync(context, options.MaxMessageBytes, telemetry);
        var (webhook, secret) = await webhooks.RegisterAsync(
            WebhookRequest.Read(body.Json.Span),
            context.RequestAborted
        );
        LogRegistered(logger, context.Caller().Name, webhook.Id, webhook.Url);
        return Results.Json(
            WebhookAnswer.Of(webhook, secret),
            ApiJson.Wire.WebhookAnswer,
            statusCode: StatusCodes.Status201Created
        );
    }

    private static async Task<IResult> ListAsync(
        WebhookTable table,
        ICluster cluster,
        int? limit = null,
        string? after = null
    )
    {
        var max = OperatorEndpoints.LimitOf(limit);
        var found = table
            .All.Select(webhook => (Cursor: $"{webhook.Created.UtcTicks:x16}{webhook.Id}", Webhook: webhook))
            .Where(entry => after is null || string.CompareOrdinal(entry.Cursor, after) < 0)
            .OrderByDescending(entry => entry.Cursor, StringComparer.Ordinal)
            .Take(max + 1)
            .ToArray();
        var items = found[..Math.Min(max, found.Length)];
        var (shown, missing) = await WithDeliveryAsync([.. items.Select(entry => entry.Webhook)], cluster);
        return Results.Json(
            new WebhooksAnswer(shown, found.Length > max ? items[^1].Cursor : null, missing),
            ApiJson.Wire.WebhooksAnswer
        );
    }

    private static async Task<IResult> ShowAsync(string webhook, WebhookTable table, ICluster cluster)
    {
        var (shown, _) = await WithDeliveryAsync([table.Find(webhook) ?? throw Webhook.Unknown(webhook)], cluster);
        return Results.Json(shown[0], ApiJson.Wire.WebhookAnswer);
    }

    /// <summary>Adds how the delivery to webhooks is, on whatever node that happens.</summary>
    private static async Task<(WebhookAnswer[] Items, IReadOnlyList<string> Missing)> WithDeliveryAsync(
        Webhook[] webhooks,
        ICluster cluster
    )
    {
        if (webhooks.Length == 0)
        {
            return ([], []);
        }

        var asked = await cluster.AskAsync(Deliveries, string.Join(',', webhooks.Select(webhook => webhook.Id)));
        // A node that has just lost a webhook to another may still have its queue.
        var states = asked
            .Answers.SelectMany(answer => JsonSerializer.Deserialize(answer, ApiJson.Wire.WebhookStateArray)!)
            .GroupBy(state => state.Webhook)
            .ToDictionary(states => states.Key, states => states.MaxBy(state => state.Messages));
        return (
            [.. webhooks.Select(webhook => WebhookAnswer.Of(webhook, delivery: states.GetValueOrDefault(webhook.Id)))],
            asked.Missing
        );
    }

    private static async Task<IResult> RotateAsync(
        HttpContext context,
        string webhook,
        WebhookRegistration webhooks,
        RoutingOptions options,
        BrokerTelemetry telemetry,
        ILogger<WebhookRegistration> logger
    )
    {
        using var body = await RequestBody.ReadAsync(context, options.MaxMessageBytes, telemetry);
        var request = WebhookRequest.Read(body.Json.Span);
        var rotated = await webhooks.RotateAsync(webhook, request.Secret);
        LogRotated(logger, context.Caller().Name, rotated.Id);
        return Results.Json(WebhookAnswer.Of(rotated, rotated.Secrets[0].Text), ApiJson.Wire.WebhookAnswer);
    }

    private static async Task<IResult> RemoveAsync(
        HttpContext context,
        string webhook,
        WebhookRegistration webhooks,
        ILogger<WebhookRegistration> logger
    )
    {
        await webhooks.RemoveAsync(webhook);
        LogRemoved(logger, context.Caller().Name, webhook);
        return Results.NoContent();
    }

    [LoggerMessage(5010, LogLevel.Information, "{Caller} registered webhook {Webhook} at {Url}.")]
    private static partial void LogRegistered(ILogger logger, string? caller, string webhook, string url);

    [LoggerMessage(5011, LogLevel.Information, "{Caller} gave webhook {Webhook} another secret.")]
    private static partial void LogRotated(ILogger logger, string? caller, string webhook);

    [LoggerMessage(5012, LogLevel.Information, "{Caller} removed webhook {Webhook}.")]
    private static partial void LogRemoved(ILogger logger, string? caller, string webhook);
}
