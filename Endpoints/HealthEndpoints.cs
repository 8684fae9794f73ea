using System.Text.Json.Serialization;
using Dmb.Routing;
using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>The state of the node.</summary>
/// <param name="Status"><c>alive</c>; <c>ready</c>, <c>degraded</c> or <c>draining</c>.</param>
/// <param name="Reason">The reason why it is degraded.</param>
/// <param name="Groups">With several groups of rooms, those that are away, with their reasons.</param>
internal sealed record HealthAnswer(
    string Status,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Reason = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<GroupDown>? Groups = null
);

/// <summary>Maps GET /healthz (liveness) and /readyz (readiness for new sessions).</summary>
internal static class HealthEndpoints
{
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        var group = routes.MapGroup("").WithTags("Health");

        group
            .MapGet("/healthz", () => Results.Json(new HealthAnswer("alive"), ApiJson.Wire.HealthAnswer))
            .WithName("health")
            .WithSummary("Whether the process is alive.")
            .Produces<HealthAnswer>()
            .ProducesProblems(403);

        group
            .MapGet("/readyz", Ready)
            .WithName("readiness")
            .WithSummary("Whether the node takes new sessions.")
            .WithDescription(
                "`degraded` while Redis is down: the node continues to serve by its outage policy. With `?strict=1` "
                    + "`degraded` is a 503 too."
            )
            .WithMetadata(new QueryParameter("strict", "`1` makes `degraded` a 503."))
            .Produces<HealthAnswer>()
            .Produces<HealthAnswer>(StatusCodes.Status503ServiceUnavailable)
            .ProducesProblems(403);
    }

    private static IResult Ready(HttpRequest request, Drain drain, BackplaneState backplane)
    {
        var why = backplane.Why;
        var answer =
            drain.IsStopping ? new HealthAnswer("draining")
            : why is null ? new HealthAnswer("ready")
            : new HealthAnswer("degraded", why, backplane.Down is { Count: > 0 } down ? down : null);
        var isRefused = drain.IsStopping || (why is not null && request.Query["strict"] == "1");
        return Results.Json(
            answer,
            ApiJson.Wire.HealthAnswer,
            statusCode: isRefused ? StatusCodes.Status503ServiceUnavailable : StatusCodes.Status200OK
        );
    }
}
