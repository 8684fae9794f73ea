using System.Buffers;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Dmb.Access;
using Dmb.Backends;
using Dmb.Redis;
using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Telemetry;
using Dmb.Webhooks;

namespace Dmb.Endpoints;

/// <summary>The registration of a backend service.</summary>
/// <param name="Bkid">Its id, by which users connect to it.</param>
/// <param name="Channel">The Redis channel that it may send its messages to.</param>
/// <param name="Uplink">The Redis channel of the uplinks of all backends.</param>
/// <param name="TtlS">Seconds for which the registration lives after its last use.</param>
/// <param name="Webhook">The webhook that receives its uplinks; null without one.</param>
internal sealed record BackendAnswer(
    string Bkid,
    string Channel,
    string Uplink,
    int TtlS,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] WebhookAnswer? Webhook = null
);

/// <summary>The result of a backend's message.</summary>
/// <param name="Type">`bk_message_ack`.</param>
/// <param name="Id">The message's own id, as received.</param>
/// <param name="Ok">True.</param>
/// <param name="Nodes">Number of nodes with sessions that received it; 0 if none is connected.</param>
/// <param name="Duplicate">Whether it was sent before; then it is not delivered again.</param>
/// <param name="Degraded">
/// With 202 or 200 while Redis is away: `spooled`, kept for other nodes; `local`, delivered here only.
/// </param>
internal sealed record MessageAnswer(
    string Type,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] JsonNode? Id,
    bool Ok,
    int Nodes,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] bool Duplicate,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Degraded
);

/// <summary>A stored uplink.</summary>
/// <param name="Id">Its message id.</param>
/// <param name="Uplink">The data of `dmb:uplink`, as in /asyncapi.yaml.</param>
internal sealed record UplinkAnswer(string Id, JsonElement Uplink);

/// <summary>Maps /register/backend and /backend/{bkid}: a backend service and its users.</summary>
internal static class BackendEndpoints
{
    private const string BkidExample = "0123456789abcdef0123456789abcdef";
    private const int UplinksMax = 1_000;

    public static void MapBackends(this IEndpointRouteBuilder routes)
    {
        routes
            .MapPost("/register/backend", RegisterAsync)
            .WithTags("Backends")
            .WithName("registerBackend")
            .WithSummary("Register a backend service.")
            .WithDescription(
                "Returns its `bkid` and channel. A service that reconnects sends its `bkid` to resume the "
                    + "registration; a new one leaves it out. One that holds no connection adds "
                    + "`\"webhook\":{\"url\":…}`: its uplinks are posted there."
            )
            .WithMetadata(new RequestExample($$"""{"name":"billing","bkid":"{{BkidExample}}"}"""))
            .Produces<BackendAnswer>(StatusCodes.Status201Created)
            .ProducesProblems(400, 401, 403, 413, 503)
            .Requires(Operation.Register);

        routes
            .MapDelete("/register/backend/{bkid}", FreeAsync)
            .WithTags("Backends")
            .WithName("freeBackend")
            .WithSummary("Free a backend service, and delete its data.")
            .WithMetadata(new RouteExample("bkid", BkidExample))
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(401, 403, 404, 503)
            .Requires(Operation.Register);

        var group = routes.MapGroup("/backend/{bkid}").WithTags("Backends");

        group
            .MapPost("/messages", SendAsync)
            .WithName("sendMessage")
            .WithSummary("Send a message to one user of a backend service, or, without `to`, to all.")
            .WithDescription(
                "Users get it as `dmb:direct` or `dmb:broadcast`. A repeated `id` is a duplicate and is not "
                    + "delivered again."
            )
            .WithMetadata(
                new RouteExample("bkid", BkidExample),
                new RequestExample("""{"to":"user-42","data":{"text":"hello"}}""")
            )
            .Produces<MessageAnswer>()
            .Produces<MessageAnswer>(StatusCodes.Status202Accepted)
            .ProducesProblems(400, 401, 403, 404, 413, 429, 503)
            .Requires(Operation.Publish);

        group
            .MapGet("/uplink/stored", ReadAsync)
            .WithName("readUplink")
            .WithSummary("Read a backend's stored uplinks.")
            .WithDescription(
                "The oldest first, at most `max` (default 100, up to 1,000): those after the message `after`, or "
                    + "from the oldest stored one."
            )
            .WithMetadata(new RouteExample("bkid", BkidExample))
            .WithMetadata(
                new QueryParameter("after", "The `id` of the last one that was read."),
                new QueryParameter("max", "How many at most, 1 to 1,000.")
            )
            .Produces<UplinkAnswer[]>()
            .ProducesProblems(400, 401, 403, 404, 503)
            .Requires(Operation.Register);
    }

