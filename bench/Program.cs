using System.ComponentModel;
using Dmb.Bench.Backends;
using Dmb.Bench.Clients;
using Dmb.Bench.Compare;
using Dmb.Bench.Fuzz;
using Dmb.Bench.Hostile;
using Dmb.Bench.Load;
using Dmb.Bench.Micro;
using Dmb.Bench.Operator;
using Dmb.Bench.Peers;
using Dmb.Bench.Redis;
using Dmb.Bench.Scale;
using Dmb.Bench.Trace;
using Dmb.Bench.Webhooks;

namespace Dmb.Bench;

internal static class Program
{
    private const string Usage = """
        bench micro [BenchmarkDotNet's arguments, e.g. --filter *FanOut* --job dry]
        bench load  [options]      over real sockets; `bench load --help` lists the options
        bench compare [options]    ours beside its peers, for docs/performance.md; `bench compare --help` lists the options
        bench redis                what Redis costs, beside embedded and beside redis-benchmark; takes some minutes
        bench rooms [--servers dmb,before=/old/Dmb]   100,000 rooms over Redis: time to join, memory, time to come back
        bench queues               100,000 rooms by the client library, beside the connection for subscriptions
        bench simulate [options]   how many nodes, shards and groups a use needs, for docs/scale.md; `bench simulate --help`
        bench trace                the trace of one push across two nodes and a Redis, as a tree
        bench history [--only publish|resume|return]   what history costs, and coming back to it; takes some minutes
        bench backends [--messages N] [--nodes 1|2]   between backends and browsers, beside a bare PUBLISH
        bench clients              CPU time a message in our clients, beside socket.io-client; takes two minutes
        bench webhooks [--server dmb]   what webhooks cost: a publish to one, and a delivery; takes some minutes
        bench tail [--server dmb]  what an open tail costs a publish
        bench sessions             lists 100,000 sessions of three nodes over a Redis
        bench fuzz [options]       random requests and frames, which must hurt nobody else; `bench fuzz --help` lists the options
        bench hostile [--only NAME]    what an honest client notices of those who attack, for docs/hostile.md; takes some minutes
        """;

    private static int Main(string[] args)
    {
        switch (args)
        {
            case ["micro", .. var options]:
                return MicroBench.Run(options);
            case ["load", "--help", ..]:
                Console.WriteLine(LoadOptions.Usage);
                return 0;
            case ["load", .. var options]:
                return Try(() => RunLoad(LoadOptions.Parse(options)));
            case ["compare", "--help", ..]:
                Console.WriteLine(CompareOptions.Usage);
                return 0;
            case ["compare", .. var options]:
                return Try(() => Comparison.Run(CompareOptions.Parse(options)));
            case ["redis"]:
                return Try(RedisBench.Run);
            case ["queues"]:
                return Try(QueueBench.Run);
            case ["rooms"]:
                return Try(() => ManyRooms.Run(["built"]));
            case ["rooms", "--servers", var names]:
                return Try(() => ManyRooms.Run(names.Split(',')));
            case ["simulate", "--help", ..]:
                Console.WriteLine(Shape.Usage);
                return 0;
            case ["simulate", .. var options]:
                return Try(() => Simulation.Run(options));
            case ["trace"]:
                return Try(TraceRun.Run);
            case ["history"]:
                return Try(() => HistoryBench.Run(only: null));
            case ["history", "--only", var part]:
                return Try(() => HistoryBench.Run(part));
            case ["backends", .. var options]:
                return Try(() => BackendBench.Run(options));
            case ["clients"]:
                return Try(ClientsBench.Run);
            case ["clients", "receive", var url]:
                Receiver.RunDotNetAsync(url).GetAwaiter().GetResult();
                return 0;
            case ["webhooks"]:
                return Try(() => WebhookBench.Run(Servers.Find("built")));
            case ["webhooks", "--server", var name]:
                return Try(() => WebhookBench.Run(Servers.Find(name)));
            case ["tail"]:
                return Try(() => TailBench.Run(Servers.Find("built")));
            case ["tail", "--server", var name]:
                return Try(() => TailBench.Run(Servers.Find(name)));
            case ["sessions"]:
                return Try(SessionListBench.Run);
            case ["fuzz", "--help", ..]:
                Console.WriteLine(FuzzOptions.Usage);
                return 0;
            case ["fuzz", .. var options]:
                return Try(() => FuzzRun.Run(FuzzOptions.Parse(options)));
            case ["hostile", .. var options]:
                return Try(() => HostileRun.Run(options));
            default:
                Console.Error.WriteLine(Usage);
                return 2;
        }
    }

    private static bool RunLoad(LoadOptions options)
    {
        var report = LoadRun.Run(options);
        Console.WriteLine(options.Json ? report.ToJson() : report.ToText());
        return report.Complete;
    }

    private static int Try(Func<bool> run)
    {
        try
        {
            return run() ? 0 : 1;
        }
        catch (Exception e) when (e is FormatException or IOException or TimeoutException or Win32Exception)
        {
            Console.Error.WriteLine(e.Message);
            return e is FormatException ? 2 : 1;
        }
    }
}
