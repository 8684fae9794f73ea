using System.ComponentModel;
using System.Globalization;
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

    /// <summary>Bytes that were there, 0 when the other side has closed, -1 when nothing is there.</summary>
    public static int Receive(int socket, Span<byte> buffer)
    {
        var n = recv(socket, ref MemoryMarshal.GetReference(buffer), buffer.Length, DontWait);
        return n >= 0 ? (int)n : Marshal.GetLastPInvokeError() == TryAgain ? -1 : 0;
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

    /// <summary>Sockets and files that this process may have open.</summary>
    public static long OpenFilesMax()
    {
        Check(getrlimit(OpenFilesLimit, out var limit));
        return limit.Soft;
    }

    public static int Timer() => Check(timerfd_create(Monotonic, 0));

    /// <summary>Makes a timer readable once every so many nanoseconds; with 0, never again.</summary>
    public static void SetTimer(int timer, long interval)
    {
        var time = new Time(interval / 1_000_000_000, interval % 1_000_000_000);
        var setting = new TimerSetting(time, time);
        Check(timerfd_settime(timer, 0, in setting, 0));
    }

    public static void ReadTimer(int timer) => _ = read(timer, out _, sizeof(ulong));

    public static void Close(int file) => _ = close(file);

    public static int Check(int result) =>
        result >= 0 ? result : throw new Win32Exception(Marshal.GetLastPInvokeError());

    private readonly record struct Time(long Seconds, long Nanoseconds);

    private readonly record struct TimerSetting(Time Interval, Time First);

    private readonly record struct Limit(long Soft, long Hard);

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
}