    /// <summary>Maps the stream of a backend's uplinks.</summary>
    public static void MapUplinks(this IEndpointRouteBuilder routes)
    {
        const string Path = "/backend/{bkid}/uplink";

        routes
            .MapGet(Path, StreamAsync)
            .WithTags("Backends")
            .WithName("streamUplink")
            .WithSummary("Stream a backend's uplinks.")
            .WithDescription("Server-sent events named `dmb:uplink`: users' messages and presence.")
            .WithMetadata(EventStreamEndpoints.Heartbeat)
            .WithMetadata(new RouteExample("bkid", BkidExample))
            .Produces<string>(StatusCodes.Status200OK, "text/event-stream")
            .ProducesProblems(401, 403, 404, 503)
            .Requires(Operation.Register);

        routes
            .MapMethods(Path, [HttpMethods.Head], (Delegate)StreamAsync)
            .ExcludeFromDescription()
            .Requires(Operation.Register);
    }

    private static async Task<IResult> RegisterAsync(
        HttpContext context,
        BackendServices backends,
        Limits limits,
        RoutingOptions options,
        BackendOptions lifetimes,
        RedisOptions redis,
        WebhookRegistration webhooks,
        BrokerTelemetry telemetry
    )
    {
        limits.Publish(context.Caller(), context.Connection.RemoteIpAddress);
        using var body = await RequestBody.ReadAsync(context, options.MaxMessageBytes, telemetry);
        var members = JsonMembers.Read(body.Json, options.MaxJsonDepth, ErrorCode.BadJson);
        var asked = members.Raw("webhook") is { IsEmpty: false } webhook ? WebhookRequest.Read(webhook.Span) : null;
        var backend = await backends.RegisterAsync(members.Text("name"), members.Text("bkid"));
        WebhookAnswer? answer = null;
        if (asked is not null)
        {
            var (hook, secret) = await webhooks.RegisterAsync(
                asked with
                {
                    Backend = backend.Bkid,
                },
                context.RequestAborted
            );
            answer = WebhookAnswer.Of(hook, secret);
        }

        return Results.Json(
            new BackendAnswer(
                backend.Bkid,
                redis.Prefix + backend.Bkid,
                redis.Prefix + "uplink",
                (int)lifetimes.BackendTtl.TotalSeconds,
                answer
            ),
            ApiJson.Wire.BackendAnswer,
            statusCode: StatusCodes.Status201Created
        );
    }

    private static async Task<IResult> FreeAsync(string bkid, BackendServices backends)
    {
        await backends.FreeAsync(bkid);
        return Results.NoContent();
    }

    private static async Task<IResult> SendAsync(
        HttpContext context,
        string bkid,
        BackendServices backends,
        Limits limits,
        RoutingOptions options,
        BrokerTelemetry telemetry
    )
    {
        limits.Publish(context.Caller(), context.Connection.RemoteIpAddress);
        using var body = await RequestBody.ReadAsync(context, options.MaxMessageBytes, telemetry);
        var members = JsonMembers.Read(body.Json, options.MaxJsonDepth, ErrorCode.BadJson);
        var message = BackendMessage.Read(members, "to", ErrorCode.BadJson);
        var (_, sent) = await backends.SendAsync(bkid, message);
        var id = message.Id.IsEmpty ? null : JsonNode.Parse(message.Id.Span);
        return Results.Json(
            new MessageAnswer(
                "bk_message_ack",
                id,
                true,
                sent.Nodes,
                sent.IsDuplicate,
                NotifyAnswers.DegradedOf(sent.Outcome)
            ),
            ApiJson.Wire.MessageAnswer,
            statusCode: sent.Outcome == PublishOutcome.Spooled ? StatusCodes.Status202Accepted : StatusCodes.Status200OK
        );
    }

    private static async Task StreamAsync(
        HttpContext context,
        string bkid,
        SessionTable sessions,
        BackendServices backends
    )
    {
        await backends.TouchAsync(bkid);
        await EventStreamSession.RunAsync(context, sessions, async session =>
        {
            await backends.ListenAsync(session, bkid);
            return default;
        });
    }

    private static async Task<IResult> ReadAsync(
        string bkid,
        BackendServices backends,
        string? after = null,
        int max = 100
    )
    {
        var stored = await backends.ReadUplinkAsync(bkid, after, Math.Clamp(max, 1, UplinksMax));
        var body = new ArrayBufferWriter<byte>();
        foreach (var (id, json) in stored)
        {
            body.Append(body.WrittenCount == 0 ? "["u8 : ","u8)
                .Append("{\"id\":"u8)
                .Append(JsonText.Quote(id))
                .Append(",\"uplink\":"u8)
                .Append(json.Span)
                .Append("}"u8);
        }

        body.Append(body.WrittenCount == 0 ? "[]"u8 : "]"u8);
        return Results.Bytes(body.WrittenMemory, "application/json; charset=utf-8");
    }
}
