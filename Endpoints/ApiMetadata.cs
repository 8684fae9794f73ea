namespace Dmb.Endpoints;

/// <summary>
/// A body that works when pasted; it goes into openapi.yaml and says nothing about which bodies are taken.
/// </summary>
internal sealed record RequestExample(string Json);

/// <summary>A value for a part of the route that works when pasted.</summary>
internal sealed record RouteExample(string Name, string Value);

/// <summary>What a query parameter means, with a value that works when pasted if it needs none beside it.</summary>
internal sealed record QueryParameter(string Name, string Meaning, string? Example = null, bool IsList = false);

/// <summary>A header that the handler reads.</summary>
internal sealed record RequestHeader(string Name, string Meaning);

/// <summary>What endpoints say about themselves for openapi.yaml.</summary>
internal static class ApiMetadata
{
    /// <summary>Answers that are problems (RFC 9457).</summary>
    public static RouteHandlerBuilder ProducesProblems(
        this RouteHandlerBuilder route,
        params ReadOnlySpan<int> statuses
    )
    {
        foreach (var status in statuses)
        {
            route.Produces<Problem>(status, "application/problem+json");
        }

        return route;
    }
}
