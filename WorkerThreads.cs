using System.Reflection;

namespace Dmb;

/// <summary>
/// Makes the threads that the process may need soon after its start, bounds their number, and keeps room for a few
/// more. The runtime ends the process where it needs a thread and the system makes none: no free descriptor, or
/// <c>pids.max</c> (cgroups) or <c>RLIMIT_NPROC</c> (setrlimit(2)) is reached. The project file keeps the pool's idle
/// threads alive (<c>System.Threading.ThreadPool.ThreadsToKeepAlive</c>).
/// </summary>
internal sealed class WorkerThreads
{
    /// <summary>
    /// Bound of the thread pool. No handler blocks; only name lookups and reads of files do, and their number is
    /// bounded too.
    /// </summary>
    public static readonly int PoolMax = Math.Max(16, 2 * Environment.ProcessorCount);

    /// <summary>
    /// Spare threads. Their room is for threads of a moment, which no component can make in advance: the runtime runs
    /// handlers of SIGTERM and compiles hot methods on some, the client of Redis writes its backlog on others.
    /// </summary>
    private const int SpareMax = 4;

    /// <summary>
    /// Threads that components make once, when they are first used: timers, sockets, the client of Redis.
    /// </summary>
    private const int OtherMax = 8;

    private const string Spare = "DMB Spare";
    private const string Probe = "DMB Probe";

    /// <summary>Interval at which the system is asked for a thread.</summary>
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly TaskCompletionSource _exhausted = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private WorkerThreads() { }

    /// <summary>
    /// Completes when the system makes no further thread. The spare threads have ended then, and do not come back.
    /// </summary>
    public Task Exhausted => _exhausted.Task;

    /// <summary>
    /// Makes the threads an interval later, when the first requests were answered; unless another program hosts the
    /// node, whose threads they would be.
    /// </summary>
    public static WorkerThreads Start()
    {
        var threads = new WorkerThreads();
        if (Assembly.GetEntryAssembly() == typeof(WorkerThreads).Assembly)
        {
            Make("DMB Watch", threads.Run);
        }

        return threads;
    }

    /// <summary>
    /// Makes the threads, then asks for one at each interval, and ends the spare ones when there is none.
    /// </summary>
    private void Run()
    {
        try
        {
            Exhausted.Wait(Interval);
            for (var i = 1; i < SpareMax; i++)
            {
                Make(Spare, Exhausted.Wait);
            }

            var count = Math.Min(PoolMax, CountAvailable(PoolMax + OtherMax) - OtherMax);
            ThreadPool.GetMinThreads(out var min, out _);
            FillPool(Math.Max(count, min));
            if (count < PoolMax)
            {
                _exhausted.TrySetResult();
                return;
            }

            // The last one: the others are there when it is.
            Make(Spare, Exhausted.Wait);
            while (!Exhausted.Wait(Interval))
            {
                Make(Probe, static () => { }).Join();
            }
        }
        catch (Exception e) when (IsExhausted(e))
        {
            _exhausted.TrySetResult();
        }
    }

    /// <summary>
    /// Number of threads that the system allows, up to a maximum. Found by making them: a failure is caught here, and
    /// not on a thread of the pool, where it would end the process.
    /// </summary>
    private static int CountAvailable(int max)
    {
        var all = new List<Thread>(max);
        var isCounted = new TaskCompletionSource();
        try
        {
            while (all.Count < max)
            {
                all.Add(Make(Probe, isCounted.Task.Wait));
            }
        }
        catch (Exception e) when (IsExhausted(e))
        {
            // All that the system allows are counted.
        }

        isCounted.SetResult();
        all.ForEach(static thread => thread.Join());
        return all.Count;
    }

    /// <summary>Makes the pool's threads and bounds it to them.</summary>
    private static void FillPool(int count)
    {
        ThreadPool.GetMinThreads(out var min, out var ports);
        var isFull = new TaskCompletionSource();
        var started = new SemaphoreSlim(0);
        ThreadPool.SetMinThreads(count, ports);
        for (var i = 0; i < count; i++)
        {
            ThreadPool.UnsafeQueueUserWorkItem(
                _ =>
                {
                    started.Release();
                    isFull.Task.Wait();
                },
                null
            );
        }

        for (var i = 0; i < count; i++)
        {
            started.Wait();
        }

        ThreadPool.SetMinThreads(min, ports);
        // Lowered first: the pool then goes on with as many active threads as by default.
        ThreadPool.SetMaxThreads(min, Math.Max(ports, count));
        ThreadPool.SetMaxThreads(count, Math.Max(ports, count));
        isFull.SetResult();
    }

    private static Thread Make(string name, Action run)
    {
        var thread = new Thread(() => run()) { IsBackground = true, Name = name };
        thread.UnsafeStart();
        return thread;
    }

    private static bool IsExhausted(Exception e) => e is OutOfMemoryException or ThreadStartException;
}
