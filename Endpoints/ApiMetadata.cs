namespace Dmb.Endpoints;

/// <summary>Endpoint metadata: an example body for openapi.yaml, which does not restrict the accepted types.</summary>
internal sealed record RequestExample(string Json);

/// <summary>Endpoint metadata: an example value of a route parameter.</summary>
internal sealed record RouteExample(string Name, string Value);

/// <summary>Endpoint metadata: a query parameter's meaning and, if it can stand alone, an example value.</summary>
internal sealed record QueryParameter(string Name, string Meaning, string? Example = null, bool IsList = false);

/// <summary>Endpoint metadata: a request header that the handler reads.</summary>
internal sealed record RequestHeader(string Name, string Meaning);

/// <summary>Adds metadata for openapi.yaml to endpoints.</summary>
internal static class ApiMetadata
{
    /// <summary>Declares the statuses that are answered with a problem (RFC 9457).</summary>
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
