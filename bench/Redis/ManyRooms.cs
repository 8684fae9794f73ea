using System.Net.WebSockets;
using System.Text;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Redis;

/// <summary>
/// 100,000 rooms on one node: what a room costs, and how long a node without its Redis takes to recover.
/// </summary>
internal static class ManyRooms
{
    private const int Sockets = 200;
    private const int RoomsPerSocket = 500;
    private const int RoomsPerFrame = 100;
    private const int Rooms = Sockets * RoomsPerSocket;
    private static readonly TimeSpan TimeMax = TimeSpan.FromMinutes(2);
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(2);

    private const int Rounds = 3;

    /// <summary>Prints a line for each round of each server over Redis, in turn.</summary>
    public static bool Run(string[] servers)
    {
        var measured = servers.Select(name => Servers.Find(name) with { Redis = true }).ToArray();
        Array.ForEach(measured, server => server.Prepare());
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var server in measured)
            {
                Console.WriteLine($"{server.Name}: {Measure(server)}");
            }
        }

        return true;
    }

    /// <summary>The figures as a line.</summary>
    public static string Measure(bool overRedis) => Measure(Servers.Find("built") with { Redis = overRedis });

    private static string Measure(Server measured)
    {
        using var server = ServerProcess.Start(measured);
        return MeasureAsync(server).WaitAsync(TimeMax).GetAwaiter().GetResult();
    }

    private static async Task<string> MeasureAsync(ServerProcess server)
    {
        var sockets = Enumerable.Range(0, Sockets).Select(_ => new ClientWebSocket()).ToArray();
        try
        {
            await Task.WhenAll(
                sockets.Select(socket =>
                    socket.ConnectAsync(new Uri($"ws://{server.SubscribeAt}/ws"), CancellationToken.None)
                )
            );
            await Task.Delay(Rest, TimeProvider.System);
            var (serverRss, redisRss) = (server.Rss(), server.Redis?.Rss() ?? 0);

            var start = Usage.Now(server);
            await Task.WhenAll(sockets.Select(JoinAsync));
            var joining = Usage.Now(server) - start;
            await Task.Delay(Rest, TimeProvider.System);
            var line =
                $"{Rooms:N0} rooms, {(server.Redis is null ? "embedded" : "over Redis")}: "
                + $"{(server.Rss() - serverRss) / Rooms:N0} bytes of the server each, "
                + $"{((server.Redis?.Rss() ?? 0) - redisRss) / Rooms:N0} of Redis; joined in "
                + $"{joining.Elapsed.TotalSeconds:N2} s ({joining.Server.TotalSeconds:N2} s of the server's CPU, "
                + $"{joining.Beside.TotalSeconds:N2} s of Redis's)";
            return server.Redis is { } redis ? line + Recover(server, redis) : line;
        }
        finally
        {
            Array.ForEach(sockets, socket => socket.Dispose());
        }
    }

    private static string Recover(ServerProcess server, RedisProcess redis)
    {
        var before = Subscribed(redis);
        var start = Usage.Now(server);
        redis.Command("CLIENT KILL TYPE pubsub", "CLIENT KILL TYPE normal");
        server.Await(ready: false);
        server.Await(ready: true);
        var usage = Usage.Now(server) - start;
        return $"; ready again {usage.Elapsed.TotalSeconds:N2} s after its connections were killed "
            + $"({usage.Server.TotalSeconds:N2} s of its CPU, {usage.Beside.TotalSeconds:N2} s of Redis's), with "
            + $"{Subscribed(redis):N0} of {before:N0} channels";
    }

    private static long Subscribed(RedisProcess redis) => redis.Stat("pubsub_channels");

    private static async Task JoinAsync(ClientWebSocket socket, int number)
    {
        var buffer = new byte[64 * 1024];
        for (var first = 0; first < RoomsPerSocket; first += RoomsPerFrame)
        {
            var rooms = Enumerable
                .Range((number * RoomsPerSocket) + first, RoomsPerFrame)
                .Select(room => $"\"endpoint:{room:D6}\"");
            var frame = $"{{\"event\":\"subscribe\",\"data\":[{string.Join(',', rooms)}],\"ack\":1}}";
            await socket.SendAsync(
                Encoding.ASCII.GetBytes(frame),
                WebSocketMessageType.Text,
                true,
                CancellationToken.None
            );
            string answer;
            do
            {
                var read = await socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None);
                answer = Encoding.UTF8.GetString(buffer, 0, read.Count);
                if (
                    read.MessageType == WebSocketMessageType.Close
                    || answer.Contains("\"ok\":false", StringComparison.Ordinal)
                )
                {
                    throw new IOException($"A subscribe was refused: {answer}{socket.CloseStatusDescription}");
                }
            } while (!answer.StartsWith("{\"ack\":1,", StringComparison.Ordinal));
        }
    }
}
