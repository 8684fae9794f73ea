using System.Net.Mime;

namespace Dmb.Endpoints;

/// <summary>
/// Serves the console at <c>/</c>: the files of <c>wwwroot/</c> and its client, embedded in the assembly.
/// </summary>
internal static class ConsoleEndpoints
{
    /// <summary>
    /// The console's Content Security Policy (Level 3): files and data of this node only, no framing, no inline scripts
    /// or styles.
    /// </summary>
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// <summary>Prefix of the files' resource names.</summary>
    private const string Prefix = "wwwroot/";

    private const string Page = "index.html";

    /// <summary>Maps <c>/</c>, and a route per file.</summary>
    public static void MapConsole(this IEndpointRouteBuilder routes)
    {
        foreach (var resource in typeof(ConsoleEndpoints).Assembly.GetManifestResourceNames())
        {
            if (resource.StartsWith(Prefix, StringComparison.Ordinal) && resource != Prefix + Page)
            {
                routes
                    .MapGet("/" + resource[Prefix.Length..], context => SendAsync(context, resource))
                    .ExcludeFromDescription();
            }
        }

        routes
            .MapGet("/", (Delegate)ShowAsync)
            .WithTags("Contract")
            .WithSummary(
                "The console: nodes, rooms and sessions of the cluster; watch rooms and publish from a browser."
            )
            .Produces<string>(StatusCodes.Status200OK, MediaTypeNames.Text.Html)
            .ProducesProblems(403);
    }

    private static Task ShowAsync(HttpContext context) => SendAsync(context, Prefix + Page);

    private static async Task SendAsync(HttpContext context, string resource)
    {
        await using var file = typeof(ConsoleEndpoints).Assembly.GetManifestResourceStream(resource)!;
        var response = context.Response;
        HttpEdges.AddPageHeaders(response.Headers);
        response.Headers.ContentSecurityPolicy = Policy;

        // An updated node has new files under the same names.
        response.Headers.CacheControl = "no-cache";
        response.ContentLength = file.Length;
        response.ContentType = Path.GetExtension(resource) switch
        {
            ".js" => "text/javascript; charset=utf-8",
            ".css" => "text/css; charset=utf-8",
            ".svg" => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        await file.CopyToAsync(response.Body, context.RequestAborted);
    }
}
