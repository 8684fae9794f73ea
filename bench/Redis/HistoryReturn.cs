using System.Diagnostics;
using System.Net;
using System.Net.WebSockets;
using System.Text;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Redis;

/// <summary>10,000 clients whose node dies, and who all come back on another one.</summary>
internal static class HistoryReturn
{
    private const int Clients = 10_000;
    private const int Connecting = 256;
    private const int OtherFiles = 500;
    private const int RoundsBefore = 3;
    private static readonly TimeSpan TimeMax = TimeSpan.FromMinutes(4);
    private static readonly TimeSpan StepTimeMax = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(5);

    /// <summary>Prints the figures; gives whether everyone got everything, once and in order.</summary>
    /// <exception cref="IOException">A server could not be started or reached, or refused something.</exception>
    public static bool Run()
    {
        if (Clients + OtherFiles > Linux.OpenFilesMax())
        {
            throw new IOException($"This process may open {Linux.OpenFilesMax()} files (ulimit -n): too few.");
        }

        using var server = ServerProcess.Start(Servers.Find("built") with { Redis = true, Nodes = 2 });
        var clients = Enumerable.Range(0, Clients).Select(number => new Client(number % HistoryRooms.Count)).ToArray();
        try
        {
            return RunAsync(server, server.Redis!, clients).WaitAsync(TimeMax).GetAwaiter().GetResult();
        }
        finally
        {
            Array.ForEach(clients, client => client.Dispose());
        }
    }

    private static async Task<bool> RunAsync(ServerProcess server, RedisProcess redis, Client[] clients)
    {
        var start = Usage.Now(server);
        await JoinAsync(clients, server.PublishAt);
        await AwaitAsync("join", clients, client => client.IsLive);
        var joining = Usage.Now(server) - start;
        server.Await(ready: true);
        for (var number = 1; number <= RoundsBefore; number++)
        {
            await PublishAsync(clients, server.PublishAt, number);
            await Task.Delay(Pause, TimeProvider.System);
        }

        server.KillFirst();
        await AwaitAsync("notice the death of their node", clients, client => client.IsGone);
        var missed = RoundsBefore + 1;
        await HistoryRooms.PublishAsync(server.PublishAt, missed, 1);
        server.AwaitRest();
        server.Await(ready: true);

        var (serverRss, redisRss, commands) = (server.Rss(), redis.Rss(), Commands(redis));
        start = Usage.Now(server);
        await JoinAsync(clients, server.PublishAt);
        var connected = Usage.Now(server) - start;
        await AwaitAsync("resume", clients, client => client.IsLive && client.Number >= missed);
        var usage = Usage.Now(server) - start;
        var (serverRssAfter, redisRssAfter, commandsAfter) = (server.Rss(), redis.Rss(), Commands(redis));

        // One more, live: whatever came twice before it is seen by now.
        await PublishAsync(clients, server.PublishAt, missed + 1);
        var recovered = clients.Count(client => client.IsRecovered);
        var wrong = clients.Sum(client => client.Wrong);
        Console.WriteLine(
            $"{Clients:N0} clients in {HistoryRooms.Count:N0} rooms joined in {joining.Elapsed.TotalSeconds:N2} s "
                + $"({joining.Server.TotalSeconds:N2} s of the servers' CPU, {joining.Beside.TotalSeconds:N2} s of "
                + "Redis's); "
                + "after the death of their node all connected to the other within "
                + $"{connected.Elapsed.TotalSeconds:N2} s, "
                + $"live within {usage.Elapsed.TotalSeconds:N2} s ({usage.Server.TotalSeconds:N2} s of the server's "
                + "CPU, "
                + $"{usage.Beside.TotalSeconds:N2} s of Redis's, {usage.Generator.TotalSeconds:N2} s of the "
                + "clients'); RSS before and "
                + $"after: {serverRss >> 20:N0} and {serverRssAfter >> 20:N0} MiB of the server, "
                + $"{redisRss >> 20:N0} and "
                + $"{redisRssAfter >> 20:N0} MiB of Redis; {commandsAfter - commands:N0} commands processed by Redis; "
                + $"{clients.Sum(client => client.Bare):N0} answers and messages without a place, "
                + $"{clients.Sum(client => client.Retries):N0} subscribes tried again; "
                + $"{recovered:N0} recovered, {wrong:N0} messages missing, doubled or out of order"
        );
        return recovered == Clients && wrong == 0;
    }

    /// <summary>All connect and subscribe, not too many of them connecting at a time.</summary>
    private static async Task JoinAsync(Client[] clients, IPEndPoint node)
    {
        using var connecting = new SemaphoreSlim(Connecting);
        await Task.WhenAll(
            clients.Select(async client =>
            {
                await connecting.WaitAsync();
                try
                {
                    await client.ConnectAsync(node);
                }
                finally
                {
                    connecting.Release();
                }

                await client.JoinAsync();
            })
        );
    }

