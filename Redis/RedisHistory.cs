using System.Buffers;
using System.Globalization;
using Dmb.Routing;
using StackExchange.Redis;
using StreamPosition = Dmb.Routing.StreamPosition;

namespace Dmb.Redis;

/// <summary>
/// The histories of a group's rooms in Redis: builds the keys and arguments of publishing scripts, reads histories, and
/// detects that the server lost data which this node has seen.
/// </summary>
internal sealed class RedisHistory(
    RedisChannels channels,
    HistoryPolicy policy,
    HistoryOptions options,
    PoisonedKeys poisoned,
    Copies copies,
    TimeProvider time
)
{
    /// <summary>Messages of a history that are read at a time.</summary>
    private const int Page = 500;

    private string _mark = "";
    private string _run = "";
    private long _seen;

    /// <summary>Whether one of the message's rooms keeps a history.</summary>
    public bool Keeps(PendingPublish message) => policy.KeepsAny(message.Rooms);

    /// <summary>
    /// The highest message number seen from the server: what is published from now on has a higher one, unless the server
    /// loses data, which <see cref="AttachAsync"/> detects.
    /// </summary>
    public long Seen => Volatile.Read(ref _seen);

    /// <summary>Records a message number seen from the server.</summary>
    public void Saw(long number)
    {
        for (var seen = Volatile.Read(ref _seen); number > seen; seen = Volatile.Read(ref _seen))
        {
            Interlocked.CompareExchange(ref _seen, number, seen);
        }
    }

    /// <summary>
    /// Returns the mark of the server's data; a new one after a loss of data that this node has seen. A new mark starts
    /// new epochs.
    /// </summary>
    /// <param name="link">The link.</param>
    /// <param name="layout">What the layout of keys began with: another one begins a new mark too.</param>
    public async Task<string> AttachAsync(RedisLink link, string layout)
    {
        var answer = (string[])
            (
                await link.RunAsync(
                    RedisScript.Epoch,
                    [channels.Epoch],
                    [StreamPosition.NewEpoch(), _mark, Seen, _run, layout]
                )
            )!;
        if (_mark != answer[0])
        {
            Volatile.Write(ref _seen, 0);
        }

        (_mark, _run) = (answer[0], answer[1]);
        return _mark;
    }

    /// <summary>The keys of a script that publishes a message (kept.lua), by name.</summary>
    public IEnumerable<string> Keys(PendingPublish message) =>
        [
            channels.Log,
            channels.Epoch,
            .. message
                .Rooms.Where(policy.Keeps)
                .SelectMany(room => (string[])[channels.History(room), channels.Position(room)]),
        ];

    /// <summary>The number of keys of a script that publishes a message.</summary>
    public static int KeyCount(PendingPublish message) => 2 + (2 * message.Rooms.Length);

    /// <summary>The number of arguments of a script that publishes a message.</summary>
    public static int ArgumentCount(PendingPublish message) => 6 + (3 * message.Rooms.Length);

    /// <summary>Encodes the keys of a script that publishes a message (kept.lua).</summary>
    public void WriteKeys(ArrayBufferWriter<byte> output, PendingPublish message)
    {
        output.WriteBulk(channels.Log);
        output.WriteBulk(channels.Epoch);
        foreach (var room in message.Rooms)
        {
            var isKept = policy.Keeps(room);
            output.WriteBulk(isKept ? channels.HistoryStart : channels.Epoch, isKept ? room : "");
            output.WriteBulk(isKept ? channels.PositionStart : channels.Epoch, isKept ? room : "");
        }
    }

    /// <summary>Encodes the arguments of a script that publishes a message (kept.lua).</summary>
    public void WriteArguments(ArrayBufferWriter<byte> output, PendingPublish message, byte[] body, string earlier)
    {
        output.WriteBulk((RedisValue)PublishCalls.LogLength(body));
        output.WriteBulk((RedisValue)body);
        output.WriteBulk(message.Id);
        output.WriteBulk(StreamPosition.NewEpoch());
        output.WriteBulk((RedisValue)(long)options.PositionTtl.TotalMilliseconds);
        output.WriteBulk(earlier);
        foreach (var room in message.Rooms)
        {
            var (size, ttl) = policy.Of(room);
            output.WriteBulk(channels.RoomStart, room);
            output.WriteBulk((RedisValue)size);
            output.WriteBulk((RedisValue)(long)ttl.TotalMilliseconds);
        }
    }

    /// <summary>Reads the rooms' positions, and the kept messages after the requested positions.</summary>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task<IReadOnlyList<RoomHistory>> ReadAsync(
        RedisLink link,
        TimeSpan within,
        IReadOnlyList<RoomRequest> rooms
    )
    {
        RedisKey[] keys = [channels.Epoch, .. rooms.SelectMany(request => Keys(request.Room))];
        RedisValue[] arguments = [StreamPosition.NewEpoch(), (long)options.PositionTtl.TotalMilliseconds];
        var answer = (RedisResult[])
            (await link.RunAsync(within, redis => RedisScript.ReadHistory.RunAsync(redis, keys, arguments)))!;
        var now = (long)answer[0];
        if ((int)answer[^1] > 0)
        {
            poisoned.BeganAnew(rooms.Select(request => request.Room));
        }

        return await Task.WhenAll(
            rooms.Select((request, i) => ReadAsync(link, within, request, (RedisResult[])answer[i + 1]!, now))
        );
    }

    /// <summary>
    /// Reads a room's kept messages in pages, so that a long history does not hold up Redis; the newest first, since what
    /// is trimmed meanwhile is then trimmed from the end of what is read.
    /// </summary>
    private async Task<RoomHistory> ReadAsync(
        RedisLink link,
        TimeSpan within,
        RoomRequest request,
        RedisResult[] found,
        long now
    )
    {
        var (room, limits) = (request.Room, policy.Of(request.Room));
        var position = new StreamPosition((string)found[0]!, (long)found[1]);
        var messages = new List<Envelope>();
        var isExpired = (long)found[2] < limits.Size;
        var first =
            request.Since is not { IsNone: false } since ? long.MaxValue
            : since.Epoch == position.Epoch ? since.Seq + 1
            : 1;
        for (var last = position.Seq; last >= first; )
        {
            var page = await link.RunAsync(within, redis =>
                redis.StreamRangeAsync(channels.History(room), Id(first), Id(last), Page, Order.Descending)
            );
            foreach (var entry in page)
            {
                // An entry of another kind is none of the broker's.
                if (entry["t"].TryParse(out long at) && now - at >= limits.Ttl.TotalMilliseconds)
                {
                    isExpired = true;
                }
                else if (RedisFormat.Read((byte[]?)entry["m"] ?? [], room, time, out _) is { } envelope)
                {
                    messages.Add(copies.Mark(envelope));
                }
            }

            last = page.Length < Page ? 0 : SeqOf(page[^1]) - 1;
        }

        messages.Reverse();
        return new RoomHistory(position, messages, isExpired);
    }

    private static RedisValue Id(long seq) => string.Create(CultureInfo.InvariantCulture, $"{seq}-0");

    private static long SeqOf(StreamEntry entry)
    {
        var id = (string)entry.Id!;
        return long.Parse(id.AsSpan(0, id.IndexOf('-', StringComparison.Ordinal)), CultureInfo.InvariantCulture);
    }

    private RedisKey[] Keys(string room) => [channels.History(room), channels.Position(room)];
}
