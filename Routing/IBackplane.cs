using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>What became of a publish on its way to the other nodes.</summary>
internal enum PublishOutcome
{
    /// <summary>The backplane has it.</summary>
    Fully,

    /// <summary>Delivered on this node, kept for the others until the backplane is back.</summary>
    Spooled,

    /// <summary>Delivered on this node only.</summary>
    Locally,
}

/// <summary>
/// The promise between nodes: an envelope reaches the subscribers of its rooms on every node, each once, one
/// publisher's envelopes to one room in order.
/// </summary>
internal interface IBackplane
{
    /// <summary>
    /// Hands an envelope to all nodes, this one included. Its data may be reused once this completes.
    /// </summary>
    /// <exception cref="RefusedException">The backplane is down, and the outage policy says to refuse.</exception>
    ValueTask<PublishOutcome> PublishAsync(Envelope envelope);

    /// <summary>Completes when what is published to the room from now on, on any node, comes to this one.</summary>
    ValueTask SubscribeAsync(string room);

    /// <summary>
    /// The id of the message that came first with this key within <see cref="RoutingOptions.IdempotencyWindow"/>, on
    /// any node; null if it is this one.
    /// </summary>
    ValueTask<string?> FirstIdAsync(string key, string id);

    /// <summary>Tells the other nodes that an event was registered or removed here.</summary>
    ValueTask ShareEventAsync(string name);

    /// <summary>Where rooms stand, and what is kept of them behind the places that are asked for.</summary>
    /// <exception cref="RefusedException">The backplane is down.</exception>
    ValueTask<IReadOnlyList<RoomHistory>> ReadHistoryAsync(IReadOnlyList<RoomRequest> rooms);

    /// <summary>How many messages are kept of each of these rooms.</summary>
    /// <exception cref="RefusedException">The backplane is down.</exception>
    ValueTask<IReadOnlyList<int>> CountKeptAsync(IReadOnlyList<string> rooms);

    /// <summary>Deletes the messages that are kept of a room; its count goes on.</summary>
    /// <exception cref="RefusedException">The backplane is down.</exception>
    ValueTask ClearHistoryAsync(string room);

    /// <summary>Sessions in a room, over all nodes that can be reached.</summary>
    ValueTask<int> CountAsync(string room);
}

/// <summary>A node that runs alone: what it publishes comes down at once.</summary>
internal sealed class LocalBackplane(LocalHistory history, RoomTable rooms) : IBackplane
{
    public async ValueTask<PublishOutcome> PublishAsync(Envelope envelope)
    {
        await history.PublishAsync(envelope);
        return PublishOutcome.Fully;
    }

    public ValueTask SubscribeAsync(string room) => ValueTask.CompletedTask;

    public ValueTask<string?> FirstIdAsync(string key, string id) => ValueTask.FromResult<string?>(null);

    public ValueTask ShareEventAsync(string name) => ValueTask.CompletedTask;

    public ValueTask<IReadOnlyList<RoomHistory>> ReadHistoryAsync(IReadOnlyList<RoomRequest> requests) =>
        ValueTask.FromResult<IReadOnlyList<RoomHistory>>(history.Read(requests));

    public ValueTask<IReadOnlyList<int>> CountKeptAsync(IReadOnlyList<string> rooms) =>
        ValueTask.FromResult<IReadOnlyList<int>>(history.Count(rooms));

    public ValueTask ClearHistoryAsync(string room)
    {
        history.Clear(room);
        return ValueTask.CompletedTask;
    }

    public ValueTask<int> CountAsync(string room) => ValueTask.FromResult(rooms.Find(room)?.Count ?? 0);
}

/// <summary>Whether the backplane carries messages now, and if not, why.</summary>
internal sealed class BackplaneState
{
    private volatile string? _why;

    public BackplaneState(BrokerTelemetry telemetry) =>
        telemetry.Meter.CreateObservableGauge(
            "dmb.backplane.up",
            () => Why is null ? 1L : 0L,
            unit: null,
            "Whether messages go to and come from all nodes: 1 or 0."
        );

    /// <summary>Raised with true when the backplane came up, with false when it went down.</summary>
    public event Action<bool>? Changed;

    /// <summary>Null while it carries messages; else the reason for people.</summary>
    public string? Why => _why;

    /// <summary>Notes what was found, and tells if that is new.</summary>
    public void Set(string? why)
    {
        var was = _why;
        _why = why;
        if (was is null != why is null)
        {
            Changed?.Invoke(why is null);
        }
    }
}
