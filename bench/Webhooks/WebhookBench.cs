using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.RegularExpressions;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Webhooks;

/// <summary>
/// What webhooks cost: publishes at a fixed rate without and with webhooks, delivered to an nginx that answers 204.
/// </summary>
internal static partial class WebhookBench
{
    private const int Connections = 16;
    private const int Seconds = 4;
    private static readonly string[] Events = ["report_csr"];
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>The figures of one run.</summary>
    private readonly record struct Figures(
        double PublishesPerSecond,
        double P50,
        double P99,
        TimeSpan Server,
        TimeSpan Redis,
        long Publishes,
        long Deliveries,
        double Late
    );

    /// <summary>Prints the tables; returns whether each publish was answered, and each message delivered.</summary>
    public static bool Run(Server server)
    {
        server.Prepare();
        var isComplete = true;
        Console.WriteLine(
            "us of CPU; answered in us; the rest: seconds until the last delivery, after the last publish"
        );
        foreach (var redis in (bool[])[false, true])
        {
            Console.WriteLine(redis ? "over Redis" : "embedded");
            var bare = Print("500/s, no webhook", Measure(server, redis, 500, 0), default, ref isComplete);
            Print("500/s, one webhook", Measure(server, redis, 500, 1), bare, ref isComplete);
            bare = Print("625/s, no webhook", Measure(server, redis, 625, 0), default, ref isComplete);
            Print("625/s, 8 webhooks", Measure(server, redis, 625, 8), bare, ref isComplete);
            Print("625/s, 8 webhooks, 1 hangs", Measure(server, redis, 625, 8, hanging: 1), bare, ref isComplete);
        }

        Console.WriteLine("over Redis, publishes alone: another node delivers");
        var alone = Print("500/s, no webhook", Measure(server, true, 500, 0, elsewhere: true), default, ref isComplete);
        Print("500/s, one webhook", Measure(server, true, 500, 1, elsewhere: true), alone, ref isComplete);
        return isComplete;
    }

    private static Figures Print(string name, Figures f, Figures bare, ref bool isComplete)
    {
        var (server, redis) = (Per(f.Server, f.Publishes), Per(f.Redis, f.Publishes));
        var line = string.Create(
            CultureInfo.InvariantCulture,
            $"  {name, -28} {f.PublishesPerSecond, 6:N0}/s, answered p50 {f.P50, 5:N0} p99 {f.P99, 6:N0}, server {server, 6:N1} "
                + $"and Redis {redis, 5:N1} a publish"
        );
        if (bare.Publishes > 0)
        {
            var delivery =
                (f.Server - (bare.Server * ((double)f.Publishes / bare.Publishes))) / Math.Max(1, f.Deliveries);
            line += string.Create(
                CultureInfo.InvariantCulture,
                $"; {f.P50 / bare.P50:N2} x the answer, {server / Per(bare.Server, bare.Publishes):N2} x the server's CPU; "
                    + $"{f.Deliveries:N0} deliveries, {delivery.TotalMicroseconds:N1} each; the rest {f.Late:N2} s"
            );
        }

        Console.WriteLine(line);
        isComplete &= f.Publishes > 0;
        return f;
    }

    private static double Per(TimeSpan cpu, long count) => cpu.TotalMicroseconds / Math.Max(1, count);

