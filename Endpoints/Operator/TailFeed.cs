using System.Runtime.InteropServices;
using System.Text.Json;
using Dmb.Routing;
using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>A node's request to all nodes to record for its open tails; without filters it has none.</summary>
/// <param name="Node">The node.</param>
/// <param name="Filters">The filters of its tails.</param>
/// <param name="WantsData">Whether a tail shows data.</param>
internal sealed record TailLease(string Node, TailFilter[] Filters, bool WantsData);

/// <summary>
/// Feeds the tails open on this node. Nodes record publishes and fan-outs while they hold a lease, and send them to the
/// lease's node, which holds each trace for the fan-outs of all nodes before writing it.
/// </summary>
internal sealed class TailFeed : IDisposable
{
    private const string LeaseQuestion = "tail";
    private const string BatchQuestion = "traces";
    private const int TailsMax = 100;

    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(100);

    /// <summary>Ticks for which a trace is held for the fan-outs of other nodes.</summary>
    private const int HoldTicks = 3;

    /// <summary>Ticks for which a fan-out is held for its trace.</summary>
    private const int EarlyTicks = 20;

    private const int RenewTicks = 50;
    private const int LeaseTicks = 150;

    private readonly Lock _lock = new();
    private readonly Tail _tail;
    private readonly ICluster _cluster;
    private readonly ITimer _timer;
    private readonly Dictionary<Session, TailStream> _streams = [];
    private readonly Dictionary<string, (TailLease Lease, long Until)> _leases = [];
    private readonly TraceEncoder _encoder = new();
    private readonly Queue<HeldTrace> _held = new();
    private readonly Dictionary<string, HeldTrace> _heldById = [];
    private readonly Dictionary<string, EarlyDelivery> _early = [];
    private readonly Queue<(string Id, long Until)> _earlyIds = new();
    private long _tick;
    private long _partialUntil;
    private bool _isRunning;

    public TailFeed(Tail tail, ICluster cluster, ClusterQuestions questions)
    {
        (_tail, _cluster) = (tail, cluster);

        // System time, since it only paces the sending.
        _timer = TimeProvider.System.CreateTimer(
            _ => OnTick(),
            null,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan
        );
        questions.Add(LeaseQuestion, argument => Note(JsonSerializer.Deserialize(argument, ApiJson.Wire.TailLease)!));
        questions.Add(BatchQuestion, argument => Note(JsonSerializer.Deserialize(argument, ApiJson.Wire.TailBatch)!));
    }

    /// <summary>Opens a tail; completes when the reachable nodes record for it.</summary>
    /// <exception cref="RefusedException">The node is at its limit of tails.</exception>
    public async Task OpenAsync(Session session, TailFilter filter, bool wantsData)
    {
        lock (_lock)
        {
            if (_streams.Count >= TailsMax)
            {
                throw new RefusedException(ErrorCode.RateLimited, $"{TailsMax} tails are open on this node.")
                {
                    RetryAfter = TimeSpan.FromSeconds(1),
                };
            }

            _streams.Add(session, new TailStream(session, filter, wantsData));
            Watch();
        }

        await _cluster.AskAsync(LeaseQuestion, OwnLease());
    }

    /// <summary>Closes a tail.</summary>
    public async ValueTask CloseAsync(Session session)
    {
        lock (_lock)
        {
            _streams.Remove(session);
            Watch();
        }

        await _cluster.AskAsync(LeaseQuestion, OwnLease());
    }

    public void Dispose() => _timer.Dispose();

    private string OwnLease()
    {
        lock (_lock)
        {
            var lease = new TailLease(
                _cluster.NodeId,
                [.. _streams.Values.Select(stream => stream.Filter).Distinct()],
                _streams.Values.Any(stream => stream.WantsData)
            );
            return JsonSerializer.Serialize(lease, ApiJson.Wire.TailLease);
        }
    }

    /// <summary>Sets the filters to record, and starts or stops the timer.</summary>
    private void Watch()
    {
        var leases = _leases.Values.Select(lease => lease.Lease).ToArray();
        _tail.Watch(
            [.. _streams.Values.Select(stream => stream.Filter), .. leases.SelectMany(lease => lease.Filters)],
            _streams.Values.Any(stream => stream.WantsData) || leases.Any(lease => lease.WantsData)
        );
        if (_tail.IsOpen && !_isRunning)
        {
            _isRunning = true;
            _timer.Change(Tick, Timeout.InfiniteTimeSpan);
        }
    }

