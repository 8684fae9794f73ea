using System.Text.Json;
using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>What became of a publish: <see cref="Id"/> is null when nobody registered the event.</summary>
internal readonly record struct Published(string? Id, bool Duplicate)
{
    public static readonly Published Ignored;
}

/// <summary>The one way in: reads where a message wants to go, addresses it, stamps it, and hands it to the fan-out.</summary>
internal sealed class Publisher(
    FanOut fanOut, IdempotencyTable idempotency, BrokerOptions options, TimeProvider time, BrokerTelemetry telemetry)
{
    /// <summary>How a message's JSON is read: as RFC 8259 has it, no deeper than the limit.</summary>
    public JsonReaderOptions ReaderOptions { get; } = new() { MaxDepth = options.MaxJsonDepth };

    /// <summary>Checks a whole body and reads its address.</summary>
    /// <exception cref="RefusedException">It is not one JSON value, or nested too deep.</exception>
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
    /// Publishes what anybody sent to a registered event: to its default bus, to the notification rooms of its
    /// <c>_in</c> and, when it came from a host, to that of its <c>endpoint</c>.
    /// </summary>
    /// <param name="registration">The event, or null for one that nobody registered: it is ignored and counted.</param>
    /// <param name="data">One JSON value, trimmed; borrowed until this completes.</param>
    /// <param name="address">What <see cref="Address.Read"/> found in it.</param>
    /// <param name="key">The idempotency key, or null.</param>
    /// <param name="id">The message id that the publisher brought, or null.</param>
    /// <exception cref="RefusedException">Its <c>_in</c> names too many rooms.</exception>
    public async ValueTask<Published> PublishAsync(
        EventRegistration? registration, ReadOnlyMemory<byte> data, Address address, string? key, string? id)
    {
        if (registration is null)
        {
            telemetry.Ignored.Add(1);
            return Published.Ignored;
        }

        if (address.InCount > options.MaxIn)
        {
            throw new RefusedException(ErrorCode.TooManyRooms, $"_in names {address.InCount} rooms; the limit is {options.MaxIn}.");
        }

        if (address.LeftOut > 0)
        {
            telemetry.RoomsLeftOut.Add(address.LeftOut);
        }

        id ??= NewId();
        if (key is not null && !idempotency.TryTake(key, ref id))
        {
            return new Published(id, Duplicate: true);
        }

        await PublishAsync(registration.Event, id, Union(registration.DefaultRoom, address), data);
        return new Published(id, Duplicate: false);
    }

    /// <summary>Publishes one of the broker's own events to rooms that it names; gives the message id.</summary>
    public async ValueTask<string> PublishToAsync(string @event, string[] rooms, ReadOnlyMemory<byte> data)
    {
        var id = NewId();
        await PublishAsync(@event, id, rooms, data);
        return id;
    }

    private ValueTask PublishAsync(string @event, string id, string[] rooms, ReadOnlyMemory<byte> data)
    {
        telemetry.Published.Add(1);
        return fanOut.DeliverAsync(new Envelope(@event, id, rooms, data));
    }

    private string NewId() => Guid.CreateVersion7(time.GetUtcNow()).ToString();

    /// <summary>The default bus, <c>_in</c> and the endpoint, each room once (docs/protocol.md §2).</summary>
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
