using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace Dmb.Bench.Load;

/// <summary>A process that is of use once it has printed a certain line.</summary>
internal static class Child
{
    private static readonly TimeSpan StartTimeMax = TimeSpan.FromSeconds(20);
    private static readonly ConcurrentDictionary<int, Process> Started = [];
    private static readonly PosixSignalRegistration[] Signals =
    [
        .. new[] { PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGHUP }.Select(signal =>
            PosixSignalRegistration.Create(signal, EndAll)
        ),
    ];

    /// <summary>Starts it and awaits the line. What else it prints is read and forgotten.</summary>
    /// <exception cref="IOException">It ended before it printed the line.</exception>
    public static (Process Process, Match Line) Start(ProcessStartInfo start, Regex line)
    {
        start.RedirectStandardOutput = true;
        var printed = new TaskCompletionSource<Match>(TaskCreationOptions.RunContinuationsAsynchronously);
        var process = new Process { StartInfo = start };
        process.OutputDataReceived += (_, output) =>
        {
            if (output.Data is null)
            {
                printed.TrySetException(new IOException($"{start.FileName} ended before it said '{line}'."));
            }
            else if (line.Match(output.Data) is { Success: true } match)
            {
                printed.TrySetResult(match);
            }
        };
        process.Start();
        EndWithThis(process);
        process.BeginOutputReadLine();
        try
        {
            return (process, printed.Task.WaitAsync(StartTimeMax).GetAwaiter().GetResult());
        }
        catch
        {
            process.Kill();
            throw;
        }
    }

    /// <summary>What is measured does not outlive who measures it, when that is told to end.</summary>
    public static void EndWithThis(Process process)
    {
        var id = process.Id;
        Started.TryAdd(id, process);
        process.Exited += (_, _) => Started.TryRemove(id, out _);
        process.EnableRaisingEvents = true;
    }

    private static void EndAll(PosixSignalContext signal)
    {
        foreach (var id in Started.Keys)
        {
            Linux.Terminate(id);
        }
    }
}
