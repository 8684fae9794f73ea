using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Running;

namespace Dmb.Bench.Micro;

/// <summary>Runs the benchmarks in this process, so that nothing has to be generated and built.</summary>
internal static class MicroBench
{
    /// <summary>0 when every chosen benchmark has run.</summary>
    public static int Run(string[] args)
    {
        var config = DefaultConfig
            .Instance.AddDiagnoser(MemoryDiagnoser.Default)
            .WithArtifactsPath(Path.Combine(AppContext.BaseDirectory, "BenchmarkDotNet.Artifacts"));
        string[] choice = args.Contains("--filter") || args.Contains("--list") ? args : [.. args, "--filter", "*"];
        var benchmarks = BenchmarkSwitcher.FromAssembly(typeof(MicroBench).Assembly);
        var summaries = benchmarks.Run([.. choice, "--inProcess"], config);
        return summaries.Any(s => s.HasCriticalValidationErrors || s.Reports.Any(r => !r.Success)) ? 1 : 0;
    }
}
