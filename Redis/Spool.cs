namespace Dmb.Redis;

/// <summary>A message as it goes to Redis, and as it is kept until that has worked.</summary>
/// <param name="Id">The message id.</param>
/// <param name="Rooms">Where it goes.</param>
/// <param name="Body">What is published (<see cref="RedisFormat"/>).</param>
/// <param name="Since">When it came, as a timestamp.</param>
/// <param name="UserMessage">Where in it a user's message to a backend is, if it is one.</param>
/// <param name="Position">
/// Its position in the first of its rooms that keeps a history, once Redis has said so; <see cref="Unknown"/> while it is not known whether
/// Redis has published it; empty for one that Redis has not.
/// </param>
internal sealed record PendingPublish(string Id, string[] Rooms, byte[] Body, long Since, UserMessage? UserMessage = null, string Position = "")
{
    /// <summary>It was sent, and not answered.</summary>
    public const string Unknown = "?";
}

/// <summary>A user's message to a backend, within the body that is published: it is stored, and published to all backends.</summary>
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

    /// <summary>Takes the oldest.</summary>
    public PendingPublish Take()
    {
        var message = _messages.Dequeue();
        _bytes -= message.Body.Length;
        return message;
    }

    /// <summary>All messages, the oldest first.</summary>
    public PendingPublish[] ToArray() => [.. _messages];
}
