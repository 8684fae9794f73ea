using System.Diagnostics;

namespace Dmb.Routing;

/// <summary>The records since the last <see cref="Tail.Take"/>.</summary>
/// <param name="Node">The node that recorded it.</param>
/// <param name="Traces">The accepted or refused publishes.</param>
/// <param name="Deliveries">The fan-outs to its sessions.</param>
/// <param name="LeftOut">Numbers of publishes above the limit, by filter.</param>
/// <param name="IsPartial">
/// Whether fan-outs are missing, so that a message without any can have reached sessions.
/// </param>
internal sealed record TailBatch(string Node, Trace[] Traces, Delivery[] Deliveries, LeftOut[] LeftOut, bool IsPartial)
{
    public bool IsEmpty => Traces.Length == 0 && Deliveries.Length == 0 && LeftOut.Length == 0 && !IsPartial;
}

/// <summary>The number of publishes that match a filter and were not recorded.</summary>
internal sealed record LeftOut(TailFilter Filter, int Count);

/// <summary>
/// Records the outcome of publishes while a tail is open on any node. Without one a publish only reads
/// <see cref="IsOpen"/>.
/// </summary>
internal sealed class Tail(TimeProvider time)
{
    /// <summary>Maximum publishes recorded per second and filter; further ones are counted.</summary>
    public const int TracesMax = 1_000;

    /// <summary>Maximum bytes of data in a trace.</summary>
    public const int DataBytesMax = 4_096;

    /// <summary>Maximum fan-outs recorded between two calls of <see cref="Take"/>.</summary>
    private const int DeliveriesMax = 4_096;

    /// <summary>
    /// Maximum bytes of data, and characters of rooms' names, recorded between two calls of <see cref="Take"/>.
    /// </summary>
    private const int BytesMax = 262_144;

    private const int EventLengthMax = 128;

    private readonly Lock _lock = new();
    private volatile Wanted[]? _filters;
    private volatile bool _wantsData;
    private readonly List<Trace> _traces = [];
    private readonly List<Delivery> _deliveries = [];
    private int _dataBytes;
    private int _nameLength;
    private bool _isPartial;

    /// <summary>Whether a tail is open. The other members are called only while it is.</summary>
    public bool IsOpen => _filters is not null;

    /// <summary>Sets the filters to record from now on.</summary>
    /// <param name="filters">The filters of all tails; empty to record nothing.</param>
    /// <param name="wantsData">Whether traces include data.</param>
    public void Watch(IEnumerable<TailFilter> filters, bool wantsData)
    {
        lock (_lock)
        {
            var before = _filters ?? [];
            Wanted[] wanted =
            [
                .. filters
                    .Distinct()
                    .Select(filter => Array.Find(before, known => known.Filter == filter) ?? new Wanted(filter)),
            ];
            _wantsData = wantsData;
            _filters = wanted.Length > 0 ? wanted : null;
        }
    }

    /// <summary>Records a message that was published or a duplicate.</summary>
    public void Published(
        in Origin origin,
        Envelope envelope,
        List<string>? leftOut,
        bool isDuplicate,
        PublishOutcome outcome
    ) =>
        Add(
            origin,
            envelope.Event,
            envelope.Id,
            envelope.Rooms,
            leftOut,
            envelope.Rooms.Length == 0 ? TraceReason.NoRoom
                : isDuplicate ? TraceReason.Duplicate
                : outcome == PublishOutcome.Spooled ? TraceReason.Spooled
                : null,
            envelope
        );

    /// <summary>Records a publish that is not executed.</summary>
    /// <param name="origin">Its source and event.</param>
    /// <param name="why">One of <see cref="TraceReason"/>.</param>
    /// <param name="rooms">The addressed rooms, if known.</param>
    /// <param name="isOnEveryNode">Whether every node records the same publish.</param>
    public void Dropped(in Origin origin, string why, string[]? rooms = null, bool isOnEveryNode = false) =>
        Add(origin, origin.Event ?? "", null, rooms ?? [], null, why, null, isOnEveryNode);

    /// <summary>
    /// Records a refused publish, except for <c>unknown_event</c>, which <see cref="Publisher"/> records.
    /// </summary>
    public void Refused(in Origin origin, RefusedException refused, bool isOnEveryNode = false)
    {
        if (IsOpen && refused.Code != ErrorCode.UnknownEvent)
        {
            Dropped(origin, TraceReason.Refused + refused.Code, refused.Rooms, isOnEveryNode);
        }
    }

