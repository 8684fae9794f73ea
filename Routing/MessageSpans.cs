using System.Diagnostics;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>
/// Starts the spans of a message (docs/telemetry.md): <c>publish {room}</c> and, on each node, <c>receive {room}</c>
/// and <c>deliver</c>, named after OpenTelemetry's semantic conventions for messaging. At most one of each per message
/// and node, never per session. Without a listener a span costs one check.
/// </summary>
internal static class MessageSpans
{
    /// <summary>Starts the span of a publish. A sampled envelope carries it as its trace context.</summary>
    public static Activity? Publish(Envelope envelope)
    {
        if (!Tracing.Source.HasListeners() || envelope.Rooms.Length == 0)
        {
            return null;
        }

        // The span of the request was not sampled: this one would not be either, and is not even named.
        if (Activity.Current is { IsAllDataRequested: false })
        {
            return Carry(envelope, null);
        }

        // A child of the current span if there is one, so that Tracing.Drop of that span drops this one too.
        var parent = Activity.Current is null ? Parse(envelope.Traceparent) : default;
        return Carry(envelope, Start("publish", "send", ActivityKind.Producer, parent, envelope, isLinked: false));
    }

    /// <summary>Starts the span of a sampled message that this node receives.</summary>
    public static Activity? Receive(Envelope envelope) =>
        IsTraced(envelope)
            ? Carry(
                envelope,
                Start(
                    "receive",
                    "receive",
                    ActivityKind.Consumer,
                    Parse(envelope.Traceparent),
                    envelope,
                    isLinked: true
                )
            )
            : null;

    /// <summary>Starts the span of a sampled message's delivery to this node's sessions.</summary>
    public static Activity? Deliver(Envelope envelope) =>
        IsTraced(envelope)
            ? Carry(
                envelope,
                Start(
                    "deliver",
                    "process",
                    ActivityKind.Consumer,
                    Parse(envelope.Traceparent),
                    envelope,
                    isLinked: false
                )
            )
            : null;

    private static bool IsTraced(Envelope envelope) =>
        envelope.Traceparent is not null && Tracing.Source.HasListeners();

    private static ActivityContext Parse(string? traceparent) =>
        traceparent is not null && ActivityContext.TryParse(traceparent, null, isRemote: true, out var context)
            ? context
            : default;

    private static Activity? Start(
        string name,
        string type,
        ActivityKind kind,
        ActivityContext parent,
        Envelope envelope,
        bool isLinked
    )
    {
        var room = Destination(envelope, 0);
        var span = Tracing.Source.StartActivity(
            name == "deliver" ? name : $"{name} {room}",
            kind,
            parent,
            tags: null,
            isLinked ? [new ActivityLink(parent)] : null
        );
        if (span is { IsAllDataRequested: true })
        {
            Tracing
                .Describe(span, name, type, room)
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

    /// <summary>
    /// The span's destination: the room or, for a backend's room, which contains a user's name, the event.
    /// </summary>
    private static string Destination(Envelope envelope, int room) =>
        envelope.Rooms[room].Contains(' ', StringComparison.Ordinal) ? envelope.Event : envelope.Rooms[room];

    /// <summary>Sets the span as the parent of the message's next one.</summary>
    private static Activity? Carry(Envelope envelope, Activity? span)
    {
        envelope.Traceparent = span is { Recorded: true } ? span.Id : null;
        return span;
    }
}
