namespace Dmb.Endpoints;

/// <summary>How the node is.</summary>
/// <param name="Status"><c>alive</c>.</param>
internal sealed record HealthAnswer(string Status);

/// <summary>GET /healthz: is the process alive.</summary>
internal static class HealthEndpoints
{
    public static void MapHealth(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/healthz", () => new HealthAnswer("alive"))
            .WithTags("Health")
            .WithName("health")
            .WithSummary("Whether the process is alive.")
            .ProducesProblems(403);
}
