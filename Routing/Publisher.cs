using System.Diagnostics;
using System.Text.Json;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>The result of a publish; <see cref="Id"/> is null if the event is not registered.</summary>
internal readonly record struct PublishResult(string? Id, bool Duplicate, PublishOutcome Outcome)
{
    public static readonly PublishResult Ignored;
}

/// <summary>
/// Publishes messages of all protocols: parses their address, determines their rooms and id, and passes them to the
/// backplane.
/// </summary>
internal sealed class Publisher(
    IBackplane backplane,
    IdempotencyTable idempotency,
    RoutingOptions options,
    TimeProvider time,
    Tail tail,
    BrokerTelemetry telemetry
)
{
    /// <summary>Records what becomes of publishes while it is open.</summary>
    public Tail Tail => tail;

    /// <summary>Options to parse messages: JSON of RFC 8259 within the limit of nesting.</summary>
    public JsonReaderOptions ReaderOptions { get; } = new() { MaxDepth = options.MaxJsonDepth };

    /// <summary>What gets each published message besides its rooms; null while nothing does.</summary>
    public Func<Envelope, ValueTask>? Outlet { get; set; }

    /// <summary>Validates a message's JSON and parses its address.</summary>
    /// <exception cref="RefusedException">It is not one JSON value, or is nested too deep.</exception>
    public Address ReadAddress(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, ReaderOptions);
        try
        {
            reader.Read();
            var address = Address.Read(ref reader);
            reader.Read();
            return address;
        }
        catch (JsonException e)
        {
            throw new RefusedException(ErrorCode.BadJson, $"The body is not JSON: {e.Message}");
        }
    }

    /// <summary>
    /// Publishes a message of a registered event to its default bus, the notification rooms of <c>_in</c> and, for a
    /// push, the room of its <c>endpoint</c>.
    /// </summary>
    /// <param name="registration">
    /// The event; null if it is not registered: then the message is ignored and counted.
    /// </param>
    /// <param name="data">One JSON value, trimmed; borrowed until this completes.</param>
    /// <param name="address">The address that <see cref="Address.Read"/> found in it.</param>
    /// <param name="key">The idempotency key, or null.</param>
    /// <param name="id">The publisher's message id, or null.</param>
    /// <param name="origin">Where it comes from.</param>
    /// <param name="traceparent">Its <c>traceparent</c> (W3C Trace Context), or null.</param>
    /// <param name="isSampled">False where its request is not sampled: it gets no span and carries no trace.</param>
    /// <exception cref="RefusedException"><c>_in</c> names too many rooms, or the backplane refuses.</exception>
    public ValueTask<PublishResult> PublishAsync(
        EventRegistration? registration,
        ReadOnlyMemory<byte> data,
        Address address,
        string? key,
        string? id,
        Origin origin,
        string? traceparent = null,
        bool isSampled = true
    )
    {
        if (Prepare(registration, data, address, id) is not { } envelope)
        {
            if (tail.IsOpen)
            {
                tail.Dropped(origin, TraceReason.UnknownEvent);
            }

            return new(PublishResult.Ignored);
        }

        envelope.Traceparent = isSampled ? Tracing.Carried(traceparent) : null;
        return key is not null || (isSampled && Tracing.Source.HasListeners())
            ? PublishTracedAsync(envelope, address, key, origin, isSampled)
            : RecordAsync(Stopwatch.GetTimestamp(), envelope, address.LeftOutNames, origin, SendAsync(envelope));
    }

    /// <summary>Publishes a message that may have a span or has an idempotency key.</summary>
    private async ValueTask<PublishResult> PublishTracedAsync(
        Envelope envelope,
        Address address,
        string? key,
        Origin origin,
        bool isSampled
    )
    {
        using var publish = isSampled ? MessageSpans.Publish(envelope) : null;
        var start = Stopwatch.GetTimestamp();
        if (key is null)
        {
            return await RecordAsync(start, envelope, address.LeftOutNames, origin, SendAsync(envelope));
        }

        try
        {
            return Record(start, envelope, address.LeftOutNames, origin, await PublishOnceAsync(envelope, key));
        }
        catch (RefusedException refused)
        {
            refused.Rooms = envelope.Rooms;
            throw;
        }
    }

    /// <summary>Records what becomes of a publish, at once if nothing has to be awaited for it.</summary>
    private ValueTask<PublishResult> RecordAsync(
        long start,
        Envelope envelope,
        List<string>? leftOut,
        Origin origin,
        ValueTask<PublishOutcome> sending
    ) =>
        sending.IsCompletedSuccessfully
            ? new(Record(start, envelope, leftOut, origin, new(envelope.Id, Duplicate: false, sending.Result)))
            : RecordLaterAsync(start, envelope, leftOut, origin, sending);

    private async ValueTask<PublishResult> RecordLaterAsync(
        long start,
        Envelope envelope,
        List<string>? leftOut,
        Origin origin,
        ValueTask<PublishOutcome> sending
    )
    {
        try
        {
            return Record(start, envelope, leftOut, origin, new(envelope.Id, Duplicate: false, await sending));
        }
        catch (RefusedException refused)
        {
            refused.Rooms = envelope.Rooms;
            throw;
        }
    }

    private PublishResult Record(
        long start,
        Envelope envelope,
        List<string>? leftOut,
        Origin origin,
        PublishResult published
    )
    {
        telemetry.PublishedSince(start);
        if (tail.IsOpen)
        {
            tail.Published(origin, envelope, leftOut, published.Duplicate, published.Outcome);
        }

        return published;
    }

    /// <summary>
    /// Validates and addresses a message as <see cref="PublishAsync"/> does; null if its event is not registered.
    /// </summary>
    public Envelope? Prepare(EventRegistration? registration, ReadOnlyMemory<byte> data, Address address, string? id)
    {
        if (registration is null)
        {
            telemetry.Ignored.Add(1);
            return null;
        }

        if (address.InCount > options.MaxIn)
        {
            throw new RefusedException(
                ErrorCode.TooManyRooms,
                $"_in names {address.InCount} rooms; the limit is {options.MaxIn}."
            );
        }

        if (address.LeftOut > 0)
        {
            telemetry.RoomsLeftOut.Add(address.LeftOut);
        }

        telemetry.Published.Add(1);
        return new Envelope(
            registration.Event,
            id ?? MessageId.New(time),
            Union(registration.DefaultRoom, address),
            data
        );
    }

    /// <summary>Publishes one of the broker's own events to rooms; returns the message id.</summary>
    public async ValueTask<string> PublishToAsync(
        string @event,
        string[] rooms,
        ReadOnlyMemory<byte> data,
        Origin origin
    )
    {
        var id = MessageId.New(time);
        telemetry.Published.Add(1);
        var envelope = new Envelope(@event, id, rooms, data);
        using var publish = MessageSpans.Publish(envelope);
        var start = Stopwatch.GetTimestamp();
        var taken = await SendAsync(envelope);
        telemetry.PublishedSince(start);
        if (tail.IsOpen)
        {
            tail.Published(origin, envelope, leftOut: null, isDuplicate: false, taken);
        }

        return id;
    }

    /// <summary>Hands over to the outlet a message that was published as an input of all nodes.</summary>
    public ValueTask HandOverAsync(Envelope envelope) => Outlet?.Invoke(envelope) ?? ValueTask.CompletedTask;

    private ValueTask<PublishOutcome> SendAsync(Envelope envelope) =>
        Outlet is { } outlet ? SendAsync(envelope, outlet) : backplane.PublishAsync(envelope);

    /// <summary>Publishes, and hands over to the outlet meanwhile; not what is refused at once.</summary>
    private async ValueTask<PublishOutcome> SendAsync(Envelope envelope, Func<Envelope, ValueTask> outlet)
    {
        // Both read the data.
        envelope.Keep();
        var publishing = backplane.PublishAsync(envelope);
        if (publishing.IsFaulted)
        {
            return await publishing;
        }

        var handing = outlet(envelope);
        try
        {
            return await publishing;
        }
        finally
        {
            await handing;
        }
    }

    private async ValueTask<PublishResult> PublishOnceAsync(Envelope envelope, string key)
    {
        if (!idempotency.TryAdd(key, out var id))
        {
            return new PublishResult(await id.Task, Duplicate: true, PublishOutcome.Fully);
        }

        try
        {
            var first = await backplane.FirstIdAsync(key, envelope.Id);
            var taken = first is null ? await SendAsync(envelope) : PublishOutcome.Fully;
            id.SetResult(first ?? envelope.Id);
            return new PublishResult(first ?? envelope.Id, Duplicate: first is not null, taken);
        }
        catch (Exception e)
        {
            // On any failure the key is released, and callers that await the first result get the same exception.
            idempotency.Forget(key);
            id.SetException(e);
            _ = id.Task.Exception;
            throw;
        }
    }

    /// <summary>The union of default bus, <c>_in</c> and endpoint (docs/protocol.md §2).</summary>
    private static string[] Union(string? defaultRoom, Address address)
    {
        if (address.In is null)
        {
            return (defaultRoom, address.Endpoint) switch
            {
                (null, null) => [],
                (null, { } endpoint) => [endpoint],
                ({ } bus, null) => [bus],
                ({ } bus, { } endpoint) => [bus, endpoint],
            };
        }

        var rooms = new HashSet<string>(address.In);
        if (defaultRoom is not null)
        {
            rooms.Add(defaultRoom);
        }

        if (address.Endpoint is not null)
        {
            rooms.Add(address.Endpoint);
        }

        return [.. rooms];
    }
}
