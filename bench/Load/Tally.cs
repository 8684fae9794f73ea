using System.Diagnostics;

namespace Dmb.Bench.Load;

/// <summary>
/// Keeps count of one round: every publish must be answered, and must reach each subscriber it is for exactly once,
/// those from one connection in order.
/// </summary>
internal sealed class Tally
{
    private readonly long _first;
    private readonly int _subscribers;
    private readonly int _connections;
    private readonly bool _roomsOfOne;
    private readonly int _recipients;
    private readonly long[] _startedAt;
    private readonly byte[] _connection;
    private readonly int[] _awaited;

    // One bit for each delivery; those of one publish side by side, since they arrive one after the other.
    private readonly ulong[] _arrived;
    private readonly int _wordsPerPublish;
    private readonly int[] _last;

    /// <summary>Numbers are never used again: what comes late from another round is seen as misrouted.</summary>
    public Tally(long first, int publishes, int subscribers, int connections, bool roomsOfOne)
    {
        _first = first;
        _subscribers = subscribers;
        _connections = connections;
        _roomsOfOne = roomsOfOne;
        Publishes = publishes;
        _recipients = roomsOfOne ? Math.Min(1, subscribers) : subscribers;
        _startedAt = new long[publishes];
        _connection = new byte[publishes];
        _awaited = new int[publishes];
        Array.Fill(_awaited, _recipients);
        _wordsPerPublish = (_recipients + 63) / 64;
        _arrived = new ulong[(long)publishes * _wordsPerPublish];
        _last = new int[subscribers * connections];
    }

    /// <summary>As many as there shall be, or as there were when the round was ended.</summary>
    public int Publishes { get; private set; }
    public long Expected => (long)Publishes * _recipients;
    public int Sent { get; private set; }
    public int Answered { get; private set; }
    public int Refused { get; private set; }
    public long Delivered { get; private set; }
    public long Doubled { get; private set; }
    public long Misrouted { get; private set; }
    public long OutOfOrder { get; private set; }

    /// <summary>From when a publish was sent, or due, to when a subscriber had it.</summary>
    public Histogram DeliveryTimes { get; } = new();

    /// <summary>From when a publish was sent, or due, to its answer.</summary>
    public Histogram AnswerTimes { get; } = new();

    public bool Complete => Answered == Publishes && Delivered == Expected;

    public long Number(int publish) => _first + publish;

    /// <summary>Nothing more is sent; what is under way may still arrive.</summary>
    public void End() => Publishes = Sent;

    public int NextToSend(int connection, long startedAt)
    {
        _startedAt[Sent] = startedAt;
        _connection[Sent] = (byte)connection;
        return Sent++;
    }

    public void Answer(int publish, bool ok, long now)
    {
        Answered++;
        Refused += ok ? 0 : 1;
        AnswerTimes.Add(Nanoseconds(now - _startedAt[publish]));
    }

    public bool ReachedAll(int publish) => _awaited[publish] == 0;

    public void Arrive(int subscriber, long number, long now)
    {
        var publish = (int)(number - _first);
        if ((uint)publish >= (uint)Sent || (_roomsOfOne && publish % _subscribers != subscriber))
        {
            Misrouted++;
            return;
        }

        var bit = _roomsOfOne ? 0 : subscriber;
        ref var word = ref _arrived[((long)publish * _wordsPerPublish) + (bit >> 6)];
        if ((word & (1ul << bit)) != 0)
        {
            Doubled++;
            return;
        }

        word |= 1ul << bit;
        _awaited[publish]--;
        Delivered++;
        DeliveryTimes.Add(Nanoseconds(now - _startedAt[publish]));
        ref var last = ref _last[(subscriber * _connections) + _connection[publish]];
        OutOfOrder += publish < last ? 1 : 0;
        last = publish;
    }

    private static long Nanoseconds(long ticks) => (long)(ticks * (1e9 / Stopwatch.Frequency));
}
