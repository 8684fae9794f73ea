using System.ComponentModel;
using Dmb.Bench.Load;
using Dmb.Bench.Micro;

namespace Dmb.Bench;

internal static class Program
{
    private const string Usage = """
        bench micro [BenchmarkDotNet's arguments, e.g. --filter *FanOut* --job dry]
        bench load  [options]      over real sockets; `bench load --help` lists the options
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
                return RunLoad(options);
            default:
                Console.Error.WriteLine(Usage);
                return 2;
        }
    }

    private static int RunLoad(string[] args)
    {
        try
        {
            var options = LoadOptions.Parse(args);
            var report = LoadRun.Run(options);
            Console.WriteLine(options.Json ? report.ToJson() : report.ToText());
            return report.Complete ? 0 : 1;
        }
        catch (Exception e) when (e is FormatException or IOException or TimeoutException or Win32Exception)
        {
            Console.Error.WriteLine(e.Message);
            return e is FormatException ? 2 : 1;
        }
    }
}
