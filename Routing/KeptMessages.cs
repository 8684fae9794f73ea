using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;

namespace Dmb.Routing;

/// <summary>
/// The kept messages of one room, the oldest first, with consecutive positions. A small message of few rooms is a
/// record of bytes in a chunk that is used again, so that the garbage collector has nothing to trace, copy or free for
/// it; any other one is its envelope. Guarded by <see cref="LocalHistory"/>.
/// </summary>
internal sealed class KeptMessages(string[] rooms, ChunkPool chunks)
{
    /// <summary>Maximum rooms of a record, which has all their names.</summary>
    private const int RoomsMax = 4;

    private readonly Queue<byte[]> _chunks = [];

    /// <summary>The messages that are no records, in the order of their heads.</summary>
    private Queue<Envelope>? _envelopes;

    /// <summary>The chunk that is written, and the end of its last record.</summary>
    private byte[] _last = [];
    private int _end;

    /// <summary>
    /// Offset of the oldest record in the first chunk, and its head: the chunk itself is hardly in the processor's
    /// cache.
    /// </summary>
    private int _start;
    private Head _oldest;

    /// <summary>
    /// The envelopes that were read last, while a replay holds them: sessions that come back at the same time share
    /// them and their encoded frames.
    /// </summary>
    private WeakReference<Envelope[]>? _read;

    private enum Kind : byte
    {
        /// <summary>The chunk ends here.</summary>
        End,

        /// <summary>
        /// The head, the event, the id, the data, the trace context and, of a message with other rooms too, for each
        /// room its name, epoch and number; each text with its length.
        /// </summary>
        Bytes,

        /// <summary>The head alone; the message is the next one of <see cref="_envelopes"/>.</summary>
        Envelope,
    }

    /// <summary>Number of messages.</summary>
    public int Count { get; private set; }

    /// <summary>Since when the oldest message is kept, as a timestamp; there is one.</summary>
    public long OldestSince => _oldest.Since;

    /// <summary>Whether an envelope is kept as bytes.</summary>
    public static bool IsBytes(Envelope envelope) =>
        envelope.Rooms.Length <= RoomsMax
        && envelope.Data.Length < ChunkPool.SizeMax
        && MaxLength(envelope) <= ChunkPool.SizeMax;

    /// <summary>Adds a message, whose data is copied unless the envelope itself is kept.</summary>
    /// <param name="envelope">The envelope, with its number, positions and the trace context of its publish.</param>
    /// <param name="since">Now, as a timestamp.</param>
    public void Add(Envelope envelope, long since)
    {
        var head = new Head { Number = envelope.Number, Since = since };
        if (IsBytes(envelope))
        {
            var rest = Free(MaxLength(envelope))[Head.Size..];
            head.Kind = Kind.Bytes;
            head.EventLength = (byte)Put(envelope.Event, ref rest);
            head.IdLength = (byte)Put(envelope.Id, ref rest);
            head.DataLength = (ushort)envelope.Data.Length;
            envelope.Data.Span.CopyTo(rest);
            rest = rest[envelope.Data.Length..];
            head.TraceparentLength = (byte)Put(envelope.Traceparent, ref rest);
            if (envelope.Rooms.Length > 1)
            {
                var before = rest.Length;
                for (var i = 0; i < envelope.Rooms.Length; i++)
                {
                    var position = envelope.Positions![i];
                    PutText(envelope.Rooms[i], ref rest);
                    PutText(position.Epoch, ref rest);
                    MemoryMarshal.Write(rest, position.Seq);
                    rest = rest[sizeof(long)..];
                }

                head.RoomsLength = (ushort)(before - rest.Length);
            }
        }
        else
        {
            head.Kind = Kind.Envelope;
            (_envelopes ??= []).Enqueue(envelope);
        }

        MemoryMarshal.Write(Free(Head.Size), head);
        _end += head.Length;
        if (Count++ == 0)
        {
            _oldest = head;
        }
    }

    /// <summary>Drops the oldest message; returns the length of its data.</summary>
    public int DropOldest()
    {
        var length = _oldest.Kind == Kind.Envelope ? _envelopes!.Dequeue().Data.Length : _oldest.DataLength;
        _start += _oldest.Length;
        if (--Count == 0)
        {
            while (_chunks.TryDequeue(out var chunk))
            {
                chunks.Return(chunk);
            }

            (_last, _start, _end) = ([], 0, 0);
            return length;
        }

        if (IsEnd(_chunks.Peek(), _start))
        {
            chunks.Return(_chunks.Dequeue());
            _start = 0;
        }

        _oldest = ReadHead(_chunks.Peek(), _start);
        return length;
    }

