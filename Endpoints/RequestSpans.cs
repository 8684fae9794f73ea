using System.Diagnostics;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>Completes Kestrel's span of a request by OpenTelemetry's HTTP conventions.</summary>
internal static class RequestSpans
{
    /// <summary>Paths of frequent probes, which are not traced.</summary>
    private static readonly string[] Probes = ["/healthz", "/readyz", "/metrics"];

    /// <summary>Sets the route and status of spans and, for 5xx, the error.</summary>
    public static void UseRequestSpans(this WebApplication app) =>
        app.Use(
            (context, next) =>
                context.Features.Get<IHttpActivityFeature>()?.Activity is { IsAllDataRequested: true } span
                    ? DescribeAsync(context, next, span)
                    : next(context)
        );

    private static async Task DescribeAsync(HttpContext context, RequestDelegate next, Activity span)
    {
        if (Array.Exists(Probes, path => context.Request.Path == path))
        {
            span.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
            span.IsAllDataRequested = false;
        }

        // Removed, since a query may contain a token.
        span.SetTag("url.query", null);
        await next(context);
        Describe(
            span,
            context.Request.Method,
            (context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText,
            context.Response.StatusCode
        );
    }

    /// <summary>Sets a span's name, route and status.</summary>
    public static void Describe(Activity span, string method, string? route, int status)
    {
        if (!span.IsAllDataRequested)
        {
            return;
        }

        span.DisplayName = route is null ? method : $"{method} {route}";
        span.SetTag("http.route", route).SetTag("http.response.status_code", status);
        if (status >= StatusCodes.Status500InternalServerError)
        {
            span.SetTag("error.type", $"{status}").SetStatus(ActivityStatusCode.Error);
        }
    }
}
