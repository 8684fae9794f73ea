using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using Dmb.Endpoints;
using Dmb.Telemetry;

namespace Dmb.Http.FastPath;

/// <summary>
/// Records spans and metrics of pushes on the fast path with the names, attributes and instruments of ASP.NET Core's
/// requests (OpenTelemetry's HTTP conventions). Creates nothing while there is no listener.
/// </summary>
internal sealed class RequestTelemetry(IMeterFactory meters)
{
    private const string SpanName = "Microsoft.AspNetCore.Hosting.HttpRequestIn";
    private const string MeterName = "Microsoft.AspNetCore.Hosting";
    private const string Method = "POST";

    private static readonly ActivitySource Spans = new("Microsoft.AspNetCore");

    private readonly UpDownCounter<long> _active = meters
        .Create(MeterName)
        .CreateUpDownCounter<long>(
            "http.server.active_requests",
            "{request}",
            "Number of active HTTP server requests."
        );

    private readonly Histogram<double> _duration = meters
        .Create(MeterName)
        .CreateHistogram(
            "http.server.request.duration",
            "s",
            "Duration of HTTP server requests.",
            tags: null,
            new InstrumentAdvice<double>
            {
                HistogramBucketBoundaries = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
            }
        );

    /// <summary>Whether a listener observes requests.</summary>
    public bool IsObserved => _active.Enabled || _duration.Enabled || Spans.HasListeners();

    /// <summary>Starts a request's measurement. Its span is current until <see cref="End"/>.</summary>
    public static ObservedRequest Begin(PushRequestParser head) =>
        new(StartSpan(head, out var isSampled), Stopwatch.GetTimestamp(), isSampled);

    /// <summary>Counts a request as active that waits for something; one that is answered at once never is.</summary>
    public ObservedRequest Await(in ObservedRequest request)
    {
        if (!_active.Enabled)
        {
            return request;
        }

        _active.Add(1, new("http.request.method", Method), new("url.scheme", "http"));
        return request with { IsCounted = true };
    }

    /// <summary>Ends a request's measurement.</summary>
    public void End(in ObservedRequest request, int status)
    {
        if (request.IsCounted)
        {
            _active.Add(-1, new("http.request.method", Method), new("url.scheme", "http"));
        }

        if (_duration.Enabled)
        {
            var tags = new TagList
            {
                { "url.scheme", "http" },
                { "http.request.method", Method },
                { "network.protocol.version", "1.1" },
                { "http.response.status_code", status },
                { "http.route", NotifyEndpoints.Route },
            };
            _duration.Record(Stopwatch.GetElapsedTime(request.Start).TotalSeconds, tags);
        }

        if (request.Span is { } span)
        {
            if (span.IsAllDataRequested)
            {
                span.DisplayName = Method + " " + NotifyEndpoints.Route;
                span.SetTag("http.route", NotifyEndpoints.Route).SetTag("http.response.status_code", status);
                if (status >= StatusCodes.Status500InternalServerError)
                {
                    span.SetTag("error.type", $"{status}").SetStatus(ActivityStatusCode.Error);
                }
            }

            span.Stop();
        }
    }

    /// <summary>Starts the span of a request that is sampled; nothing is made for any other.</summary>
    private static Activity? StartSpan(PushRequestParser head, out bool isSampled)
    {
        isSampled = true;
        if (!Spans.HasListeners())
        {
            return null;
        }

        var context = default(ActivityContext);
        if (!head.TraceParent.IsEmpty)
        {
            var state = head.TraceState.IsEmpty ? null : FastPathMiddleware.Text(head.TraceState);
            _ = ActivityContext.TryParse(FastPathMiddleware.Text(head.TraceParent), state, isRemote: true, out context);
        }

        if (Tracing.Sampler is { } sampler)
        {
            var trace = context.TraceId == default ? ActivityTraceId.CreateRandom() : context.TraceId;
            isSampled = sampler(context, trace);
            if (!isSampled)
            {
                return null;
            }

            if (context == default)
            {
                // A root span of the trace that was decided on: it has no parent.
                context = new ActivityContext(trace, default, ActivityTraceFlags.Recorded);
            }
        }

        var span = Spans.StartActivity(SpanName, ActivityKind.Server, context);
        if (span is { IsAllDataRequested: true })
        {
            Describe(span, head);
        }

        return span;
    }

    /// <summary>
    /// Sets the attributes of a recorded span. The samplers that <c>OTEL_TRACES_SAMPLER</c> names use none of them.
    /// </summary>
    private static void Describe(Activity span, PushRequestParser head)
    {
        var host = FastPathMiddleware.Text(head.Host);
        var colon = host.IndexOf(':', StringComparison.Ordinal);
        span.SetTag("server.address", colon < 0 ? host : host[..colon]);
        if (colon >= 0)
        {
            var port = int.Parse(host.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture);
            span.SetTag("server.port", port);
        }

        span.SetTag("http.request.method", Method);
        if (!head.UserAgent.IsEmpty)
        {
            span.SetTag("user_agent.original", FastPathMiddleware.Text(head.UserAgent));
        }

        span.SetTag("network.protocol.version", "1.1");
        span.SetTag("url.scheme", "http").SetTag("url.path", "/_notify/" + FastPathMiddleware.Text(head.Event));
    }
}

/// <summary>An observed request in progress.</summary>
/// <param name="Span">Its span; null without a listener.</param>
/// <param name="Start">Its start, as <see cref="Stopwatch.GetTimestamp"/>.</param>
/// <param name="IsSampled">False where a sampler decided that it is not traced.</param>
/// <param name="IsCounted">Whether it was added to the active requests.</param>
internal readonly record struct ObservedRequest(Activity? Span, long Start, bool IsSampled, bool IsCounted = false);