    /// <param name="ours">Ours, as it was built.</param>
    /// <param name="redis">Over Redis, or embedded.</param>
    /// <param name="rate">Publishes a second.</param>
    /// <param name="hooks">Webhooks that receive each message.</param>
    /// <param name="hanging">Webhooks among them whose receiver never answers.</param>
    /// <param name="elsewhere">Publishes to a node of the role `publish`, whose CPU alone is counted.</param>
    private static Figures Measure(
        Server ours,
        bool redis,
        int rate,
        int hooks,
        int hanging = 0,
        bool elsewhere = false
    )
    {
        var built = With(ours with { Redis = redis }, ("DMB_WEBHOOK_HANDSHAKE", "off"));
        using var server = ServerProcess.Start(built);
        using var publisher = elsewhere
            ? ServerProcess.Start(
                With(built, ("DMB_ROLE", "publish")) with
                {
                    Redis = false,
                    Command = (port, _) => With(built, ("DMB_ROLE", "publish")).Command(port, server.Redis!.Port),
                }
            )
            : null;
        var port = ServerProcess.FreePort();
        using var receiver = Process.Start(Build.ReceiverCommand(port))!;
        Child.EndWithThis(receiver);
        using var silent = new Silence();
        try
        {
            using var http = new HttpClient { BaseAddress = new Uri($"http://{server.PublishAt}") };
            for (var i = 0; i < hooks; i++)
            {
                var to = i < hanging ? silent.Port : port;
                using var answer = http.PostAsJsonAsync(
                        new Uri("/webhooks", UriKind.Relative),
                        new { url = $"http://127.0.0.1:{to}/{i}", events = Events }
                    )
                    .GetAwaiter()
                    .GetResult();
                answer.EnsureSuccessStatusCode();
            }

            return Publish(publisher ?? server, http, rate, hooks - hanging, elsewhere);
        }
        finally
        {
            receiver.Kill(entireProcessTree: true);
            receiver.WaitForExit();
        }
    }

    private static Figures Publish(ServerProcess server, HttpClient node, int rate, int hooks, bool elsewhere)
    {
        var options = new LoadOptions
        {
            Subscribers = 0,
            InFlight = Connections,
            Rate = rate,
            TimeLimit = Patience,
        };
        using (var warming = new Generator(options, server))
        {
            warming.Drain(warming.Publish(rate * 2));
        }

        var before = Settle(node, Delivered(node) + (hooks > 0 ? 1 : 0));
        server.AwaitRest();
        using var generator = new Generator(options, server);
        var (usage, start) = (Usage.Now(server), Stopwatch.GetTimestamp());
        var tally = generator.Publish(rate * Seconds);
        var elapsed = Stopwatch.GetElapsedTime(start);
        var delivered = hooks == 0 ? before : Settle(node, before + ((long)tally.Answered * hooks));
        var late = Stopwatch.GetElapsedTime(start) - elapsed;
        var used = Usage.Now(server) - usage;
        return tally.Complete
            ? new Figures(
                tally.Answered / elapsed.TotalSeconds,
                tally.AnswerTimes.Percentile(0.5),
                tally.AnswerTimes.Percentile(0.99),
                used.Server,
                used.Beside,
                tally.Answered,
                elsewhere ? 0 : delivered - before,
                late.TotalSeconds
            )
            : default;
    }

    /// <summary>Waits until at least so many messages are delivered, and then no more; returns their number.</summary>
    private static long Settle(HttpClient node, long atLeast)
    {
        var start = Stopwatch.GetTimestamp();
        for (var before = -1L; ; )
        {
            var now = Delivered(node);
            if ((now >= atLeast && now == before) || Stopwatch.GetElapsedTime(start) > Patience)
            {
                return now;
            }

            before = now;
            Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System).GetAwaiter().GetResult();
        }
    }

    private static long Delivered(HttpClient node)
    {
        var page = node.GetStringAsync(new Uri("/metrics", UriKind.Relative)).GetAwaiter().GetResult();
        return DeliveredLine().Match(page) is { Success: true } match
            ? long.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture)
            : 0;
    }

    private static Server With(Server server, params (string Name, string Value)[] settings) =>
        server with
        {
            Command = (port, redis) =>
            {
                var start = server.Command(port, redis);
                foreach (var (name, value) in settings)
                {
                    start.Environment[name] = value;
                }

                return start;
            },
        };

    [GeneratedRegex("""^dmb_webhook_attempts_total\{outcome="delivered"\} (\d+)""", RegexOptions.Multiline)]
    private static partial Regex DeliveredLine();
}