    private ValueTask<byte[]> Note(TailLease lease)
    {
        lock (_lock)
        {
            if (lease.Node == _cluster.NodeId)
            {
                // A node ignores its own lease.
            }
            else if (lease.Filters.Length == 0)
            {
                _leases.Remove(lease.Node);
            }
            else
            {
                _leases[lease.Node] = (lease, _tick + LeaseTicks);
            }

            Watch();
        }

        return ValueTask.FromResult<byte[]>([.. "{}"u8]);
    }

    private ValueTask<byte[]> Note(TailBatch batch)
    {
        lock (_lock)
        {
            if (_streams.Count > 0)
            {
                Merge(batch);
            }
        }

        return ValueTask.FromResult<byte[]>([]);
    }

    private void OnTick()
    {
        lock (_lock)
        {
            _tick++;
            var batch = _tail.Take(_cluster.NodeId);
            Tell(batch);
            Merge(batch);
            Write();
            if (_tick % RenewTicks == 0)
            {
                Renew();
            }

            _isRunning = _tail.IsOpen;
            if (_isRunning)
            {
                _timer.Change(Tick, Timeout.InfiniteTimeSpan);
            }
            else
            {
                Forget();
            }
        }
    }

    /// <summary>Sends a batch to the other nodes with tails.</summary>
    private void Tell(TailBatch batch)
    {
        if (_leases.Count == 0)
        {
            return;
        }

        batch = batch with { Traces = [.. batch.Traces.Where(trace => !trace.IsOnEveryNode)] };
        if (!batch.IsEmpty)
        {
            var json = JsonSerializer.Serialize(batch, ApiJson.Wire.TailBatch);
            foreach (var node in _leases.Keys)
            {
                _cluster.Tell(node, BatchQuestion, json);
            }
        }
    }

    /// <summary>Adds fan-outs to the traces of their messages, in either order of arrival.</summary>
    private void Merge(TailBatch batch)
    {
        foreach (var (filter, count) in batch.LeftOut)
        {
            foreach (var stream in _streams.Values.Where(stream => stream.Filter == filter))
            {
                stream.LeftOut += count;
            }
        }

        if (batch.IsPartial)
        {
            _partialUntil = _tick + HoldTicks;
        }

        foreach (var trace in batch.Traces)
        {
            var held = new HeldTrace(trace, _tick + HoldTicks, _encoder);
            _held.Enqueue(held);
            if (trace is { Id: { } id, Why: null or TraceReason.Spooled } && _heldById.TryAdd(id, held))
            {
                held.IsById = true;
                if (_early.Remove(id, out var early))
                {
                    held.Add(early.Node, early.Sessions);
                    early.More?.ForEach(more => held.Add(more.Node, more.Sessions));
                }
            }
        }

        foreach (var (id, sessions) in batch.Deliveries)
        {
            if (_heldById.TryGetValue(id, out var held))
            {
                held.Add(batch.Node, sessions);
            }
            else
            {
                ref var early = ref CollectionsMarshal.GetValueRefOrAddDefault(_early, id, out var isThere);
                if (isThere)
                {
                    (early.More ??= []).Add((batch.Node, sessions));
                }
                else
                {
                    (early.Node, early.Sessions) = (batch.Node, sessions);
                    _earlyIds.Enqueue((id, _tick + EarlyTicks));
                }
            }
        }

        while (_earlyIds.TryPeek(out var oldest) && oldest.Until <= _tick)
        {
            _early.Remove(_earlyIds.Dequeue().Id);
        }
    }

    /// <summary>Writes the traces that are due.</summary>
    private void Write()
    {
        while (_held.TryPeek(out var held) && held.Until <= _tick)
        {
            _held.Dequeue();
            if (held.IsById)
            {
                _heldById.Remove(held.Trace.Id!);
            }

            var isUncertain = held.Nodes == 0 && held.Trace.Why is null && _tick <= _partialUntil;
            foreach (var stream in _streams.Values)
            {
                stream.Add(held, isUncertain);
            }
        }

        foreach (var stream in _streams.Values)
        {
            stream.Flush(_tick);
        }
    }

    private void Renew()
    {
        foreach (var node in _leases.Where(lease => lease.Value.Until <= _tick).Select(lease => lease.Key).ToArray())
        {
            _leases.Remove(node);
        }

        Watch();
        if (_streams.Count > 0)
        {
            _ = _cluster.AskAsync(LeaseQuestion, OwnLease());
        }
    }

    private void Forget()
    {
        _held.Clear();
        _heldById.Clear();
        _early.Clear();
        _earlyIds.Clear();
    }

    /// <summary>Fan-outs of a message whose trace has not come yet: the first, and further ones.</summary>
    private struct EarlyDelivery
    {
        public string Node;
        public int Sessions;
        public List<(string Node, int Sessions)>? More;
    }
}
