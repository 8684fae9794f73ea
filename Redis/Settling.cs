using System.Buffers;
using System.Text;

namespace Dmb.Redis;

/// <summary>
/// The acknowledged messages that Redis may still lose, the oldest first, bounded in space and age. They are bytes in
/// chunks that are used again, and messages only once they are read: nearly all are dropped unread, and so many objects
/// that live for seconds would make each garbage collection long. Not thread-safe.
/// </summary>
/// <param name="space">What they may take.</param>
/// <param name="maxAge">How long each is kept.</param>
/// <param name="time">The clock.</param>
internal sealed class Settling(SpoolSpace space, TimeSpan maxAge, TimeProvider time)
{
    private const int ChunkBytes = 16_384;

    /// <summary>Between id, positions and rooms, none of which has a control character.</summary>
    private const char Separator = '\n';

    private readonly Queue<Entry> _entries = [];

    /// <summary>The chunk of the newest entry, and the end of what is written in it.</summary>
    private byte[] _last = [];
    private int _end;

    /// <summary>Adds a message at the end, and drops the oldest ones if it does not fit.</summary>
    public void Push(PendingPublish message)
    {
        Expire();
        while (!space.TryTake(message.Body.Length))
        {
            if (_entries.Count == 0)
            {
                return;
            }

            DropOldest();
        }

        if (message.UserMessage is not null)
        {
            _entries.Enqueue(new Entry(message.Since, message.Body.Length, _last) { Message = message });
            return;
        }

        var textMax = Encoding.UTF8.GetMaxByteCount(message.Id.Length + message.Positions.Length + 2);
        foreach (var room in message.Rooms)
        {
            textMax += Encoding.UTF8.GetMaxByteCount(room.Length + 1);
        }

        var free = Free(textMax + message.Body.Length);
        var rest = free;
        Put(message.Id, ref rest);
        Put(message.Positions, ref rest);
        foreach (var room in message.Rooms)
        {
            Put(room, ref rest);
        }

        var textLength = free.Length - rest.Length;
        message.Body.CopyTo(rest);
        _entries.Enqueue(
            new Entry(message.Since, message.Body.Length, _last) { Start = _end, TextLength = textLength }
        );
        _end += textLength + message.Body.Length;
    }

    /// <summary>Drops expired messages.</summary>
    public void Expire()
    {
        while (_entries.TryPeek(out var oldest) && time.GetElapsedTime(oldest.Since) > maxAge)
        {
            DropOldest();
        }
    }

    /// <summary>All messages, the oldest first; what is changed of them is kept.</summary>
    public PendingPublish[] ToArray()
    {
        var messages = Array.ConvertAll(_entries.ToArray(), entry => entry.Message ?? Read(entry));
        while (_entries.TryDequeue(out var entry))
        {
            Return(entry.Chunk);
        }

        foreach (var message in messages)
        {
            _entries.Enqueue(new Entry(message.Since, message.Body.Length, []) { Message = message });
        }

        return messages;
    }

    private void DropOldest()
    {
        var oldest = _entries.Dequeue();
        space.Give(oldest.BodyLength);
        Return(oldest.Chunk);
    }

    /// <summary>Gives back the chunk of the entry that was taken, if no other entry is in it.</summary>
    private void Return(byte[] chunk)
    {
        var isLast = _entries.Count == 0;
        if (chunk.Length > 0 && (isLast || _entries.Peek().Chunk != chunk))
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }

        if (isLast)
        {
            (_last, _end) = ([], 0);
        }
    }

    /// <summary>The free end of the last chunk, of at least so many bytes, or a new one.</summary>
    private Span<byte> Free(int length)
    {
        if (_last.Length - _end < length)
        {
            (_last, _end) = (ArrayPool<byte>.Shared.Rent(Math.Max(length, ChunkBytes)), 0);
        }

        return _last.AsSpan(_end);
    }

    private static void Put(string text, ref Span<byte> rest)
    {
        var length = Encoding.UTF8.GetBytes(text, rest);
        rest[length] = (byte)Separator;
        rest = rest[(length + 1)..];
    }

    private static PendingPublish Read(in Entry entry)
    {
        var bytes = entry.Chunk.AsSpan(entry.Start, entry.TextLength + entry.BodyLength);
        var texts = Encoding.UTF8.GetString(bytes[..(entry.TextLength - 1)]).Split(Separator);
        return new PendingPublish(texts[0], texts[2..], bytes[entry.TextLength..].ToArray())
        {
            Since = entry.Since,
            Positions = texts[1],
        };
    }

    /// <summary>A message.</summary>
    /// <param name="Sent">Since when it is kept, while it is bytes.</param>
    /// <param name="BodyLength">The length of its body, in bytes.</param>
    /// <param name="Chunk">The chunk that it is in, or, of a message that is no bytes, that of the one before.</param>
    private readonly record struct Entry(long Sent, int BodyLength, byte[] Chunk)
    {
        /// <summary>The message where it is not bytes: one to a backend, and one that was read.</summary>
        public PendingPublish? Message { get; init; }

        /// <summary>Where the texts begin in the chunk; the body follows them.</summary>
        public int Start { get; init; }

        /// <summary>The length of id, positions and rooms with a separator behind each, in bytes.</summary>
        public int TextLength { get; init; }

        public long Since => Message?.Since ?? Sent;
    }
}
