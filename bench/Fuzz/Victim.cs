using System.Diagnostics;
using System.Net;
using System.Text.RegularExpressions;
using Dmb.Bench.Load;

namespace Dmb.Bench.Fuzz;

/// <summary>A node as a process of its own, of which all that it says is kept; ended with this object.</summary>
internal sealed partial class Victim : IDisposable
{
    private static readonly TimeSpan StartTimeMax = TimeSpan.FromSeconds(30);

    private readonly Process _process;
    private readonly List<string> _log = [];
    private readonly TaskCompletionSource<IPEndPoint> _address = new(
        TaskCreationOptions.RunContinuationsAsynchronously
    );

    private Victim(ProcessStartInfo start)
    {
        start.RedirectStandardOutput = true;
        start.RedirectStandardError = true;
        _process = new Process { StartInfo = start };
        _process.OutputDataReceived += (_, line) => Hear(line.Data);
        _process.ErrorDataReceived += (_, line) => Hear(line.Data);
        _process.Start();
        Child.EndWithThis(_process);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public IPEndPoint Address => _address.Task.Result;

    public bool HasEnded => _process.HasExited;

    /// <summary>What it used; nothing once it has ended.</summary>
    public long Rss => HasEnded ? 0 : Linux.Rss(_process.Id);

    public TimeSpan CpuTime => HasEnded ? default : Linux.CpuTime(_process.Id);

    /// <exception cref="IOException">It doesn't listen.</exception>
    public static Victim Start(ProcessStartInfo start, params (string Name, string Value)[] settings)
    {
        start.Environment["DMB_PORT"] = "0";
        foreach (var (name, value) in settings)
        {
            start.Environment[name] = value;
        }

        var victim = new Victim(start);
        try
        {
            victim._address.Task.WaitAsync(StartTimeMax).GetAwaiter().GetResult();
            return victim;
        }
        catch
        {
            victim.Dispose();
            throw;
        }
    }

    /// <summary>
    /// The lines that say that something went wrong inside, from one on, and how many lines there are by now.
    /// </summary>
    public (string[] Lines, int Next) Complaints(int from)
    {
        lock (_log)
        {
            return ([.. _log.Skip(from).Where(line => Complaint().IsMatch(line))], _log.Count);
        }
    }

    public void Dispose()
    {
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
        _process.Dispose();
    }

    private void Hear(string? line)
    {
        if (line is null)
        {
            _address.TrySetException(new IOException($"The node ended: {string.Join('\n', _log)}"));
            return;
        }

        lock (_log)
        {
            _log.Add(line);
        }

        if (Listens().Match(line) is { Success: true } match)
        {
            _address.TrySetResult(IPEndPoint.Parse(match.Groups[1].Value));
        }
    }

    [GeneratedRegex(@"listens on http://([^ ]+:\d+)\.")]
    private static partial Regex Listens();

    [GeneratedRegex(@"^(\d\d:\d\d:\d\d )?(fail|crit):|[Uu]nhandled exception|^   at |Process terminated|Fatal error")]
    private static partial Regex Complaint();
}
