using System.Diagnostics;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>
/// The spans of a message (docs/telemetry.md): <c>publish {room}</c>, on each node <c>receive {room}</c>, and
/// <c>deliver</c>, named after OpenTelemetry's semantic conventions for messaging. One a message and node, never one a
/// session. Without a listener a span costs one check.
/// </summary>
internal static class MessageSpans
{
    /// <summary>Starts a message's way to all nodes. A sampled envelope carries this span from here.</summary>
    public static Activity? Publish(Envelope envelope)
    {
        if (!Tracing.Source.HasListeners() || envelope.Rooms.Length == 0)
        {
            return null;
        }

        // A child of the current span, if there is one, so that Tracing.Drop on that one drops this one too.
        var parent = Activity.Current is null ? Parse(envelope.Traceparent) : default;
        return Carry(envelope, Start("publish", "send", ActivityKind.Producer, parent, envelope, isLinked: false));
    }

    /// <summary>A message of a sampled trace arrived at this node.</summary>
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

    /// <summary>A message of a sampled trace is handed to this node's sessions.</summary>
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
    /// The name of a room. The rooms of backends, which have a space, hold names of users that only the backend knows:
    /// for them it is the name of the event.
    /// </summary>
    private static string Destination(Envelope envelope, int room) =>
        envelope.Rooms[room].Contains(' ', StringComparison.Ordinal) ? envelope.Event : envelope.Rooms[room];

    /// <summary>Makes the span the parent of the message's next one.</summary>
    private static Activity? Carry(Envelope envelope, Activity? span)
    {
        envelope.Traceparent = span is { Recorded: true } ? span.Id : null;
        return span;
    }
}
