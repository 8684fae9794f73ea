using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>How the node is.</summary>
/// <param name="Status"><c>alive</c>, <c>ready</c> or <c>draining</c>.</param>
internal sealed record HealthAnswer(string Status);

/// <summary>GET /healthz and /readyz: is the process alive, and should it get new sessions.</summary>
internal static class HealthEndpoints
{
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        var group = routes.MapGroup("").WithTags("Health");

        group.MapGet("/healthz", () => new HealthAnswer("alive"))
            .WithName("health")
            .WithSummary("Whether the process is alive.")
            .ProducesProblems(403);

        group.MapGet("/readyz", Ready)
            .WithName("readiness")
            .WithSummary("Whether the node takes new sessions.")
            .Produces<HealthAnswer>()
            .Produces<HealthAnswer>(StatusCodes.Status503ServiceUnavailable)
            .ProducesProblems(403);
    }

    private static IResult Ready(SessionTable sessions)
    {
        return sessions.IsDraining
            ? Results.Json(new HealthAnswer("draining"), ApiJson.Default.HealthAnswer, statusCode: StatusCodes.Status503ServiceUnavailable)
            : Results.Json(new HealthAnswer("ready"), ApiJson.Default.HealthAnswer);
    }
}
