using System.Collections.Concurrent;

namespace Dmb.Routing;

/// <summary>A registered event and its default bus; null without one.</summary>
internal sealed record EventRegistration(string Event, string? DefaultRoom);

/// <summary>
/// Holds the registered events: the default table (docs/protocol.md §2) and later registrations. Thread-safe.
/// </summary>
internal sealed class EventTable
{
    private const string Reserved = "dmb:";

    private readonly Lock _writing = new();
    private readonly int _max;
    private readonly HashSet<string> _buses;
    private readonly Dictionary<string, EventRegistration> _defaults = [];
    private readonly ConcurrentDictionary<string, EventRegistration> _events;
    private readonly ConcurrentDictionary<string, EventRegistration>.AlternateLookup<ReadOnlySpan<char>> _byCharacters;

    public EventTable(RoutingOptions options)
    {
        _max = options.MaxEvents;
        _buses = [.. options.PublicBuses, .. options.HostBuses, .. options.PrivateBuses];
        foreach (var entry in options.Events)
        {
            var (name, bus) = Split(entry);
            _defaults[name] = new EventRegistration(name, BusOrNull(bus));
        }

        _events = new ConcurrentDictionary<string, EventRegistration>(_defaults);
        _byCharacters = _events.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    /// <summary>Splits <c>event=bus</c>; a missing bus is empty.</summary>
    public static (string Event, string Bus) Split(string entry)
    {
        var equals = entry.IndexOf('=', StringComparison.Ordinal);
        return equals < 0 ? (entry, "") : (entry[..equals], entry[(equals + 1)..]);
    }

    /// <summary>
    /// Completes a lookup on a node that is not told of other nodes' registrations: takes the event and what was found
    /// here, and gives its registration or null. Null on a node that is told.
    /// </summary>
    public Func<string, EventRegistration?, ValueTask<EventRegistration?>>? Resolver { get; set; }

    /// <summary>All registrations, by the event's name.</summary>
    public IEnumerable<EventRegistration> All() => _events.Values.OrderBy(e => e.Event, StringComparer.Ordinal);

    /// <summary>The registration of an event; null if it is not registered.</summary>
    public EventRegistration? Find(ReadOnlySpan<char> name) =>
        _byCharacters.TryGetValue(name, out var registration) ? registration : null;

    /// <summary>
    /// Registers an event, or replaces its default room. A default room that is not a bus is ignored.
    /// </summary>
    /// <exception cref="RefusedException">The name is invalid or reserved, or the table is full.</exception>
    public EventRegistration Register(string name, string? defaultRoom, out bool alreadyRegistered)
    {
        if (!Names.IsEvent(name))
        {
            throw new RefusedException(ErrorCode.BadName, Names.EventForm);
        }

        if (name.StartsWith(Reserved, StringComparison.Ordinal))
        {
            throw new RefusedException(ErrorCode.BadName, "Events that begin with dmb: are the broker's own.");
        }

        if (Names.IsReservedByClients(name))
        {
            throw new RefusedException(ErrorCode.BadName, "Socket.IO clients use this name for events of their own.");
        }

        var registration = new EventRegistration(name, BusOrNull(defaultRoom));
        lock (_writing)
        {
            alreadyRegistered = _events.ContainsKey(name);
            if (!alreadyRegistered && _events.Count >= _max)
            {
                throw new RefusedException(
                    ErrorCode.TooManyEvents,
                    $"{_max} events are registered, which is the limit."
                );
            }

            return _events[name] = registration;
        }
    }

    /// <summary>Removes an event, or resets one of the default table; false if it was not registered.</summary>
    public bool Remove(string name)
    {
        lock (_writing)
        {
            if (_defaults.TryGetValue(name, out var registration))
            {
                _events[name] = registration;
                return true;
            }

            return _events.TryRemove(name, out _);
        }
    }

    /// <summary>Whether a registration equals that of the default table.</summary>
    public bool IsDefault(EventRegistration registration) =>
        _defaults.TryGetValue(registration.Event, out var byDefault) && byDefault == registration;

    /// <summary>Applies another node's registration or removal; invalid names are ignored.</summary>
    public void Apply(string name, bool isRegistered, string? defaultRoom)
    {
        if (!isRegistered)
        {
            Remove(name);
            return;
        }

        lock (_writing)
        {
            if (
                Names.IsEvent(name)
                && !name.StartsWith(Reserved, StringComparison.Ordinal)
                && (_events.ContainsKey(name) || _events.Count < _max)
            )
            {
                _events[name] = new EventRegistration(name, BusOrNull(defaultRoom));
            }
        }
    }

    private string? BusOrNull(string? room) => room is not null && _buses.Contains(room) ? room : null;
}
