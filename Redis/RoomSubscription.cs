using Dmb.Routing;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>One room's subscription: on which link it stands, and when it was last wanted.</summary>
internal sealed class RoomSubscription
{
    private readonly Lock _lock = new();
    private RedisLink? _link;
    private Task _ready = Task.CompletedTask;
    private long _used;
    private bool _isRetired;
    private StreamPosition _received;

    /// <summary>Up to where the room's messages have come down; none before the first did.</summary>
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

    /// <summary>Notes that they have come to a place. False if they were there before.</summary>
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

    /// <summary>Subscribes once on each link; whoever comes later waits for the same answer.</summary>
    public Task EnsureAsync(RedisLink link, RedisChannel channel)
    {
        lock (_lock)
        {
            if (_link != link)
            {
                _link = link;
                _ready = link.Downlink.SubscribeAsync(channel, link.OnMessage);
            }

            return _ready;
        }
    }
}
