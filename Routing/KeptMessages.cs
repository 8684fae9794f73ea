using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Unicode;

namespace Dmb.Routing;

/// <summary>
/// The kept messages of one room, the oldest first, with consecutive positions. A small message of this room alone is a
/// record of bytes in a chunk that is used again, so that the garbage collector has nothing to trace, copy or free for
/// it; any other one is its envelope. Guarded by <see cref="LocalHistory"/>.
/// </summary>
internal sealed class KeptMessages(string[] rooms, ChunkPool chunks)
{
    private readonly Queue<byte[]> _chunks = [];

    /// <summary>The messages that are no records, in the order of their heads.</summary>
    private Queue<Envelope>? _envelopes;

    /// <summary>The chunk that is written, and the end of its last record.</summary>
    private byte[] _last = [];
    private int _end;

    /// <summary>Offset of the oldest record in the first chunk.</summary>
    private int _start;

    /// <summary>
    /// The envelopes that were read last, while a replay holds them: sessions that come back at the same time share
    /// them and their encoded frames.
    /// </summary>
    private WeakReference<Envelope[]>? _read;

    private enum Kind : byte
    {
        /// <summary>The chunk ends here.</summary>
        End,

        /// <summary>The head, the event, the id and the data.</summary>
        Bytes,

        /// <summary>The head alone; the message is the next one of <see cref="_envelopes"/>.</summary>
        Envelope,
    }

    /// <summary>Number of messages.</summary>
    public int Count { get; private set; }

    /// <summary>Since when the oldest message is kept, as a timestamp; there is one.</summary>
    public long OldestSince => ReadHead(_chunks.Peek(), _start).Since;

    /// <summary>
    /// Whether an envelope is kept as bytes. Not if it is traced: its trace context changes after it was added.
    /// </summary>
    public static bool IsBytes(Envelope envelope) =>
        envelope.Rooms.Length == 1 && envelope.Traceparent is null && Length(envelope) <= ChunkPool.SizeMax;

    /// <summary>Adds a message, whose data is copied unless the envelope itself is kept.</summary>
    /// <param name="envelope">The envelope, with its number.</param>
    /// <param name="since">Now, as a timestamp.</param>
    public void Add(Envelope envelope, long since)
    {
        var isBytes = IsBytes(envelope);
        var length = isBytes ? Length(envelope) : Head.Size;
        if (_last.Length - _end < length)
        {
            AddChunk(length);
        }

        var target = _last.AsSpan(_end, length);
        var head = new Head { Number = envelope.Number, Since = since };
        if (isBytes)
        {
            (head.Kind, head.DataLength) = (Kind.Bytes, envelope.Data.Length);
            var rest = target[Head.Size..];
            head.EventLength = (byte)Put(envelope.Event, ref rest);
            head.IdLength = (byte)Put(envelope.Id, ref rest);
            envelope.Data.Span.CopyTo(rest);
        }
        else
        {
            (head.Kind, head.DataLength) = (Kind.Envelope, envelope.Data.Length);
            (_envelopes ??= []).Enqueue(envelope);
        }

        MemoryMarshal.Write(target, head);
        _end += length;
        Count++;
    }

    /// <summary>Drops the oldest message; returns the length of its data.</summary>
    public int DropOldest()
    {
        var head = ReadHead(_chunks.Peek(), _start);
        if (head.Kind == Kind.Envelope)
        {
            _envelopes!.Dequeue();
        }

        _start += head.Length;
        if (--Count == 0)
        {
            while (_chunks.TryDequeue(out var chunk))
            {
                chunks.Return(chunk);
            }

            (_last, _start, _end) = ([], 0, 0);
        }
        else if (IsEnd(_chunks.Peek(), _start))
        {
            chunks.Return(_chunks.Dequeue());
            _start = 0;
        }

        return head.DataLength;
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
        var bytes = chunk.AsSpan(offset + Head.Size, head.Length - Head.Size);
        var names = head.EventLength + head.IdLength;
        return new Envelope(
            Encoding.UTF8.GetString(bytes[..head.EventLength]),
            Encoding.UTF8.GetString(bytes[head.EventLength..names]),
            rooms,
            bytes[names..].ToArray(),
            isKept: true
        )
        {
            Positions = [position],
            Number = head.Number,
        };
    }

    private void AddChunk(int length)
    {
        if (_last.Length - _end >= Head.Size)
        {
            _last.AsSpan(_end, Head.Size).Clear();
        }

        _last = chunks.Rent(Math.Max(length, _last.Length * 2));
        _chunks.Enqueue(_last);
        _end = 0;
    }

    private static int Put(string text, ref Span<byte> target)
    {
        Utf8.FromUtf16(text, target, out _, out var length);
        target = target[length..];
        return length;
    }

    private static int Length(Envelope envelope) =>
        Head.Size
        + Encoding.UTF8.GetByteCount(envelope.Event)
        + Encoding.UTF8.GetByteCount(envelope.Id)
        + envelope.Data.Length;

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

        public int DataLength;
        public Kind Kind;
        public byte EventLength;
        public byte IdLength;

        /// <summary>Bytes in the chunk.</summary>
        public readonly int Length => Kind == Kind.Bytes ? Size + EventLength + IdLength + DataLength : Size;
    }
}

/// <summary>
/// The chunks of the rooms' histories: arrays of 512 bytes to 4 KiB, so that a room with little history takes little,
/// which are used again. Not thread-safe.
/// </summary>
internal sealed class ChunkPool
{
    public const int SizeMax = 4_096;
    private const int SizeMin = 512;

    /// <summary>Maximum unused chunks of a size.</summary>
    private const int UnusedMax = 256;

    private readonly Stack<byte[]>[] _unused =
    [
        .. Enumerable.Range(0, BitOperations.Log2(SizeMax / SizeMin) + 1).Select(_ => new Stack<byte[]>()),
    ];

    /// <summary>Takes a chunk of at least so many bytes, or of <see cref="SizeMax"/>.</summary>
    public byte[] Rent(int bytes)
    {
        var size = Math.Clamp((int)BitOperations.RoundUpToPowerOf2((uint)bytes), SizeMin, SizeMax);
        return Of(size).TryPop(out var chunk) ? chunk : GC.AllocateUninitializedArray<byte>(size);
    }

    /// <summary>Takes a chunk back that nothing refers to.</summary>
    public void Return(byte[] chunk)
    {
        var unused = Of(chunk.Length);
        if (unused.Count < UnusedMax)
        {
            unused.Push(chunk);
        }
    }

    private Stack<byte[]> Of(int size) => _unused[BitOperations.Log2((uint)(size / SizeMin))];
}
