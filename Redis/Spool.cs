using System.Globalization;
using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>A message encoded for Redis, and its state until it was published.</summary>
/// <param name="Id">The message id.</param>
/// <param name="Rooms">Its rooms.</param>
/// <param name="Body">The published bytes (<see cref="RedisFormat"/>).</param>
/// <param name="UserMessage">The part of it that is a user's message to a backend; null if it is not one.</param>
internal sealed record PendingPublish(string Id, string[] Rooms, byte[] Body, UserMessage? UserMessage = null)
{
    /// <summary>Since when it is kept, as a timestamp of the <see cref="TimeProvider"/>.</summary>
    public required long Since { get; set; }

    /// <summary>
    /// Its position in each room, separated by commas, empty in a room without history; empty before it is known.
    /// </summary>
    public string Positions { get; set; } = "";

    /// <summary>
    /// The message number that was seen before the first publish without an answer, above which its own is if that was
    /// executed; null if each was answered.
    /// </summary>
    private long? _unansweredAfter;

    /// <summary>
    /// What is known of its earlier publishes, for the publishing script: its positions and, if one is unanswered, `?` and
    /// the number after which it may be found.
    /// </summary>
    public string Earlier =>
        _unansweredAfter is { } after ? string.Create(CultureInfo.InvariantCulture, $"{Positions}?{after}") : Positions;

    /// <summary>Records that it is sent, and that the message number <paramref name="seen"/> was seen before.</summary>
    public void MarkSent(long seen) => _unansweredAfter = Math.Min(_unansweredAfter ?? seen, seen);

    /// <summary>Records the answer of a publish.</summary>
    public void MarkAnswered(string positions) => (Positions, _unansweredAfter) = (positions, null);

    /// <summary>Its position in one of its rooms, by index; none if unknown, or without history.</summary>
    public StreamPosition PositionIn(int room)
    {
        var positions = Positions.Split(',');
        return room < positions.Length && StreamPosition.TryParse(positions[room], out var position)
            ? position
            : default;
    }
}

/// <summary>
/// The part of a published body that is a user's message to a backend, which is also stored and published to the
/// backends.
/// </summary>
/// <param name="Bkid">The backend.</param>
/// <param name="Id">The message id.</param>
/// <param name="Start">Its offset in the body, in bytes.</param>
/// <param name="Length">Its length in bytes.</param>
internal sealed record UserMessage(string Bkid, string Id, int Start, int Length);

/// <summary>What the spools of all groups may hold together. Thread-safe.</summary>
internal sealed class SpoolSpace(int maxMessages, long maxBytes)
{
    private readonly Lock _lock = new();
    private int _messages;
    private long _bytes;

    /// <summary>Takes space for a message; false if there is too little.</summary>
    public bool TryTake(int bytes)
    {
        lock (_lock)
        {
            if (_messages >= maxMessages || _bytes + bytes > maxBytes)
            {
                return false;
            }

            (_messages, _bytes) = (_messages + 1, _bytes + bytes);
            return true;
        }
    }

    /// <summary>Gives back the space of a message.</summary>
    public void Give(int bytes)
    {
        lock (_lock)
        {
            (_messages, _bytes) = (_messages - 1, _bytes - bytes);
        }
    }
}

/// <summary>A queue of messages, bounded in space and age. Not thread-safe.</summary>
internal sealed class Spool(SpoolSpace space, TimeSpan maxAge, TimeProvider time)
{
    private readonly LinkedList<PendingPublish> _messages = [];

    public int Count => _messages.Count;

    /// <summary>
    /// Inserts a message by its age; false if it does not fit. Calls that a lost link fails together end in any order,
    /// and their messages were sent in another.
    /// </summary>
    public bool TryInsert(PendingPublish message)
    {
        if (!space.TryTake(message.Body.Length))
        {
            return false;
        }

        var before = _messages.Last;
        while (before?.Value.Since > message.Since)
        {
            before = before.Previous;
        }

        if (before is null)
        {
            _messages.AddFirst(message);
        }
        else
        {
            _messages.AddAfter(before, message);
        }

        return true;
    }

    /// <summary>Drops expired messages; returns their number.</summary>
    public int Expire()
    {
        var expired = 0;
        while (_messages.First is { Value: var oldest } && time.GetElapsedTime(oldest.Since) > maxAge)
        {
            DropOldest();
            expired++;
        }

        return expired;
    }

    private void DropOldest()
    {
        space.Give(_messages.First!.Value.Body.Length);
        _messages.RemoveFirst();
    }

    /// <summary>Removes a message, if it is still there: older ones may have been inserted before it.</summary>
    public void Remove(PendingPublish message)
    {
        for (var one = _messages.First; one?.Value.Since <= message.Since; one = one.Next)
        {
            if (ReferenceEquals(one.Value, message))
            {
                space.Give(message.Body.Length);
                _messages.Remove(one);
                return;
            }
        }
    }

    /// <summary>The oldest messages: as many as have these bytes when they are published, and at least one.</summary>
    public PendingPublish[] Oldest(int bytes) => Oldest(_messages, bytes);

    /// <summary>The first messages: as many as have these bytes when they are published, and at least one.</summary>
    public static PendingPublish[] Oldest(IEnumerable<PendingPublish> messages, int bytes)
    {
        // A message is published once per room.
        var left = (long)bytes;
        return
        [
            .. messages.TakeWhile(message =>
            {
                var isTaken = left > 0;
                left -= (long)message.Body.Length * message.Rooms.Length;
                return isTaken;
            }),
        ];
    }

    /// <summary>All messages, the oldest first.</summary>
    public PendingPublish[] ToArray() => [.. _messages];
}