    /// <summary>Records that a message was queued for sessions of this node.</summary>
    public void Delivered(Envelope envelope, int sessions)
    {
        if (envelope.Id.Length == 0 || !IsWanted(envelope.Event, envelope.Rooms, []))
        {
            return;
        }

        lock (_lock)
        {
            if (_deliveries.Count < DeliveriesMax)
            {
                _deliveries.Add(new Delivery(envelope.Id, sessions));
            }
            else
            {
                _isPartial = true;
            }
        }
    }

    /// <summary>Returns the records since the last call.</summary>
    public TailBatch Take(string node)
    {
        lock (_lock)
        {
            var wanted = _filters ?? [];
            LeftOut[] leftOut =
            [
                .. wanted.Where(one => one.LeftOut > 0).Select(one => new LeftOut(one.Filter, one.LeftOut)),
            ];
            Array.ForEach(wanted, one => one.LeftOut = 0);
            var batch = new TailBatch(node, [.. _traces], [.. _deliveries], leftOut, _isPartial);
            _traces.Clear();
            _deliveries.Clear();
            (_dataBytes, _nameLength, _isPartial) = (0, 0, false);
            return batch;
        }
    }

    private bool IsWanted(string @event, string[] rooms, ReadOnlySpan<string> leftOut)
    {
        foreach (var wanted in _filters ?? [])
        {
            if (wanted.Filter.Matches(@event, rooms, leftOut))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Counts a publish for each matching filter; false if it is above the limit of all.</summary>
    private bool Count(string @event, string[] rooms, string[] leftOut)
    {
        var second = Stopwatch.GetTimestamp() / Stopwatch.Frequency;
        var isTaken = false;
        foreach (var wanted in _filters ?? [])
        {
            if (wanted.Filter.Matches(@event, rooms, leftOut))
            {
                isTaken |= _nameLength <= BytesMax && wanted.Take(second);
            }
        }

        if (!isTaken)
        {
            foreach (var wanted in _filters ?? [])
            {
                wanted.LeftOut += wanted.Filter.Matches(@event, rooms, leftOut) ? 1 : 0;
            }
        }

        return isTaken;
    }

    private void Add(
        in Origin origin,
        string @event,
        string? id,
        string[] rooms,
        List<string>? leftOut,
        string? why,
        Envelope? envelope,
        bool isOnEveryNode = false
    )
    {
        string[] names = leftOut is null ? [] : [.. leftOut];
        if (!IsWanted(@event, rooms, names))
        {
            return;
        }

        lock (_lock)
        {
            if (!Count(@event, rooms, names))
            {
                if (id is not null && _deliveries.Count > 0 && _deliveries[^1].Id == id)
                {
                    // The fan-out of this message has no trace to be added to.
                    _deliveries.RemoveAt(_deliveries.Count - 1);
                }

                return;
            }

            var data =
                _wantsData
                && envelope is { Data.Length: <= DataBytesMax } small
                && _dataBytes + small.Data.Length <= BytesMax
                    ? small.Data.ToArray()
                    : null;
            _dataBytes += data?.Length ?? 0;
            _nameLength += rooms.Sum(static room => room.Length) + names.Sum(static name => name.Length);
            _traces.Add(
                new Trace(
                    time.GetUtcNow(),
                    @event.Length <= EventLengthMax ? @event : @event[..EventLengthMax],
                    id,
                    origin.From,
                    origin.Caller is { Length: > 0 } caller ? caller : null,
                    rooms,
                    names,
                    why,
                    PositionsOf(envelope),
                    data
                )
                {
                    IsOnEveryNode = isOnEveryNode,
                }
            );
        }
    }

    /// <summary>A filter and its counts; guarded by the lock.</summary>
    private sealed class Wanted(TailFilter filter)
    {
        private long _second;
        private int _inSecond;

        public TailFilter Filter => filter;

        public int LeftOut { get; set; }

        /// <summary>Counts one publish in a second; false above the limit.</summary>
        public bool Take(long second)
        {
            (_second, _inSecond) = (second, second == _second ? _inSecond + 1 : 1);
            return _inSecond <= TracesMax;
        }
    }

    private static string?[] PositionsOf(Envelope? envelope) =>
        envelope switch
        {
            { Positions: { } positions } =>
            [
                .. positions.Select(position => position.IsNone ? null : position.ToString()),
            ],
            { KeptAt: { Length: > 0 } kept } => [.. kept.Split(',').Select(place => place.Length > 0 ? place : null)],
            _ => [],
        };
}
