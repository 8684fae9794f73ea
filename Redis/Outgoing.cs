namespace Dmb.Redis;

/// <summary>A message as it goes to Redis, and as it is kept until that has worked.</summary>
/// <param name="Id">The message id.</param>
/// <param name="Rooms">Where it goes.</param>
/// <param name="Body">What is published (<see cref="RedisFormat"/>).</param>
/// <param name="Since">When it came, as a timestamp.</param>
/// <param name="Uplink">What it is besides, if it goes to a backend.</param>
/// <param name="Place">
/// Its place in the first of its rooms that keeps a history, once Redis has said so; <see cref="Unknown"/> while nobody knows whether Redis
/// has published it; empty for what it has not.
/// </param>
internal sealed record Outgoing(string Id, string[] Rooms, byte[] Body, long Since, OutgoingUplink? Uplink = null, string Place = "")
{
    /// <summary>It was sent, and not answered.</summary>
    public const string Unknown = "?";
}

/// <summary>What a message to a backend is besides: the body's data is stored, and published to all backends.</summary>
/// <param name="Bkid">The backend.</param>
/// <param name="Id">The message id.</param>
/// <param name="Start">Where in the body the data begins.</param>
/// <param name="Length">How long it is.</param>
internal sealed record OutgoingUplink(string Bkid, string Id, int Start, int Length);

/// <summary>Messages in the order in which they came, bounded in number, bytes and age.</summary>
internal sealed class Spool(int maxMessages, int maxBytes, TimeSpan maxAge, TimeProvider time)
{
    private readonly Queue<Outgoing> _messages = new();
    private long _bytes;

    public int Count => _messages.Count;

    /// <summary>Adds a message. False when there is no room for it.</summary>
    public bool TryAdd(Outgoing message)
    {
        if (_messages.Count >= maxMessages || _bytes + message.Body.Length > maxBytes)
        {
            return false;
        }

        _messages.Enqueue(message);
        _bytes += message.Body.Length;
        return true;
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

    /// <summary>Takes the oldest.</summary>
    public Outgoing Take()
    {
        var message = _messages.Dequeue();
        _bytes -= message.Body.Length;
        return message;
    }

    /// <summary>All there is, the oldest first.</summary>
    public Outgoing[] ToArray() => [.. _messages];
}
