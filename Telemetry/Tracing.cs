using System.Diagnostics;

namespace Dmb.Telemetry;

/// <summary>Owns the activity source <c>Dmb</c> (docs/telemetry.md) and sets its spans' common attributes.</summary>
internal static class Tracing
{
    public const string SourceName = "Dmb";

    /// <summary>Creates the spans of messages; none without a listener.</summary>
    public static ActivitySource Source { get; } = new(SourceName);

    /// <summary>
    /// Tells by the caller's context (default without one) and the trace's id whether a trace is sampled, before a span
    /// is made; null while none is exported.
    /// </summary>
    public static Func<ActivityContext, ActivityTraceId, bool>? Sampler { get; set; }

    /// <summary>
    /// Starts the span of a plain input over Redis. All nodes receive each input; those that do not publish it
    /// <see cref="Drop"/> their span.
    /// </summary>
    public static Activity? Input(string kind, string name)
    {
        var span = Source.HasListeners() ? Source.StartActivity($"receive {kind}{name}", ActivityKind.Consumer) : null;
        return span is null ? null : Describe(span, "receive", "receive", kind + name);
    }

    /// <summary>Excludes the current span and its parents from export.</summary>
    public static void Drop()
    {
        for (var span = Activity.Current; span is not null; span = span.Parent)
        {
            span.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
            span.IsAllDataRequested = false;
        }
    }

    /// <summary>The <c>traceparent</c> for a message to carry; null if it is invalid or not sampled.</summary>
    /// <param name="traceparent">As in W3C Trace Context, section 3.2.</param>
    public static string? Carried(string? traceparent) =>
        traceparent is { Length: > 0 }
        && ActivityContext.TryParse(traceparent, null, out var context)
        && context.TraceFlags.HasFlag(ActivityTraceFlags.Recorded)
            ? $"00-{context.TraceId}-{context.SpanId}-01"
            : null;

    /// <summary>Sets the attributes of all messaging spans.</summary>
    public static Activity Describe(Activity span, string name, string type, string destination) =>
        span.SetTag("messaging.system", "dmb")
            .SetTag("messaging.operation.name", name)
            .SetTag("messaging.operation.type", type)
            .SetTag("messaging.destination.name", destination);
}
