using System.Text.Json;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Redis;

/// <summary>One socket that resumes in 1,000 rooms at once and is told 100 messages of each.</summary>
internal static class HistoryResume
{
    private const int PerRoom = 100;
    private const int Messages = HistoryRooms.Count * PerRoom;
    private const int LastAck = 1_000;
    private static readonly TimeSpan TimeMax = TimeSpan.FromMinutes(3);

    /// <summary>Longer than a room that nobody is in stays subscribed.</summary>
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(6);

    /// <summary>Prints the figures; gives whether nothing was lost, doubled or out of order.</summary>
    public static bool Run(bool overRedis)
    {
        // A session is in the room `public` too.
        using var environs = new Environs(
            ("DMB_HISTORY_TTL", "600"),
            ("DMB_HISTORY_BYTES", "536870912"),
            ("DMB_MAX_ROOMS_PER_SESSION", $"{HistoryRooms.Count + 1}")
        );
        using var server = ServerProcess.Start(Servers.Find("built") with { Redis = overRedis });
        return RunAsync(server).WaitAsync(TimeMax).GetAwaiter().GetResult();
    }

    private static async Task<bool> RunAsync(ServerProcess server)
    {
        var places = new List<string>();
        using (var before = new FrameSocket())
        {
            await before.ConnectAsync(server.SubscribeAt);
            foreach (
                var rooms in Enumerable
                    .Range(0, HistoryRooms.Count)
                    .Select(HistoryRooms.Name)
                    .Chunk(HistoryRooms.PerFrame)
            )
            {
                await before.SendAsync(Subscribe(0, rooms.Select(room => $"\"{room}\"")));
                places.AddRange(Places(await before.AckAsync()));
            }
        }

        await HistoryRooms.PublishAsync(server.PublishAt, 0, PerRoom);
        await Task.Delay(Rest, TimeProvider.System);
        server.AwaitRest();
        server.Await(ready: true);

        using var socket = new FrameSocket();
        await socket.ConnectAsync(server.SubscribeAt);
        var (serverRss, redisRss) = (server.Rss(), server.Redis?.Rss() ?? 0);
        var start = Usage.Now(server);
        var frames = places.Chunk(HistoryRooms.PerFrame).Select((rooms, ack) => Subscribe(ack, rooms)).ToArray();
        foreach (var frame in frames)
        {
            await socket.SendAsync(frame);
        }

        var (next, wrong, recovered, retries) = (new int[HistoryRooms.Count], 0, 0, 0);
        for (var (come, acks) = (0, 0); come < Messages || acks < frames.Length; )
        {
            var answer = await socket.ReceiveAsync();
            if (FrameSocket.IsAway(answer.Span))
            {
                retries++;
                using var ack = JsonDocument.Parse(answer);
                await socket.SendAsync(frames[ack.RootElement.GetProperty("ack").GetInt32()]);
                continue;
            }

            var (isMessage, isAck) = Read(answer, next, ref wrong, ref recovered);
            come += isMessage ? 1 : 0;
            acks += isAck ? 1 : 0;
        }

        var usage = Usage.Now(server) - start;
        var (serverRssAfter, redisRssAfter) = (server.Rss(), server.Redis?.Rss() ?? 0);

        // What comes before the answer to this came twice.
        await socket.SendAsync($"{{\"event\":\"unsubscribe\",\"data\":\"{HistoryRooms.Name(0)}\",\"ack\":{LastAck}}}");
        for (var isAck = false; !isAck; )
        {
            (_, isAck) = Read(await socket.ReceiveAsync(), next, ref wrong, ref recovered);
        }

        var missing = next.Sum(number => Math.Max(0, PerRoom - number));
        Console.WriteLine(
            $"{Messages:N0} messages of {HistoryRooms.Count:N0} rooms, {(server.Redis is null ? "embedded" : "over Redis")}: "
                + $"resumed in {usage.Elapsed.TotalSeconds:N2} s ({usage.Server.TotalSeconds:N2} s of the server's "
                + "CPU, "
                + $"{usage.Beside.TotalSeconds:N2} s of Redis's); RSS before and after: {serverRss >> 20:N0} and "
                + $"{serverRssAfter >> 20:N0} MiB of the server, {redisRss >> 20:N0} and {redisRssAfter >> 20:N0} "
                + "MiB of Redis; "
                + $"{missing:N0} missing, {wrong:N0} doubled or out of order, {recovered:N0} rooms recovered, "
                + $"{retries:N0} subscribes tried again"
        );
        return missing == 0 && wrong == 0 && recovered == HistoryRooms.Count;
    }

    private static (bool IsMessage, bool IsAck) Read(
        ReadOnlyMemory<byte> frame,
        int[] next,
        ref int wrong,
        ref int recovered
    )
    {
        if (frame.Span.IndexOf("\"pos\":"u8) >= 0 && HistoryRooms.TryRead(frame.Span, out var room, out var number))
        {
            wrong += number == next[room] ? 0 : 1;
            next[room] = Math.Max(next[room], number + 1);
            return (true, false);
        }

        if (!frame.Span.StartsWith("{\"ack\":"u8))
        {
            return default;
        }

        recovered += FrameSocket.Accepted(frame.Span).Split("\"recovered\":true").Length - 1;
        return (false, true);
    }

    private static string Subscribe(int ack, IEnumerable<string> rooms) =>
        $"{{\"event\":\"subscribe\",\"data\":[{string.Join(',', rooms)}],\"ack\":{ack}}}";

    /// <summary>The rooms of an ack, as what the next subscribe asks for.</summary>
    private static List<string> Places(string ack)
    {
        using var json = JsonDocument.Parse(ack);
        return
        [
            .. json
                .RootElement.GetProperty("data")
                .GetProperty("positions")
                .EnumerateArray()
                .Select(place =>
                    $"{{\"room\":\"{place.GetProperty("room").GetString()}\",\"since\":\"{place.GetProperty("pos").GetString()}\"}}"
                ),
        ];
    }
}
