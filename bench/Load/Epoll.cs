using System.Runtime.InteropServices;

namespace Dmb.Bench.Load;

/// <summary>
/// Tells which of many sockets have something new to read, each known by a number of the caller's choice. Told once:
/// the caller reads until the socket has given less than there was room for.
/// </summary>
internal sealed partial class Epoll : IDisposable
{
    private const int Readable = 1;
    private const int EdgeTriggered = 1 << 31;
    private const int Add = 1;
    private const int CloseOnExec = 0x80000;
    private const int EventsMax = 512;

    // struct epoll_event: 4 bytes of flags, then 8 bytes of the caller's; packed on x64 only.
    private static readonly int EventSize = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 12 : 16;

    private readonly int _epoll = Linux.Check(epoll_create1(CloseOnExec));
    private readonly byte[] _events = new byte[EventsMax * EventSize];

    public void Watch(int socket, int number)
    {
        Span<byte> wanted = stackalloc byte[EventSize];
        MemoryMarshal.Write(wanted, Readable | EdgeTriggered);
        MemoryMarshal.Write(wanted[^8..], (long)number);
        Linux.Check(epoll_ctl(_epoll, Add, socket, ref MemoryMarshal.GetReference(wanted)));
    }

    /// <summary>How many are readable, 0 when the time is over; their numbers are in <see cref="this"/>.</summary>
    public int Wait(int milliseconds) => Math.Max(0, epoll_wait(_epoll, ref _events[0], EventsMax, milliseconds));

    public int this[int index] => MemoryMarshal.Read<int>(_events.AsSpan((index + 1) * EventSize - 8));

    public void Dispose() => Linux.Close(_epoll);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(int epoll, int operation, int socket, ref byte wanted);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(int epoll, ref byte events, int eventsMax, int milliseconds);
}
