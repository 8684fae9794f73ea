using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace Dmb.Routing;

/// <summary>
/// Cryptographic random bytes of the operating system. The framework's generator would load OpenSSL: 6 MB, and time at
/// the start.
/// </summary>
internal static class SystemRandom
{
    private static readonly SafeFileHandle? Source = OperatingSystem.IsWindows()
        ? null
        : File.OpenHandle("/dev/urandom", share: FileShare.ReadWrite);

    /// <summary>Numbers per read of the source, which costs more than the use of one.</summary>
    private const int Numbers = 128;

    [ThreadStatic]
    private static ulong[]? _numbers;

    [ThreadStatic]
    private static int _left;

    /// <summary>Fills a span with random bytes.</summary>
    public static void Fill(Span<byte> bytes)
    {
        if (Source is null)
        {
            RandomNumberGenerator.Fill(bytes);
            return;
        }

        while (!bytes.IsEmpty)
        {
            bytes = bytes[RandomAccess.Read(Source, bytes, fileOffset: 0)..];
        }
    }

    /// <summary>A random number.</summary>
    public static ulong Number()
    {
        var numbers = _numbers ??= new ulong[Numbers];
        if (_left == 0)
        {
            Fill(MemoryMarshal.AsBytes(numbers.AsSpan()));
            _left = numbers.Length;
        }

        return numbers[--_left];
    }
}
