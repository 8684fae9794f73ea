namespace Dmb.Endpoints;

/// <summary>Serves the contracts and Swagger UI, embedded in the assembly.</summary>
internal static class Contract
{
    public static void MapContract(this IEndpointRouteBuilder routes)
    {
        Map(routes, "/openapi.yaml", "openapi.yaml", "application/yaml", "This contract, in OpenAPI 3.1.");
        Map(
            routes,
            "/asyncapi.yaml",
            "asyncapi.yaml",
            "application/yaml",
            "The contract of /ws and of the Redis channels, in AsyncAPI 3.0."
        );
    }

    /// <summary>
    /// Serves Swagger UI at /swagger for openapi.yaml. Created at the first request, not at the start.
    /// </summary>
    public static void UseSwaggerPage(this WebApplication app)
    {
        var page = new Lazy<RequestDelegate>(() =>
        {
            var branch = ((IApplicationBuilder)app).New();
            branch.UseSwaggerUI(ui =>
            {
                ui.DocumentTitle = "DMB";
                ui.SwaggerEndpoint("/openapi.yaml", "DMB");
            });
            return branch.Build();
        });
        app.Use(
            (context, next) =>
            {
                if (!context.Request.Path.StartsWithSegments("/swagger", StringComparison.OrdinalIgnoreCase))
                {
                    return next(context);
                }

                HttpEdges.AddPageHeaders(context.Response.Headers);
                return page.Value(context);
            }
        );
    }

    private static void Map(
        IEndpointRouteBuilder routes,
        string path,
        string resource,
        string contentType,
        string summary
    ) =>
        routes
            .MapGet(path, (HttpContext context) =>
            {
                HttpEdges.AddPageHeaders(context.Response.Headers);
                return Results.Stream(typeof(Contract).Assembly.GetManifestResourceStream(resource)!, contentType);
            })
            .WithTags("Contract")
            .WithSummary(summary)
            .Produces<string>(StatusCodes.Status200OK, contentType.Split(';')[0])
            .ProducesProblems(403);
}
