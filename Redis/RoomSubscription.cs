using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>One room's subscription: its link, last use, and received position.</summary>
internal sealed class RoomSubscription
{
    private readonly Lock _lock = new();
    private RedisLink? _link;
    private Task _ready = Task.CompletedTask;
    private long _used;
    private bool _isRetired;
    private StreamPosition _received;

    /// <summary>The position of the last received message; none before the first.</summary>
    public StreamPosition Received
    {
        get
        {
            lock (_lock)
            {
                return _received;
            }
        }
    }

    /// <summary>Advances the received position; false if it is past it already.</summary>
    public bool MoveTo(StreamPosition position)
    {
        lock (_lock)
        {
            var isNew = position.IsNone || position.Epoch != _received.Epoch || position.Seq > _received.Seq;
            _received = isNew ? position : _received;
            return isNew;
        }
    }

    public bool TryUse(TimeProvider time)
    {
        lock (_lock)
        {
            _used = time.GetTimestamp();
            return !_isRetired;
        }
    }

    public bool TryRetire(TimeProvider time, TimeSpan linger)
    {
        lock (_lock)
        {
            return _isRetired = time.GetElapsedTime(_used) >= linger;
        }
    }

    /// <summary>Whether messages that Redis publishes now are received by this subscription.</summary>
    public bool IsReceivedBy(RedisLink link)
    {
        lock (_lock)
        {
            return _link == link && _ready.IsCompletedSuccessfully;
        }
    }

    /// <summary>Subscribes once per link; later callers await the same operation.</summary>
    public Task EnsureAsync(RedisLink link, string channel, SubscriptionKind kind, Action<string, byte[]>? receive)
    {
        lock (_lock)
        {
            if (_link != link)
            {
                _link = link;
                _ready = link.SubscribeRoomAsync(channel, kind, receive);
            }

            return _ready;
        }
    }
}
