using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>A message as it goes to Redis, and as it is kept until that has worked.</summary>
/// <param name="Id">The message id.</param>
/// <param name="Rooms">Where it goes.</param>
/// <param name="Body">What is published (<see cref="RedisFormat"/>).</param>
/// <param name="UserMessage">Where in it a user's message to a backend is, if it is one.</param>
internal sealed record PendingPublish(string Id, string[] Rooms, byte[] Body, UserMessage? UserMessage = null)
{
    /// <summary>It was sent, and not answered.</summary>
    private const string Unknown = "?";

    /// <summary>Since when it is kept, as a timestamp.</summary>
    public required long Since { get; set; }

    /// <summary>
    /// What is known of its having been published: empty for nothing; its position in each of its rooms, with commas
    /// between, empty in a room that keeps no history; with a `?` at the end while a later publish of it is not
    /// answered. The script that publishes reads it.
    /// </summary>
    public string Positions { get; set; } = "";

    /// <summary>Notes that it was sent, and that Redis has not answered yet.</summary>
    public void MarkSent() =>
        Positions = Positions.EndsWith(Unknown, StringComparison.Ordinal) ? Positions : Positions + Unknown;

    /// <summary>
    /// Its position in one of its rooms, by number; none if that is not known or the room keeps no history.
    /// </summary>
    public StreamPosition PositionIn(int room)
    {
        var positions = Positions.TrimEnd('?').Split(',');
        return room < positions.Length && StreamPosition.TryParse(positions[room], out var position)
            ? position
            : default;
    }
}

/// <summary>
/// A user's message to a backend, within the body that is published: it is stored, and published to all backends.
/// </summary>
/// <param name="Bkid">The backend.</param>
/// <param name="Id">The message id.</param>
/// <param name="Start">Where in the body it begins, in bytes.</param>
/// <param name="Length">Its length in bytes.</param>
internal sealed record UserMessage(string Bkid, string Id, int Start, int Length);

/// <summary>Messages in their order, bounded in number, bytes and age.</summary>
internal sealed class Spool(int maxMessages, int maxBytes, TimeSpan maxAge, TimeProvider time)
{
    private readonly Queue<PendingPublish> _messages = new();
    private long _bytes;

    public int Count => _messages.Count;

    /// <summary>Adds a message. False when it does not fit.</summary>
    public bool TryAdd(PendingPublish message)
    {
        if (_messages.Count >= maxMessages || _bytes + message.Body.Length > maxBytes)
        {
            return false;
        }

        _messages.Enqueue(message);
        _bytes += message.Body.Length;
        return true;
    }

    /// <summary>Adds a message in the place of the oldest, if it does not fit.</summary>
    public void Push(PendingPublish message)
    {
        Expire();
        while (!TryAdd(message) && Count > 0)
        {
            Take();
        }
    }

    /// <summary>Drops what is older than the limit, and counts it.</summary>
    public int Expire()
    {
        var expired = 0;
        while (_messages.TryPeek(out var oldest) && time.GetElapsedTime(oldest.Since) > maxAge)
        {
            Take();
            expired++;
        }

        return expired;
    }

    private void Take() => _bytes -= _messages.Dequeue().Body.Length;

    /// <summary>Removes a message, if it is the oldest.</summary>
    public void Remove(PendingPublish message)
    {
        if (_messages.TryPeek(out var oldest) && ReferenceEquals(oldest, message))
        {
            Take();
        }
    }

    /// <summary>All messages, the oldest first.</summary>
    public PendingPublish[] ToArray() => [.. _messages];
}
