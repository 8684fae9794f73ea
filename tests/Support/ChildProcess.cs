using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Dmb.Tests.Support;

/// <summary>A process of a test: what it prints can be awaited, and it doesn't outlive its test.</summary>
public sealed class ChildProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly Task _reading;
    private readonly Lock _lock = new();
    private readonly List<string> _lines = [];
    private readonly List<string> _errors = [];
    private TaskCompletionSource _printed = NewSignal();
    private bool _ended;

    private ChildProcess(Process process)
    {
        _process = process;
        _reading = ReadAllAsync();
    }

    /// <summary>What it printed so far, to both of its outputs.</summary>
    public string[] Lines
    {
        get
        {
            lock (_lock)
            {
                return [.. _lines];
            }
        }
    }

    /// <summary>Those of them that came on its standard error.</summary>
    public string[] Errors
    {
        get
        {
            lock (_lock)
            {
                return [.. _errors];
            }
        }
    }

    public int Id => _process.Id;

    /// <summary>Bytes of memory that it holds now.</summary>
    public long MemoryBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    /// <summary>
    /// Starts a program that sees the variables of this process, but none that sets a broker up, and these.
    /// </summary>
    public static ChildProcess Start(
        string program,
        IEnumerable<string> arguments,
        string directory,
        params (string Name, string Value)[] environment
    ) => Start(program, arguments, directory, hasInput: false, environment);

    /// <summary>The same, for a program that reads lines: those of <see cref="WriteLineAsync"/>.</summary>
    public static ChildProcess StartWithInput(
        string program,
        IEnumerable<string> arguments,
        string directory,
        params (string Name, string Value)[] environment
    ) => Start(program, arguments, directory, hasInput: true, environment);

    private static ChildProcess Start(
        string program,
        IEnumerable<string> arguments,
        string directory,
        bool hasInput,
        (string Name, string Value)[] environment
    )
    {
        // A shell's background job, or nohup, ignores signals, and so would all that it starts.
        string[] all = ["--default-signal=INT,HUP", program, .. arguments];
        var start = new ProcessStartInfo("env", all)
        {
            WorkingDirectory = directory,
            RedirectStandardInput = hasInput,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var name in start.Environment.Keys.Where(IsSetting).ToArray())
        {
            start.Environment.Remove(name);
        }

        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        return new ChildProcess(Process.Start(start)!);
    }

    /// <summary>Starts one, and waits until it has printed a line with this in it.</summary>
    public static async Task<ChildProcess> StartAsync(
        string program,
        IEnumerable<string> arguments,
        string directory,
        string printed
    )
    {
        var process = Start(program, arguments, directory);
        try
        {
            await process.LineAsync(printed);
            return process;
        }
        catch
        {
            await process.DisposeAsync();
            throw;
        }
    }

    /// <summary>
    /// The first line that has this in it, or the <paramref name="count"/>th, printed already or to come.
    /// </summary>
    public async Task<string> LineAsync(string part, int count = 1)
    {
        for (int next = 0, left = count; ; )
        {
            Task printed;
            lock (_lock)
            {
                for (; next < _lines.Count; next++)
                {
                    if (_lines[next].Contains(part, StringComparison.Ordinal) && --left == 0)
                    {
                        return _lines[next];
                    }
                }

                Assert.False(_ended, $"It ended without '{part}':\n{string.Join('\n', _lines)}");
                printed = _printed.Task;
            }

            await printed.WaitAsync(Node.Patience);
        }
    }

    /// <summary>Its line of this number from 0, printed already or to come.</summary>
    public async Task<string> LineAtAsync(int index)
    {
        while (true)
        {
            Task printed;
            lock (_lock)
            {
                if (index < _lines.Count)
                {
                    return _lines[index];
                }

                Assert.False(_ended, $"It ended:\n{string.Join('\n', _lines)}");
                printed = _printed.Task;
            }

            await printed.WaitAsync(Node.Patience);
        }
    }

    /// <summary>Gives it a line to read, if it was started with input.</summary>
    public async Task WriteLineAsync(string line)
    {
        await _process.StandardInput.WriteLineAsync(line);
        await _process.StandardInput.FlushAsync();
    }

    /// <summary>Kills it and what it started, as a crash or the kernel would.</summary>
    public Task KillAsync()
    {
        _process.Kill(entireProcessTree: true);
        return EndAsync();
    }

    /// <summary>Whether it runs and has mapped a file of that name, such as a library.</summary>
    public bool HasMapped(string file)
    {
        try
        {
            return File.ReadAllText($"/proc/{_process.Id}/maps").Contains(file, StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Has it read its files again, as a service manager's reload does.</summary>
    public void HangUp() => Signal(PosixSignals.HangUp);

    /// <summary>Asks it to end, and waits until it did.</summary>
    public Task TerminateAsync()
    {
        Terminate();
        return EndAsync();
    }

    /// <summary>Asks it to end.</summary>
    public void Terminate() => Signal(PosixSignals.Terminate);

    /// <summary>
    /// Asks it to end by a signal that its last thread takes: one that is no thread's own comes to any of them.
    /// </summary>
    public void TerminateLastThread()
    {
        var last = Directory
            .EnumerateDirectories($"/proc/{_process.Id}/task")
            .Max(thread => int.Parse(Path.GetFileName(thread), CultureInfo.InvariantCulture));
        Assert.Equal(0, PosixSignals.Send(last, PosixSignals.Terminate));
    }

    /// <summary>Asks it to end as Ctrl+C does.</summary>
    public void Interrupt() => Signal(PosixSignals.Interrupt);

    /// <summary>Freezes it: its connections stay, but nothing moves. Each of its threads has stopped on return.</summary>
    public void Stop()
    {
        Signal(PosixSignals.Stop);
        Assert.True(SpinWait.SpinUntil(IsStopped, Node.Patience));
    }

    /// <summary>Whether each of its threads has the state <c>T</c> (proc(5): the letter behind the name).</summary>
    private bool IsStopped()
    {
        try
        {
            return Directory
                .GetDirectories($"/proc/{_process.Id}/task")
                .Select(thread => File.ReadAllText(Path.Combine(thread, "stat")))
                .All(stat => stat[stat.LastIndexOf(')') + 2] == 'T');
        }
        catch (IOException)
        {
            // A thread has ended meanwhile.
            return false;
        }
    }

    /// <summary>Lets it go on after <see cref="Stop"/>.</summary>
    public void Continue() => Signal(PosixSignals.Continue);

    /// <summary>Waits for its end, and gives its exit code.</summary>
    public Task<int> EndAsync() => EndAsync(Node.Patience);

    /// <summary>The same, with another patience.</summary>
    public async Task<int> EndAsync(TimeSpan patience)
    {
        await _process.WaitForExitAsync().WaitAsync(patience);
        await _reading.WaitAsync(Node.Patience);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
        }

        await EndAsync();
        _process.Dispose();
    }

    private static bool IsSetting(string name) =>
        name == "PORT"
        || ((string[])["DMB_", "Dmb__", "REDIS_", "OTEL_", "ASPNETCORE_", "DOTNET_ENVIRONMENT"]).Any(prefix =>
            name.StartsWith(prefix, StringComparison.Ordinal)
        );

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Signal(int signal) => Assert.Equal(0, PosixSignals.Send(_process.Id, signal));

    private async Task ReadAllAsync()
    {
        await Task.WhenAll(ReadAsync(_process.StandardOutput, []), ReadAsync(_process.StandardError, _errors));
        lock (_lock)
        {
            _ended = true;
            _printed.TrySetResult();
        }
    }

    private async Task ReadAsync(StreamReader output, List<string> lines)
    {
        while (await output.ReadLineAsync() is { } line)
        {
            lock (_lock)
            {
                _lines.Add(line);
                lines.Add(line);
                _printed.TrySetResult();
                _printed = NewSignal();
            }
        }
    }

    private static class PosixSignals
    {
        public const int HangUp = 1,
            Interrupt = 2,
            Terminate = 15,
            Continue = 18,
            Stop = 19;

        [DllImport("libc", EntryPoint = "kill")]
        public static extern int Send(int process, int signal);
    }
}