    /// <summary>Reads the newest messages.</summary>
    /// <param name="count">How many.</param>
    /// <param name="last">The position of the newest one.</param>
    public Envelope[] Read(int count, StreamPosition last)
    {
        if (count == 0)
        {
            return [];
        }

        var read = _read is not null && _read.TryGetTarget(out var known) ? known : [];
        var result = new Envelope[count];
        var seq = last.Seq - Count;
        var envelopes = (_envelopes ?? []).GetEnumerator();
        var offset = _start;
        foreach (var chunk in _chunks)
        {
            for (; seq < last.Seq && !IsEnd(chunk, offset); offset += ReadHead(chunk, offset).Length)
            {
                var isEnvelope = ReadHead(chunk, offset).Kind == Kind.Envelope && envelopes.MoveNext();
                var index = (int)(++seq - (last.Seq - count)) - 1;
                if (index >= 0)
                {
                    result[index] = isEnvelope
                        ? envelopes.Current
                        : Find(read, seq) ?? ReadBytes(chunk, offset, last with { Seq = seq });
                }
            }

            offset = 0;
        }

        if (read.Length < count)
        {
            _read = new WeakReference<Envelope[]>(result);
        }

        return result;
    }

    /// <summary>The message of a position among those that were read before; null if it is not there.</summary>
    private Envelope? Find(Envelope[] read, long seq) =>
        read.Length > 0 && seq - read[0].PositionIn(rooms[0]).Seq is >= 0 and var index && index < read.Length
            ? read[index]
            : null;

    private Envelope ReadBytes(byte[] chunk, int offset, StreamPosition position)
    {
        var head = ReadHead(chunk, offset);
        ReadOnlySpan<byte> rest = chunk.AsSpan(offset + Head.Size, head.Length - Head.Size);
        var @event = Text(head.EventLength, ref rest);
        var id = Text(head.IdLength, ref rest);
        var data = rest[..head.DataLength].ToArray();
        rest = rest[head.DataLength..];
        var traceparent = head.TraceparentLength > 0 ? Text(head.TraceparentLength, ref rest) : null;
        if (rest.IsEmpty)
        {
            return new Envelope(@event, id, rooms, data, isKept: true)
            {
                Positions = [position],
                Number = head.Number,
                Traceparent = traceparent,
            };
        }

        var (names, positions) = (new List<string>(RoomsMax), new List<StreamPosition>(RoomsMax));
        while (!rest.IsEmpty)
        {
            names.Add(Text(TakeByte(ref rest), ref rest));
            var epoch = Text(TakeByte(ref rest), ref rest);
            positions.Add(epoch.Length > 0 ? new StreamPosition(epoch, MemoryMarshal.Read<long>(rest)) : default);
            rest = rest[sizeof(long)..];
        }

        return new Envelope(@event, id, [.. names], data, isKept: true)
        {
            Positions = [.. positions],
            Number = head.Number,
            Traceparent = traceparent,
        };
    }

    /// <summary>The free end of the last chunk, of at least so many bytes, or of a new one.</summary>
    private Span<byte> Free(int length)
    {
        if (_last.Length - _end < length)
        {
            if (_last.Length - _end >= Head.Size)
            {
                _last.AsSpan(_end, Head.Size).Clear();
            }

            _last = chunks.Rent(Math.Max(length, _last.Length * 2));
            _chunks.Enqueue(_last);
            _end = 0;
        }

        return _last.AsSpan(_end);
    }

    private static int Put(string? text, ref Span<byte> target)
    {
        Utf8.FromUtf16(text, target, out _, out var length);
        target = target[length..];
        return length;
    }

    /// <summary>Writes a text of at most 255 bytes behind its length.</summary>
    private static void PutText(string? text, ref Span<byte> target)
    {
        var rest = target[1..];
        target[0] = (byte)Put(text, ref rest);
        target = rest;
    }

    private static string Text(int length, ref ReadOnlySpan<byte> source)
    {
        var text = Encoding.UTF8.GetString(source[..length]);
        source = source[length..];
        return text;
    }

    private static byte TakeByte(ref ReadOnlySpan<byte> source)
    {
        var first = source[0];
        source = source[1..];
        return first;
    }

    /// <summary>The bytes that a record takes at most.</summary>
    private static int MaxLength(Envelope envelope)
    {
        var length =
            Head.Size
            + envelope.Event.Length
            + Encoding.UTF8.GetByteCount(envelope.Id)
            + envelope.Data.Length
            + (envelope.Traceparent?.Length ?? 0);
        if (envelope.Rooms.Length > 1)
        {
            foreach (var room in envelope.Rooms)
            {
                length += 1 + Encoding.UTF8.GetByteCount(room) + 1 + StreamPosition.EpochLengthMax + sizeof(long);
            }
        }

        return length;
    }

    private static Head ReadHead(byte[] chunk, int offset) => MemoryMarshal.Read<Head>(chunk.AsSpan(offset));

    private static bool IsEnd(byte[] chunk, int offset) =>
        chunk.Length - offset < Head.Size || ReadHead(chunk, offset).Kind == Kind.End;

    /// <summary>The start of a message in a chunk; its lengths are those of UTF-8.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Head
    {
        public const int Size = 24;

        /// <summary>The envelope's number.</summary>
        public long Number;

        /// <summary>Since when it is kept, as a timestamp.</summary>
        public long Since;

        public ushort DataLength;
        public ushort RoomsLength;
        public byte EventLength;
        public byte IdLength;
        public byte TraceparentLength;
        public Kind Kind;

        /// <summary>Bytes in the chunk.</summary>
        public readonly int Length => Size + EventLength + IdLength + DataLength + TraceparentLength + RoomsLength;
    }
}
