using System.Buffers.Binary;
using System.ComponentModel;
using System.Globalization;
using System.Net;
using System.Runtime.InteropServices;

namespace Dmb.Bench.Load;

/// <summary>The system calls that cost less when called directly, or that .NET has no other way to.</summary>
internal static partial class Linux
{
    private const int DontWait = 0x40;
    private const int NoSignal = 0x4000;
    private const int TryAgain = 11;
    private const int Monotonic = 1;
    private const int OpenFilesLimit = 7;
    private const int Internet = 2;
    private const int Stream = 1;
    private const int CloseOnExec = 0x80000;
    private const int Tcp = 6;
    private const int NoDelay = 1;
    private const int SocketLevel = 1;
    private const int Linger = 13;
    private const int TerminateSignal = 15;

    /// <summary>Connects to an IPv4 address of this machine. The connection's end will leave no port waiting.</summary>
    /// <exception cref="Win32Exception">Nobody listens there, or this process has no further file or port.</exception>
    public static int Connect(IPEndPoint server)
    {
        var socket = Check(Linux.socket(Internet, Stream | CloseOnExec, 0));
        ReadOnlySpan<int> yes = [1];
        ReadOnlySpan<int> resetAtEnd = [1, 0];
        Check(setsockopt(socket, Tcp, NoDelay, in yes[0], sizeof(int)));
        Check(setsockopt(socket, SocketLevel, Linger, in resetAtEnd[0], 2 * sizeof(int)));
        Span<byte> address = stackalloc byte[16];
        MemoryMarshal.Write(address, (ushort)Internet);
        BinaryPrimitives.WriteUInt16BigEndian(address[2..], (ushort)server.Port);
        server.Address.TryWriteBytes(address[4..], out _);
        if (connect(socket, in address[0], address.Length) == 0)
        {
            return socket;
        }

        var error = Marshal.GetLastPInvokeError();
        Close(socket);
        throw new Win32Exception(error);
    }

    /// <summary>Bytes that were there, 0 when the other side has closed, -1 when nothing is there.</summary>
    public static int Receive(int socket, Span<byte> buffer)
    {
        var n = recv(socket, ref MemoryMarshal.GetReference(buffer), buffer.Length, DontWait);
        return n >= 0 ? (int)n
            : Marshal.GetLastPInvokeError() == TryAgain ? -1
            : 0;
    }

    /// <summary>Sends all of it at once.</summary>
    /// <exception cref="IOException">The socket is closed, or what was sent before is still waiting in it.</exception>
    public static void Send(int socket, ReadOnlySpan<byte> bytes)
    {
        if (send(socket, ref MemoryMarshal.GetReference(bytes), bytes.Length, DontWait | NoSignal) != bytes.Length)
        {
            throw new IOException("The server closed a connection, or does not read what it is sent.");
        }
    }

    /// <summary>User and system time of all threads of a process, the ended ones too.</summary>
    public static TimeSpan CpuTime(int processId)
    {
        // clock_getcpuclockid(3): nanoseconds, where /proc/<pid>/stat counts in ticks of 10 ms.
        Check(clock_gettime((~processId << 3) | 2, out var time));
        return TimeSpan.FromSeconds(time.Seconds) + TimeSpan.FromMicroseconds(time.Nanoseconds / 1e3);
    }

    /// <summary>Memory of a process that is in RAM, in bytes.</summary>
    public static long Rss(int processId)
    {
        return Environment.SystemPageSize
            * long.Parse(File.ReadAllText($"/proc/{processId}/statm").Split(' ')[1], CultureInfo.InvariantCulture);
    }

    /// <summary>A process and all that it started, and those started.</summary>
    public static int[] ProcessTree(int processId)
    {
        var children = ProcessIds().ToLookup(Parent);
        var tree = new List<int> { processId };
        for (var i = 0; i < tree.Count; i++)
        {
            tree.AddRange(children[tree[i]]);
        }

        return [.. tree];
    }

    /// <summary>The processes, as far as they can be looked at, that listen on a TCP port.</summary>
    public static int[] ProcessesListeningOn(int port)
    {
        var sockets = Directory
            .GetFiles("/proc/net", "tcp*")
            .SelectMany(File.ReadLines)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(field => field[3] == "0A" && field[1].EndsWith($":{port:X4}", StringComparison.Ordinal))
            .Select(field => $"socket:[{field[9]}]")
            .ToHashSet();
        return [.. ProcessIds().Where(id => OpenFiles(id).Any(sockets.Contains))];
    }

    private static IEnumerable<int> ProcessIds()
    {
        return Directory
            .GetDirectories("/proc")
            .Select(path => int.TryParse(Path.GetFileName(path), out var id) ? id : 0)
            .Where(id => id > 0);
    }

    private static int Parent(int processId)
    {
        try
        {
            // The name, in brackets, may hold anything; behind it come the state and the parent.
            var stat = File.ReadAllText($"/proc/{processId}/stat");
            return int.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[1], CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            return 0;
        }
    }

    private static string[] OpenFiles(int processId)
    {
        try
        {
            return [.. Directory.GetFiles($"/proc/{processId}/fd").Select(path => new FileInfo(path).LinkTarget ?? "")];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>Sockets and files that this process may have open.</summary>
    public static long OpenFilesMax()
    {
        Check(getrlimit(OpenFilesLimit, out var limit));
        return limit.Soft;
    }

    public static int Timer() => Check(timerfd_create(Monotonic, CloseOnExec));

    /// <summary>Makes a timer readable once every so many nanoseconds; with 0, never again.</summary>
    public static void SetTimer(int timer, long interval)
    {
        var time = new Time(interval / 1_000_000_000, interval % 1_000_000_000);
        var setting = new TimerSetting(time, time);
        Check(timerfd_settime(timer, 0, in setting, 0));
    }

    public static void ReadTimer(int timer) => _ = read(timer, out _, sizeof(ulong));

    /// <summary>Asks a process to end.</summary>
    public static void Terminate(int processId) => _ = kill(processId, TerminateSignal);

    public static void Close(int file) => _ = close(file);

    public static int Check(int result) =>
        result >= 0 ? result : throw new Win32Exception(Marshal.GetLastPInvokeError());

    private readonly record struct Time(long Seconds, long Nanoseconds);

    private readonly record struct TimerSetting(Time Interval, Time First);

    private readonly record struct Limit(long Soft, long Hard);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socket(int family, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int socket, int level, int option, in int value, int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int connect(int socket, in byte address, int length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(int socket, ref byte buffer, nint length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(int socket, ref byte buffer, nint length, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int clock_gettime(int clock, out Time time);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getrlimit(int resource, out Limit limit);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int timerfd_create(int clock, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int timerfd_settime(int timer, int flags, in TimerSetting setting, nint previous);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(int file, out ulong value, nint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int file);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int processId, int signal);
}
