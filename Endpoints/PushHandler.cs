using System.Net;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Endpoints;

/// <summary>A parsed push, of Kestrel or the fast path.</summary>
/// <param name="Registration">The event's registration, by <see cref="PushHandler.Find"/>.</param>
/// <param name="Body">The body as received; borrowed until the push is answered.</param>
/// <param name="Key"><c>Idempotency-Key</c>, or null.</param>
/// <param name="TraceParent"><c>traceparent</c>, or null.</param>
/// <param name="Caller">The caller, admitted by <see cref="PushHandler.Admit"/>.</param>
/// <param name="Event">
/// The event's name; needed only where it has no registration, and <see cref="PushHandler.NeedsName"/>.
/// </param>
/// <param name="IsStrict">Whether an event that is not registered is an error (<c>Prefer: handling=strict</c>).</param>
/// <param name="IsSampled">False where the request is not sampled, so that nothing of it is traced.</param>
internal readonly record struct PushRequest(
    EventRegistration? Registration,
    ReadOnlyMemory<byte> Body,
    string? Key,
    string? TraceParent,
    Caller Caller,
    string? Event = null,
    bool IsStrict = false,
    bool IsSampled = true
);

/// <summary>
/// Connection feature: the fast path admitted the next request and handed it to Kestrel, so that its rate is counted
/// once.
/// </summary>
internal sealed class AdmittedPush
{
    private bool _isPending = true;

    /// <summary>True at the first call, false afterwards.</summary>
    public bool TryConsume()
    {
        var isPending = _isPending;
        _isPending = false;
        return isPending;
    }
}

/// <summary>
/// Executes pushes for both adapters, Kestrel's and the fast path's, which only parse and write HTTP.
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
    /// <summary>Records the outcome of pushes while a tail is open.</summary>
    public Tail Tail => publisher.Tail;

    /// <summary>Whether a push of an event without a registration has to name the event.</summary>
    public bool NeedsName => Tail.IsOpen || events.Resolver is not null;

    /// <summary>Maximum bytes of a body.</summary>
    public int BodyBytesMax => options.MaxMessageBytes;

    /// <summary>
    /// Authorizes the caller and counts its rate. Called after the head, before the body is received.
    /// </summary>
    /// <exception cref="RefusedException">
    /// <c>unauthenticated</c>, <c>forbidden_publish</c> or <c>rate_limited</c>.
    /// </exception>
    public void Admit(Caller caller, IPAddress? address)
    {
        rules.Demand(caller, Operation.Publish);
        limits.Publish(caller, address);
    }

    /// <summary>Finds the registration of an event; null if there is none.</summary>
    /// <exception cref="RefusedException"><c>bad_name</c>: not an event's name.</exception>
    public EventRegistration? Find(ReadOnlySpan<char> name) =>
        Names.IsEvent(name) ? events.Find(name) : throw new RefusedException(ErrorCode.BadName, Names.EventForm);

    /// <summary>Validates and publishes an admitted push.</summary>
    /// <exception cref="RefusedException">The body or key is invalid, or the backplane refuses the message.</exception>
    public ValueTask<PublishResult> PublishAsync(in PushRequest push)
    {
        // A SIP server sends an empty key for an unset variable.
        var key = push.Key is { Length: > 0 } ? push.Key : null;
        if (key is not null && !Names.IsId(key))
        {
            throw new RefusedException(ErrorCode.BadName, Names.IdForm);
        }

        var json = JsonText.Clean(push.Body, telemetry);
        if (json.Length > options.MaxMessageBytes)
        {
            // Replacing invalid UTF-8 can make the body longer.
            throw new RefusedException(ErrorCode.TooBig, $"The body is larger than {options.MaxMessageBytes} bytes.");
        }

        return events.Resolver is null && !push.IsStrict
            ? SendAsync(push, push.Registration, json, key)
            : ResolveAsync(push, json, key);
    }

    private async ValueTask<PublishResult> ResolveAsync(PushRequest push, ReadOnlyMemory<byte> json, string? key)
    {
        var registration = push.Registration;
        if (events.Resolver is { } resolver)
        {
            registration = await resolver(registration?.Event ?? push.Event!, registration);
        }

        var published = await SendAsync(push, registration, json, key);
        return published.Id is null && push.IsStrict
            ? throw new RefusedException(ErrorCode.UnknownEvent, "The event is not registered.")
            : published;
    }

    private ValueTask<PublishResult> SendAsync(
        in PushRequest push,
        EventRegistration? registration,
        ReadOnlyMemory<byte> json,
        string? key
    ) =>
        publisher.PublishAsync(
            registration,
            json,
            publisher.ReadAddress(json.Span),
            push.Caller.Scoped(key),
            id: null,
            new Origin(Origin.Http, push.Caller.Name, push.Event),
            push.TraceParent,
            push.IsSampled
        );
}
