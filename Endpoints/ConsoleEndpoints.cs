using System.Net.Mime;

namespace Dmb.Endpoints;

/// <summary>
/// The console at <c>/</c>: the files of <c>wwwroot/</c> and the client that it uses, inside the broker's assembly.
/// </summary>
internal static class ConsoleEndpoints
{
    /// <summary>
    /// What the console may do (Content Security Policy Level 3): load files and data from this node alone, and be in
    /// no other page's frame. Inline scripts and styles do not run.
    /// </summary>
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    /// <summary>Prefix of the files among the assembly's resources.</summary>
    private const string Prefix = "wwwroot/";

    private const string Page = "index.html";

    /// <summary>Maps <c>/</c>, and a route for each file that it loads.</summary>
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

        // A node that was updated has other files under the same names.
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
