using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Dmb.Bench.Load;
using Dmb.Redis;
using StackExchange.Redis;

namespace Dmb.Bench.Redis;

/// <summary>
/// What a room and a message cost that are received by a queue a channel of the client library
/// (<see cref="ChannelMessageQueue"/>), and by the connection for subscriptions
/// (<see cref="Dmb.Redis.RedisSubscriber"/>). Messages are published by a script, which costs this process nothing.
/// </summary>
internal static class QueueBench
{
    private const int Rooms = 100_000;
    private const int Messages = 200_000;
    private const int PerScript = 1_000;
    private const int SubscribedAtOnce = 1_000;
    private const int BodyBytes = 400;
    private const string Prefix = "room:";
    private const int Rounds = 3;
    private static readonly TimeSpan TimeMax = TimeSpan.FromMinutes(1);

    private static int _received;
    private static TaskCompletionSource _all = new();

    public static bool Run()
    {
        for (var round = 0; round < Rounds; round++)
        {
            MeasureAsync("a queue a channel", LibraryAsync).GetAwaiter().GetResult();
            MeasureAsync("one connection", OwnAsync).GetAwaiter().GetResult();
        }

        return true;
    }

    private static async Task MeasureAsync(string name, Func<RedisProcess, Task<IAsyncDisposable>> subscribe)
    {
        using var redis = RedisProcess.Start();
        // A burst, which Redis would cut.
        redis.Command("CONFIG SET client-output-buffer-limit \"pubsub 0 0 0\"");
        var (before, start) = (GC.GetTotalMemory(forceFullCollection: true), Stopwatch.GetTimestamp());
        await using var subscribed = await subscribe(redis);
        var joined = Stopwatch.GetElapsedTime(start);
        var bytes = (GC.GetTotalMemory(forceFullCollection: true) - before) / (double)Rooms;
        // The first half is for the compiler.
        await PublishAsync(redis);
        var (cpu, from) = (Linux.CpuTime(Environment.ProcessId), Stopwatch.GetTimestamp());
        await PublishAsync(redis);
        var us = (Linux.CpuTime(Environment.ProcessId) - cpu).TotalMicroseconds / Messages;
        var perSecond = Messages / Stopwatch.GetElapsedTime(from).TotalSeconds;
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{name}: {Rooms:N0} rooms subscribed in {joined.TotalSeconds:F2} s, {bytes:N0} bytes of the heap each; "
                    + $"{us:F2} us of CPU a message at {perSecond:N0} a second"
            )
        );
    }

    private static async Task PublishAsync(RedisProcess redis)
    {
        (_received, _all) = (0, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        var script =
            $"for i=1,{PerScript} do redis.call('PUBLISH','{Prefix}'..((ARGV[1]*{PerScript}+i)%{Rooms}),"
            + $"string.rep('x',{BodyBytes})) end";
        await Task.Run(() =>
            redis.Command([.. Enumerable.Range(0, Messages / PerScript).Select(part => $"EVAL \"{script}\" 0 {part}")])
        );
        await _all.Task.WaitAsync(TimeMax);
    }

    private static void Receive()
    {
        if (Interlocked.Increment(ref _received) == Messages)
        {
            _all.TrySetResult();
        }
    }

    private static async Task<IAsyncDisposable> LibraryAsync(RedisProcess redis)
    {
        var connection = await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{redis.Port},protocol=resp2");
        var subscriber = connection.GetSubscriber();
        foreach (var batch in Enumerable.Range(0, Rooms).Chunk(SubscribedAtOnce))
        {
            var queues = await Task.WhenAll(
                batch.Select(room => subscriber.SubscribeAsync(RedisChannel.Literal($"{Prefix}{room}")))
            );
            Array.ForEach(queues, static queue => queue.OnMessage(static _ => Receive()));
        }

        return connection;
    }

    private static async Task<IAsyncDisposable> OwnAsync(RedisProcess redis)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync("127.0.0.1", redis.Port);
        var subscriber = new RedisSubscriber(new NetworkStream(socket, ownsSocket: true), static _ => { });
        subscriber.Add(Prefix, static (_, _) => Receive(), static () => { });
        foreach (var batch in Enumerable.Range(0, Rooms).Chunk(SubscribedAtOnce))
        {
            await Task.WhenAll(
                batch.Select(room => subscriber.SubscribeAsync($"{Prefix}{room}", SubscriptionKind.Channel))
            );
        }

        return subscriber;
    }
}
