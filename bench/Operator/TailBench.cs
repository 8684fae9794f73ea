using System.Diagnostics;
using Dmb.Bench.Load;
using Dmb.Bench.Micro;
using Dmb.Bench.Peers;
using Dmb.Routing;

namespace Dmb.Bench.Operator;

/// <summary>
/// What an open tail costs a publish: first the routing in this process, timed around each publish, then a whole server
/// by its CPU time.
/// </summary>
internal static class TailBench
{
    private const int Seconds = 4;
    private const int Rounds = 2;
    private static readonly int[] Rates = [1_000, 5_000];

    /// <summary>Prints the figures; returns whether all publishes were answered.</summary>
    public static bool Run(Server server)
    {
        server.Prepare();
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var rate in Rates)
            {
                Console.WriteLine(
                    $"routing, {rate:N0}/s: {Route(rate, tails: 0):N2} us a publish without a tail, "
                        + $"{Route(rate, tails: 1):N2} us with one"
                );
            }
        }

        var isComplete = true;
        for (var round = 0; round < Rounds; round++)
        {
            foreach (var rate in Rates)
            {
                var (without, with) = (Load(server, rate, tails: 0), Load(server, rate, tails: 1));
                isComplete &= without > 0 && with > 0;
                Console.WriteLine(
                    $"server, {rate:N0}/s: {without:N1} us of CPU a publish without a tail, {with:N1} us with one"
                );
            }
        }

        return isComplete;
    }

    private static double Route(int rate, int tails)
    {
        using var broker = new TestBroker();
        var tail = broker.Publisher.Tail;
        tail.Watch(Enumerable.Repeat(new TailFilter(null, null), tails), wantsData: false);
        var subscriber = new CountingSubscriber();
        broker.Rooms.Join(subscriber, "support", out _);
        var registration = broker.Events.Register("report_csr", "support", out _);
        var data = TestBroker.Data(200);
        var address = broker.Publisher.ReadAddress(data);
        var interval = Stopwatch.Frequency / rate;
        var publishes = rate * Seconds;
        var spent = 0L;
        var start = Stopwatch.GetTimestamp();
        for (var i = 0; i < publishes; i++)
        {
            var begin = Stopwatch.GetTimestamp();
            while (begin < start + (i * interval))
            {
                begin = Stopwatch.GetTimestamp();
            }

            var origin = new Origin(Origin.Http, "host", "report_csr");
            var published = broker.Publisher.PublishAsync(registration, data, address, null, null, origin);
            if (!published.IsCompletedSuccessfully)
            {
                throw new IOException("A publish in memory does not complete at once.");
            }

            spent += Stopwatch.GetTimestamp() - begin;
            if (i % (rate / 10) == 0)
            {
                tail.Take("node");
            }
        }

        return spent * 1e6 / Stopwatch.Frequency / publishes;
    }

    private static double Load(Server ours, int rate, int tails)
    {
        using var server = ServerProcess.Start(ours);
        using var http = new HttpClient();
        using var stream =
            tails > 0 ? http.GetStreamAsync(new Uri($"http://{server.PublishAt}/tail")).GetAwaiter().GetResult() : null;
        var reading = stream?.CopyToAsync(Stream.Null);
        var options = new LoadOptions
        {
            Subscribers = 1,
            InFlight = 4,
            Rate = rate,
        };
        using var generator = new Generator(options, server);
        generator.Connect();
        generator.Drain(generator.Publish(rate * 2));
        server.AwaitRest();
        var before = Usage.Now(server);
        var tally = generator.Publish(rate * Seconds);
        var usage = Usage.Now(server) - before;
        return tally.Complete && reading is not { IsCompleted: true }
            ? usage.Server.TotalMicroseconds / tally.Answered
            : 0;
    }
}