    private static async Task PublishAsync(Client[] clients, IPEndPoint node, int number)
    {
        await HistoryRooms.PublishAsync(node, number, 1);
        await AwaitAsync($"get message {number}", clients, client => client.Number >= number);
    }

    private static async Task AwaitAsync(string step, Client[] clients, Func<Client, bool> isDone)
    {
        for (var start = Stopwatch.GetTimestamp(); !clients.All(isDone); await Task.Delay(Poll, TimeProvider.System))
        {
            if (Stopwatch.GetElapsedTime(start) > StepTimeMax)
            {
                var late = clients.First(client => !isDone(client));
                throw new TimeoutException(
                    $"{clients.Count(client => !isDone(client)):N0} clients did not {step} within "
                        + $"{StepTimeMax.TotalSeconds:N0} s, "
                        + $"one of them: {late}; {clients.Count(client => client.IsRecovered):N0} were told that "
                        + "they recovered, "
                        + $"{clients.Sum(client => client.Retries):N0} subscribes were tried again."
                );
            }
        }
    }

    private static long Commands(RedisProcess redis) => redis.Stat("total_commands_processed");

    /// <summary>One that is in a room, notes its place, and subscribes from there when it comes again.</summary>
    private sealed class Client(int room) : IDisposable
    {
        private FrameSocket _socket = new();
        private volatile bool _isLive;
        private volatile bool _isGone;
        private volatile int _number;
        private string? _place;
        private string _end = "";

        /// <summary>Whether its subscribe was answered.</summary>
        public bool IsLive => _isLive;

        /// <summary>Whether its connection has ended.</summary>
        public bool IsGone => _isGone;

        /// <summary>The number of the newest message it got.</summary>
        public int Number => _number;

        /// <summary>Messages that were not the one after the last.</summary>
        public int Wrong { get; private set; }

        /// <summary>Answers and messages that had no place in history: Redis was away.</summary>
        public int Bare { get; private set; }

        /// <summary>Subscribes that were refused because Redis was away.</summary>
        public int Retries { get; private set; }

        /// <summary>Whether it was told that it missed nothing.</summary>
        public bool IsRecovered { get; private set; }

        public async Task ConnectAsync(IPEndPoint node)
        {
            _socket.Dispose();
            _socket = new FrameSocket();
            (_isLive, _isGone) = (false, false);
            await _socket.ConnectAsync(node);
        }

        public async Task JoinAsync()
        {
            _ = ReadAsync(_socket);
            await SubscribeAsync(_socket);
        }

        private Task SubscribeAsync(FrameSocket socket)
        {
            var since = _place is null ? "" : $",\"since\":\"{_place}\"";
            return socket.SendAsync(
                $"{{\"event\":\"subscribe\",\"data\":{{\"room\":\"{HistoryRooms.Name(room)}\"{since}}},\"ack\":1}}"
            );
        }

        private async Task ReadAsync(FrameSocket socket)
        {
            try
            {
                while (true)
                {
                    if (!Take((await socket.ReceiveAsync()).Span))
                    {
                        await Task.Delay(Pause, TimeProvider.System);
                        await SubscribeAsync(socket);
                    }
                }
            }
            catch (Exception e)
                when (e is IOException or WebSocketException or ObjectDisposedException or OperationCanceledException)
            {
                _end = e.Message;
                _isGone = true;
            }
        }

        /// <summary>Whether it need not subscribe again.</summary>
        private bool Take(ReadOnlySpan<byte> frame)
        {
            if (HistoryRooms.TryRead(frame, out var to, out var number))
            {
                // One that had no place can come again.
                Wrong += to == room && (number == _number + 1 || (Bare > 0 && number <= _number)) ? 0 : 1;
                _place = Place(frame) ?? _place;
                _number = Math.Max(number, _number);
            }
            else if (frame.StartsWith("{\"ack\":"u8))
            {
                if (FrameSocket.IsAway(frame))
                {
                    Retries++;
                    return false;
                }

                var ack = FrameSocket.Accepted(frame);
                IsRecovered = ack.Contains("\"recovered\":true", StringComparison.Ordinal);
                var place = Place(frame);
                _place ??= place;
                _isLive = true;
            }

            return true;
        }

        private string? Place(ReadOnlySpan<byte> frame)
        {
            var member = "\"pos\":\""u8;
            if (frame.IndexOf(member) is var at && at < 0)
            {
                Bare++;
                return null;
            }

            frame = frame[(at + member.Length)..];
            return Encoding.ASCII.GetString(frame[..frame.IndexOf((byte)'"')]);
        }

        public override string ToString() =>
            $"message {_number}, place {_place}, {Bare} without a place, {(_isLive ? "live" : "not live")}{(_isGone ? $", gone: {_end}" : "")}";

        public void Dispose() => _socket.Dispose();
    }
}
