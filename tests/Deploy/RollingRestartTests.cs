using System.Globalization;
using System.Net.Mime;
using System.Text;

namespace Dmb.Tests.Deploy;

/// <summary>
/// Two nodes over Redis behind nginx, redeployed one after the other under load: the table of docs/drain.md.
/// </summary>
public sealed class RollingRestartTests
{
    private const string Room = "live:1";
    private const int Clients = 20;
    private const int Publishers = 4;

    [Fact]
    public async Task No_message_is_lost_or_duplicated_while_two_nodes_are_redeployed()
    {
        await using var redis = await RedisServer.StartAsync();
        int[] ports = [RedisServer.FreePort(), RedisServer.FreePort()];
        var nodes = await Task.WhenAll(ports.Select(port => StartAsync(redis, port)));
        try
        {
            await using var proxy = await TlsProxy.StartAsync("nginx", ports);
            var clients = Enumerable
                .Range(0, Clients)
                .Select(i => new ComingBack(proxy, Room, isStream: i % 2 == 1))
                .ToArray();
            await Task.WhenAll(clients.Select(client => client.Joined)).WaitAsync(Node.Patience);
            using var stop = new CancellationTokenSource();
            var counts = new Counts();
            var pushing = Enumerable
                .Range(0, Publishers)
                .Select(_ => PublishAsync(proxy, counts, stop.Token))
                .ToArray();

            await counts.MoreAsync(50);
            for (var i = 0; i < nodes.Length; i++)
            {
                Assert.Equal(0, await nodes[i].TerminateAsync());
                await nodes[i].DisposeAsync();
                await counts.MoreAsync(50);
                nodes[i] = await StartAsync(redis, ports[i]);
                await counts.MoreAsync(50);
            }

            await stop.CancelAsync();
            await Task.WhenAll(pushing);
            var sent = counts.Sent;
            foreach (var client in clients)
            {
                await UntilAsync(() => client.Received.Distinct().Count() >= sent);
            }

            var lost = clients.Sum(client => sent - client.Received.Distinct().Count());
            var doubled = clients.Sum(client => client.Received.Count - client.Received.Distinct().Count());
            var closed = clients.SelectMany(client => client.Closed).Order().ToArray();
            await WriteTableAsync($"| {sent} | {counts.Again} | {Clients} | {closed.Length} | {lost} | {doubled} |");
            Assert.Equal((0, 0), (lost, doubled));
            Assert.Empty(clients.SelectMany(client => client.Missed));
            Assert.True(closed.Length >= Clients);

            // Not all together: those of one node went over its window of a second.
            Assert.True(closed[^1] - closed[0] >= 500);
            foreach (var client in clients)
            {
                await client.DisposeAsync();
            }
        }
        finally
        {
            foreach (var node in nodes)
            {
                await node.DisposeAsync();
            }
        }
    }

    private static Task<NodeProcess> StartAsync(RedisServer redis, int port) =>
        NodeProcess.StartReadyAsync([
            ("DMB_PORT", $"{port}"),
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_TRUSTED_PROXIES", "127.0.0.1"),
            ("DMB_HISTORY_SIZE", "10000"),
            ("DMB_DRAIN_WINDOW", "1"),
            .. NodeProcess.Patient,
        ]);

    /// <summary>
    /// One push after the other, each until it is taken, with a key by which the broker knows it again.
    /// </summary>
    private static async Task PublishAsync(TlsProxy proxy, Counts counts, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            var number = counts.Next();
            for (var isTaken = false; !isTaken; )
            {
                using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(proxy.Url, "/_notify/call"));
                request.Content = new StringContent(
                    $$"""{"n":{{number}},"_in":"{{Room}}"}""",
                    Encoding.UTF8,
                    MediaTypeNames.Application.Json
                );
                request.Headers.Add("Idempotency-Key", $"n{number}");
                using var answer = await proxy.Http.SendAsync(request, CancellationToken.None);
                isTaken = (int)answer.StatusCode is 200 or 202;
                counts.Answered(isTaken);
            }
        }
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (!condition() && !patience.IsCancellationRequested)
        {
            await Task.Yield();
        }
    }

    private static async Task WriteTableAsync(string row)
    {
        if (Environment.GetEnvironmentVariable("UPDATE_DRAIN") == "1")
        {
            var path = Path.Combine(Repository.Root, "docs", "drain.md");
            var text = await File.ReadAllTextAsync(path);
            var start = text.IndexOf("|--", StringComparison.Ordinal);
            var end = text.IndexOf('\n', start) + 1;
            await File.WriteAllTextAsync(path, string.Create(CultureInfo.InvariantCulture, $"{text[..end]}{row}\n"));
        }
    }

    /// <summary>What was published.</summary>
    private sealed class Counts
    {
        private int _next;
        private int _taken;
        private int _again;
        private (int At, TaskCompletionSource Reached)? _goal;

        public int Sent => _next;

        /// <summary>How often a push had to be sent again.</summary>
        public int Again => _again;

        public int Next() => Interlocked.Increment(ref _next);

        public void Answered(bool isTaken)
        {
            if (!isTaken)
            {
                Interlocked.Increment(ref _again);
            }
            else if (Interlocked.Increment(ref _taken) >= _goal?.At)
            {
                _goal?.Reached.TrySetResult();
            }
        }

        /// <summary>Completes when so many more were taken.</summary>
        public Task MoreAsync(int pushes)
        {
            var goal = (_taken + pushes, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
            _goal = goal;
            return goal.Item2.Task.WaitAsync(Node.Patience);
        }
    }
}
