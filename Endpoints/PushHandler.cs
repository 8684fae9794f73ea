using System.Net;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>A push as either way in has read it.</summary>
/// <param name="Registration">What <see cref="PushHandler.Find"/> gave for its event.</param>
/// <param name="Body">The body as received; borrowed until the push is answered.</param>
/// <param name="Key"><c>Idempotency-Key</c>, or null.</param>
/// <param name="TraceParent"><c>traceparent</c>, or null.</param>
/// <param name="Caller">Who <see cref="PushHandler.Admit"/> let in.</param>
/// <param name="Event">The event's name; needed only where it has no registration.</param>
/// <param name="IsStrict">Whether an event that is not registered is an error (<c>Prefer: handling=strict</c>).</param>
internal readonly record struct PushRequest(
    EventRegistration? Registration,
    ReadOnlyMemory<byte> Body,
    string? Key,
    string? TraceParent,
    Caller Caller,
    string? Event = null,
    bool IsStrict = false
);

/// <summary>
/// Set on a connection whose next request was admitted by the fast path and then left to Kestrel, so that its rate is
/// counted once.
/// </summary>
internal sealed class AdmittedPush
{
    private bool _isPending = true;

    /// <summary>True for the first caller.</summary>
    public bool Take()
    {
        var isPending = _isPending;
        _isPending = false;
        return isPending;
    }
}

/// <summary>
/// The logic of a push, whichever way it comes in. Its adapters read and write HTTP and decide nothing.
/// </summary>
internal sealed class PushHandler(
    EventTable events,
    Publisher publisher,
    AccessRules rules,
    Limits limits,
    RoutingOptions options,
    BrokerTelemetry telemetry
)
{
    /// <summary>Records what becomes of pushes while it is open.</summary>
    public Tail Tail => publisher.Tail;

    /// <summary>Limit of a body in bytes.</summary>
    public int BodyBytesMax => options.MaxMessageBytes;

    /// <summary>
    /// Judges the caller and counts its rate. Called at the end of the head, before the body is received or kept.
    /// </summary>
    /// <exception cref="RefusedException">
    /// <c>unauthenticated</c>, <c>forbidden_publish</c> or <c>rate_limited</c>.
    /// </exception>
    public void Admit(Caller caller, IPAddress? address)
    {
        rules.Demand(caller, Operation.Publish);
        limits.Publish(caller, address);
    }

    /// <summary>The registration of an event; null if there is none.</summary>
    /// <exception cref="RefusedException"><c>bad_name</c>: the name is no event's.</exception>
    public EventRegistration? Find(ReadOnlySpan<char> name) =>
        Names.IsEvent(name) ? events.Find(name) : throw new RefusedException(ErrorCode.BadName, Names.EventForm);

    /// <summary>Checks and publishes an admitted push.</summary>
    /// <exception cref="RefusedException">
    /// The body or the key is not accepted, or the backplane does not take the message.
    /// </exception>
    public async ValueTask<PublishResult> PublishAsync(PushRequest push)
    {
        // An empty key is a variable that a SIP server has not set.
        var key = push.Key is { Length: > 0 } ? push.Key : null;
        if (key is not null && !Names.IsId(key))
        {
            throw new RefusedException(ErrorCode.BadName, Names.IdForm);
        }

        var json = JsonText.Clean(push.Body, telemetry);
        if (json.Length > options.MaxMessageBytes)
        {
            // Replacing invalid bytes has made it longer.
            throw new RefusedException(ErrorCode.TooBig, $"The body is larger than {options.MaxMessageBytes} bytes.");
        }

        var published = await publisher.PublishAsync(
            push.Registration,
            json,
            publisher.ReadAddress(json.Span),
            push.Caller.Scoped(key),
            id: null,
            new Origin(Origin.Http, push.Caller.Name, push.Event),
            push.TraceParent
        );
        return published.Id is null && push.IsStrict
            ? throw new RefusedException(ErrorCode.UnknownEvent, "The event is not registered.")
            : published;
    }
}
