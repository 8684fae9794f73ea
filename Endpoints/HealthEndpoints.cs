namespace Dmb.Endpoints;

/// <summary>How the node is.</summary>
internal sealed record HealthAnswer(string Status);

/// <summary>GET /healthz and /readyz: is the process alive, and should it get work.</summary>
internal static class HealthEndpoints
{
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/healthz", () => new HealthAnswer("alive"))
            .WithTags("Health")
            .WithName("health")
            .WithSummary("Whether the process is alive.");
    }
}
