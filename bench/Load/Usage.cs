using System.Diagnostics;

namespace Dmb.Bench.Load;

/// <summary>Time that passed, and CPU time that the server, its Redis and this generator spent meanwhile.</summary>
internal readonly record struct Usage(TimeSpan Elapsed, TimeSpan Server, TimeSpan Redis, TimeSpan Generator)
{
    public static Usage Now(ServerProcess server)
    {
        return new Usage(
            Stopwatch.GetElapsedTime(0),
            server.CpuTime(),
            server.Redis?.CpuTime() ?? TimeSpan.Zero,
            Linux.CpuTime(Environment.ProcessId)
        );
    }

    public static Usage operator -(Usage end, Usage start) =>
        new Usage(
            end.Elapsed - start.Elapsed,
            end.Server - start.Server,
            end.Redis - start.Redis,
            end.Generator - start.Generator
        );
}
