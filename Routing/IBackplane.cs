using Dmb.Telemetry;

namespace Dmb.Routing;

/// <summary>How far a publish reached the other nodes.</summary>
internal enum PublishOutcome
{
    /// <summary>Accepted by the backplane.</summary>
    Fully,

    /// <summary>Delivered on this node, and spooled for the others until the backplane is up.</summary>
    Spooled,

    /// <summary>Delivered on this node only.</summary>
    Locally,
}

/// <summary>
/// Carries envelopes between nodes: each reaches the subscribers of its rooms on every node once, and one publisher's
/// envelopes to one room arrive in order.
/// </summary>
internal interface IBackplane
{
    /// <summary>Whether this node delivers no messages before they have positions, as it does without Redis.</summary>
    bool IsCurrent { get; }

    /// <summary>
    /// Publishes an envelope to all nodes, this one included. Its data may be reused once this completes.
    /// </summary>
    /// <exception cref="RefusedException">The backplane is down, and the outage policy is to refuse.</exception>
    ValueTask<PublishOutcome> PublishAsync(Envelope envelope);

    /// <summary>Subscribes this node to a room. Completes when later publishes on any node reach this one.</summary>
    ValueTask SubscribeAsync(string room);

    /// <summary>
    /// Records an idempotency key over all nodes. Returns the id of the first message with the key within
    /// <see cref="RoutingOptions.IdempotencyWindow"/>; null if that is this message.
    /// </summary>
    ValueTask<string?> FirstIdAsync(string key, string id);

    /// <summary>Shares an event's registration or removal with the other nodes.</summary>
    ValueTask ShareEventAsync(string name);

    /// <summary>Reads the rooms' current positions, and the kept messages after the requested positions.</summary>
    /// <exception cref="RefusedException">The backplane is down.</exception>
    ValueTask<IReadOnlyList<RoomHistory>> ReadHistoryAsync(IReadOnlyList<RoomRequest> rooms);

    /// <summary>Counts the kept messages of each room.</summary>
    /// <exception cref="RefusedException">The backplane is down.</exception>
    ValueTask<IReadOnlyList<int>> CountKeptAsync(IReadOnlyList<string> rooms);

    /// <summary>Deletes a room's kept messages; its positions continue.</summary>
    /// <exception cref="RefusedException">The backplane is down.</exception>
    ValueTask ClearHistoryAsync(string room);

    /// <summary>Counts the sessions in a room, over all reachable nodes.</summary>
    ValueTask<int> CountAsync(string room);
}

/// <summary>The backplane of a single node: delivers publishes directly.</summary>
internal sealed class LocalBackplane(LocalHistory history, RoomTable rooms) : IBackplane
{
    public bool IsCurrent => true;

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

/// <summary>Holds whether the backplane is up and, if not, the reason.</summary>
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

    /// <summary>Raised when the backplane goes up (true) or down (false).</summary>
    public event Action<bool>? Changed;

    /// <summary>The reason why it is down, in English; null while it is up.</summary>
    public string? Why => _why;

    /// <summary>Sets the state, and raises <see cref="Changed"/> if it differs.</summary>
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
