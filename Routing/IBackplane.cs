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

    public ValueTask<PublishOutcome> PublishAsync(Envelope envelope)
    {
        var publishing = history.PublishAsync(envelope);
        return publishing.IsCompletedSuccessfully ? new(PublishOutcome.Fully) : WaitAsync(publishing);
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

    private static async ValueTask<PublishOutcome> WaitAsync(ValueTask publishing)
    {
        await publishing;
        return PublishOutcome.Fully;
    }
}

/// <summary>A group of rooms that is away.</summary>
/// <param name="Group">Its number, from 0.</param>
/// <param name="Reason">The reason, in English.</param>
internal sealed record GroupDown(int Group, string Reason);

/// <summary>Holds whether the backplane is up and, if not, the reason, for each group of rooms.</summary>
internal sealed class BackplaneState
{
    private readonly Lock _lock = new();
    private readonly SortedDictionary<int, string> _down = [];
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

    /// <summary>The number of groups.</summary>
    public int Groups { get; set; } = 1;

    /// <summary>The reason why it is down, or a group of it, in English; null while all is up.</summary>
    public string? Why => _why;

    /// <summary>The groups that are down; empty when all are up, and when there is one group.</summary>
    public IReadOnlyList<GroupDown> Down
    {
        get
        {
            lock (_lock)
            {
                return Groups == 1 ? [] : [.. _down.Select(group => new GroupDown(group.Key, group.Value))];
            }
        }
    }

    /// <summary>
    /// Sets the state of a group, and raises <see cref="Changed"/> when the first goes down or the last up.
    /// </summary>
    /// <returns>Whether another group is down for the same reason.</returns>
    public bool Set(string? why, int group = 0)
    {
        bool isChanged,
            isShared;
        lock (_lock)
        {
            var was = _why;
            isShared = _down.Any(other => other.Key != group && other.Value == why);
            if (why is null)
            {
                _down.Remove(group);
            }
            else
            {
                _down[group] = why;
            }

            _why = Summary();
            isChanged = was is null != _why is null;
        }

        if (isChanged)
        {
            Changed?.Invoke(_why is null);
        }

        return isShared;
    }

    private string? Summary()
    {
        if (Groups == 1 || _down.Count == 0)
        {
            return _down.Values.FirstOrDefault();
        }

        var reasons = _down.GroupBy(group => group.Value, group => group.Key).ToArray();
        return _down.Count == Groups && reasons.Length == 1
            ? reasons[0].Key
            : $"{_down.Count} of {Groups} groups: {string.Join("; ", reasons.Select(reason => reason.Key))}";
    }
}
