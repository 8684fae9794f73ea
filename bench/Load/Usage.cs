using System.Diagnostics;

namespace Dmb.Bench.Load;

/// <summary>Time that passed, and CPU time that the server, what runs beside it (its Redis, or the proxy in front of it) and this generator spent meanwhile.</summary>
internal readonly record struct Usage(TimeSpan Elapsed, TimeSpan Server, TimeSpan Beside, TimeSpan Generator)
{
    public static Usage Now(ServerProcess server)
    {
        return new Usage(
            Stopwatch.GetElapsedTime(0),
            server.CpuTime(),
            server.CpuTimeBeside(),
            Linux.CpuTime(Environment.ProcessId)
        );
    }

    public static Usage operator -(Usage end, Usage start) =>
        new Usage(
            end.Elapsed - start.Elapsed,
            end.Server - start.Server,
            end.Beside - start.Beside,
            end.Generator - start.Generator
        );
}
