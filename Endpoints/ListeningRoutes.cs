using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>Groups the routes of listeners, which a node that only publishes does not serve.</summary>
internal static class ListeningRoutes
{
    /// <summary>
    /// A group for routes that need sessions, or what other nodes say. On a node that only publishes they answer 404
    /// <c>publish_only</c>.
    /// </summary>
    public static RouteGroupBuilder MapListening(this IEndpointRouteBuilder routes, RoutingOptions options)
    {
        var group = routes.MapGroup("");
        if (options.IsPublishOnly)
        {
            ((IEndpointConventionBuilder)group).Add(static endpoint => endpoint.RequestDelegate = Refuse);
        }

        return group;
    }

    private static Task Refuse(HttpContext context) =>
        throw new RefusedException(
            ErrorCode.PublishOnly,
            $"This node only publishes (DMB_ROLE=publish); {context.Request.Path} is on nodes with DMB_ROLE=all."
        );
}
