using System.Diagnostics;
using Dmb.Bench.Backends;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Clients;

/// <summary>
/// The CPU time of a client for each message: @dmb/client beside socket.io-client on the same node at 20,000 messages a
/// second, and Dmb.Client at 200,000.
/// </summary>
internal static class ClientsBench
{
    private const int Rounds = 5;
    private const int Batch = 100;
    private const int JavaScriptRate = 20_000;
    private const int DotNetRate = 200_000;

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Time = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan LateMax = TimeSpan.FromSeconds(5);

    /// <summary>One run: messages sent and received, and the client's CPU time.</summary>
    private readonly record struct Figures(string Client, long Sent, long Received, TimeSpan Elapsed, TimeSpan Cpu)
    {
        public double Micros => Cpu.TotalMicroseconds / Received;

        public override string ToString() =>
            $"{Client, -24} {Received / Elapsed.TotalSeconds, 9:N0}/s  {Micros, 6:N2} us of CPU a message  "
            + $"{100 * Cpu / Elapsed, 4:N0} % of a core  lost {Sent - Received}";
    }

    /// <summary>Prints each run, and the medians; gives whether nothing was lost.</summary>
    public static bool Run()
    {
        Console.WriteLine($"load average before: {File.ReadAllText("/proc/loadavg").Split(' ')[0]}");
        var module = Path.Combine(Build.Repository, "clients", "js", "dmb.js");
        var program = Build.NodeProgram("Clients", "receive.mjs");
        List<Figures> runs = [];
        using var server = ServerProcess.Start(Servers.Find("built"));
        for (var round = 1; round <= Rounds; round++)
        {
            foreach (
                var (name, way) in (ReadOnlySpan<(string, string)>)
                    [("@dmb/client", "dmb"), ("socket.io-client", "socketio")]
            )
            {
                using var client = Receiver.Start(
                    new ProcessStartInfo("node", [program, way, $"http://{server.SubscribeAt}", module])
                );
                client.Ready();
                Add(Measure(name, client, time => Publish(server, time)));
            }

            using var source = new FrameSource();
            using var dotNet = Receiver.Start(
                new ProcessStartInfo(Environment.ProcessPath!, [.. Itself(), "clients", "receive", $"{source.Url}"])
            );
            source.Accept();
            dotNet.Ready();
            Add(Measure("Dmb.Client", dotNet, time => source.Send(DotNetRate, time)));
        }

        Console.WriteLine($"medians of {Rounds}:");
        foreach (var group in runs.GroupBy(run => run.Client))
        {
            Console.WriteLine(group.OrderBy(run => run.Micros).ElementAt(Rounds / 2));
        }

        return runs.TrueForAll(run => run.Sent == run.Received);

        void Add(Figures figures)
        {
            runs.Add(figures);
            Console.WriteLine(figures);
        }
    }

    private static IEnumerable<string> Itself() =>
        Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet"
            ? [typeof(ClientsBench).Assembly.Location]
            : [];

    private static Figures Measure(string name, Receiver client, Func<TimeSpan, long> send)
    {
        Await(client, send(WarmUp));
        var (before, cpu, start) = (client.Count(), client.CpuTime, Stopwatch.GetTimestamp());
        var sent = send(Time);
        var received = Await(client, before + sent) - before;
        return new Figures(name, sent, received, Stopwatch.GetElapsedTime(start), client.CpuTime - cpu);
    }

    /// <summary>Waits until the client has so many, or has had its time; gives how many it has.</summary>
    private static long Await(Receiver client, long expected)
    {
        var start = Stopwatch.GetTimestamp();
        long count;
        while ((count = client.Count()) < expected && Stopwatch.GetElapsedTime(start) < LateMax)
        {
            FrameSource.Rest();
        }

        return count;
    }

    /// <summary>Publishes batches over HTTP at the rate; gives how many messages.</summary>
    private static long Publish(ServerProcess server, TimeSpan time)
    {
        using var connection = new HttpConnection(server.PublishAt);
        var body =
            $"[{string.Join(',', Enumerable.Repeat($"{{\"event\":\"call\",\"data\":{MessageData.Json}}}", Batch))}]";
        var start = Stopwatch.GetTimestamp();
        long sent = 0;
        for (TimeSpan now; (now = Stopwatch.GetElapsedTime(start)) < time; )
        {
            if (sent + Batch > now.TotalSeconds * JavaScriptRate)
            {
                FrameSource.Rest();
                continue;
            }

            connection.Post("/_notify", body);
            connection.Answer();
            sent += Batch;
        }

        return sent;
    }
}
