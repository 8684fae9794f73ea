using Dmb.Access;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>Maps GET /metrics: the node's metrics for Prometheus.</summary>
internal static class MetricsEndpoints
{
    public static void MapMetrics(this IEndpointRouteBuilder routes)
    {
        // Created here, so that it counts from the start.
        var page = routes.ServiceProvider.GetRequiredService<MetricsPage>();
        routes
            .MapGet("/metrics", () => Results.Bytes(page.Read(), MetricsPage.ContentType))
            .WithTags("Health")
            .WithName("metrics")
            .WithSummary("Read the node's metrics in Prometheus' text format.")
            .WithDescription("docs/telemetry.md lists them.")
            .Produces<string>(StatusCodes.Status200OK, "text/plain")
            .ProducesProblems(401, 403)
            .Requires(Operation.Read);
    }
}
