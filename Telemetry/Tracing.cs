using System.Diagnostics;
using Dmb.Routing;

namespace Dmb.Telemetry;

/// <summary>
/// The spans of a message (docs/telemetry.md): <c>publish {room}</c>, on each node <c>receive {room}</c>, and <c>deliver</c>, under the names that
/// OpenTelemetry gives to messaging. One for each message and node, never one for a session. While nobody listens nothing is made of it.
/// </summary>
internal static class Tracing
{
    public const string SourceName = "Dmb";

    private static readonly ActivitySource Source = new(SourceName);

    /// <summary>Begins a message's way to all nodes; what is sampled carries on from here.</summary>
    public static Activity? Publish(Envelope envelope)
    {
        if (!Source.HasListeners() || envelope.Rooms.Length == 0)
        {
            return null;
        }

        // Behind the current span, if there is one: then it knows it, and can be dropped with it.
        var parent = Activity.Current is null ? Parse(envelope.Traceparent) : default;
        return Carry(envelope, Start("publish", "send", ActivityKind.Producer, parent, envelope, isLinked: false));
    }

    /// <summary>A message of a sampled trace came to this node.</summary>
    public static Activity? Receive(Envelope envelope) => IsTraced(envelope)
        ? Carry(envelope, Start("receive", "receive", ActivityKind.Consumer, Parse(envelope.Traceparent), envelope, isLinked: true))
        : null;

    /// <summary>A message of a sampled trace is handed to this node's sessions.</summary>
    public static Activity? Deliver(Envelope envelope) => IsTraced(envelope)
        ? Carry(envelope, Start("deliver", "process", ActivityKind.Consumer, Parse(envelope.Traceparent), envelope, isLinked: false))
        : null;

    /// <summary>Something came on a channel of Redis that is to be published. Every node has it: all but one <see cref="Drop"/> what they began.</summary>
    public static Activity? Input(string kind, string name)
    {
        var span = Source.HasListeners() ? Source.StartActivity($"receive {kind}{name}", ActivityKind.Consumer) : null;
        return span is null ? null : Describe(span, "receive", "receive", kind + name);
    }

    /// <summary>Nothing came of what this thread of work began: none of it is exported.</summary>
    public static void Drop()
    {
        for (var span = Activity.Current; span is not null; span = span.Parent)
        {
            span.ActivityTraceFlags &= ~ActivityTraceFlags.Recorded;
            span.IsAllDataRequested = false;
        }
    }

    /// <summary>A trace that somebody else began, as a message carries it; null if it is none, or not sampled.</summary>
    public static string? Carried(string? traceparent) =>
        traceparent is { Length: > 0 } && ActivityContext.TryParse(traceparent, null, out var context) && context.TraceFlags.HasFlag(ActivityTraceFlags.Recorded)
            ? $"00-{context.TraceId}-{context.SpanId}-01"
            : null;

    private static bool IsTraced(Envelope envelope) => envelope.Traceparent is not null && Source.HasListeners();

    private static ActivityContext Parse(string? traceparent) =>
        traceparent is not null && ActivityContext.TryParse(traceparent, null, isRemote: true, out var context) ? context : default;

    private static Activity? Start(string name, string type, ActivityKind kind, ActivityContext parent, Envelope envelope, bool isLinked)
    {
        var room = Destination(envelope, 0);
        var span = Source.StartActivity(
            name == "deliver" ? name : $"{name} {room}", kind, parent, tags: null, isLinked ? [new ActivityLink(parent)] : null);
        if (span is { IsAllDataRequested: true })
        {
            Describe(span, name, type, room)
                .SetTag("messaging.message.id", envelope.Id)
                .SetTag("messaging.message.body.size", envelope.Data.Length)
                .SetTag("dmb.event", envelope.Event);
            if (envelope.Rooms.Length > 1)
            {
                span.SetTag("dmb.rooms", envelope.Rooms.Select((_, i) => Destination(envelope, i)).ToArray());
            }
        }

        return span;
    }

    private static Activity Describe(Activity span, string name, string type, string destination) => span
        .SetTag("messaging.system", "dmb")
        .SetTag("messaging.operation.name", name)
        .SetTag("messaging.operation.type", type)
        .SetTag("messaging.destination.name", destination);

    /// <summary>A room's name. Those of backends, which have a space, name users and what only they know: of these it is the event's.</summary>
    private static string Destination(Envelope envelope, int room) =>
        envelope.Rooms[room].Contains(' ', StringComparison.Ordinal) ? envelope.Event : envelope.Rooms[room];

    /// <summary>What comes next to the message comes behind this span.</summary>
    private static Activity? Carry(Envelope envelope, Activity? span)
    {
        envelope.Traceparent = span is { Recorded: true } ? span.Id : null;
        return span;
    }
}
