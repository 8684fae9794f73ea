using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Dmb.Bench.Hostile;

/// <summary>One connection that means no good, and what the broker did to it.</summary>
internal sealed class Attacker : IDisposable
{
    public const string Open = "open to the end";

    private const int TailBytes = 256;
    private static readonly byte[] Bye = "{\"event\":\"bye\",\"data\":{\"code\":"u8.ToArray();

    private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
    {
        NoDelay = true,
    };
    private readonly List<byte> _head = [];
    private byte[] _tail = [];

    private Attacker(int receiveBytes)
    {
        if (receiveBytes > 0)
        {
            _socket.ReceiveBufferSize = receiveBytes;
        }
    }

    /// <summary>How it ended, once it has.</summary>
    public string Outcome { get; private set; } = Open;

    public bool IsOpen => Outcome == Open;

    /// <summary>
    /// Completes when the broker has ended the connection; nothing is read before it is awaited the first time.
    /// </summary>
    public Task? Reading { get; private set; }

    public static async Task<Attacker> ConnectAsync(IPEndPoint node, CancellationToken end, int receiveBytes = 0)
    {
        var attacker = new Attacker(receiveBytes);
        try
        {
            await attacker._socket.ConnectAsync(node, end);
        }
        catch (SocketException e)
        {
            attacker.Outcome = $"not connected: {e.SocketErrorCode}";
        }

        return attacker;
    }

    /// <summary>A session of /ws, or of another path, whose handshake was answered.</summary>
    public static async Task<Attacker> OpenAsync(
        IPEndPoint node,
        CancellationToken end,
        string headers = "",
        int receiveBytes = 0,
        string path = "/ws"
    )
    {
        var attacker = await ConnectAsync(node, end, receiveBytes);
        await attacker.SendAsync(Encoding.ASCII.GetBytes(Handshake(node, headers, path)), end);
        await attacker.ReadSomeAsync(end);
        return attacker;
    }

    public static string Handshake(IPEndPoint node, string headers = "", string path = "/ws") =>
        $"GET {path} HTTP/1.1\r\nHost: {node}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
        + $"13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{headers}\r\n";

    /// <summary>A client's frame; its mask is zero, so that the payload stays as it is.</summary>
    public static byte[] Frame(byte first, ReadOnlySpan<byte> payload)
    {
        var header = payload.Length switch
        {
            < 126 => 2,
            <= ushort.MaxValue => 4,
            _ => 10,
        };
        var frame = new byte[header + 4 + payload.Length];
        frame[0] = first;
        frame[1] = (byte)(
            0x80
            | (
                header == 2 ? payload.Length
                : header == 4 ? 126
                : 127
            )
        );
        if (header == 4)
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(2), (ushort)payload.Length);
        }
        else if (header == 10)
        {
            BinaryPrimitives.WriteUInt64BigEndian(frame.AsSpan(2), (ulong)payload.Length);
        }

        payload.CopyTo(frame.AsSpan(header + 4));
        return frame;
    }

    public static byte[] Text(string text) => Frame(0x81, Encoding.UTF8.GetBytes(text));

    /// <summary>Sends all of it, unless the connection has ended.</summary>
    public async Task<bool> SendAsync(ReadOnlyMemory<byte> bytes, CancellationToken end)
    {
        try
        {
            while (bytes.Length > 0 && IsOpen)
            {
                bytes = bytes[await _socket.SendAsync(bytes, end)..];
            }

            return IsOpen;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // What was said before the connection ended may still be read.
            await (Reading ??= ReadAsync(end));
            return false;
        }
    }

    /// <summary>Reads on from now on, and forgets what it reads.</summary>
    public void Read(CancellationToken end) => Reading ??= ReadAsync(end);

    /// <summary>Reads what comes next.</summary>
    public async Task<string> ReadSomeAsync(CancellationToken end)
    {
        var buffer = new byte[4096];
        var read = 0;
        try
        {
            read = IsOpen ? await _socket.ReceiveAsync(buffer, end) : 0;
        }
        catch (SocketException)
        {
            // Reset.
        }

        Keep(buffer.AsSpan(0, read));
        if (read == 0 && IsOpen)
        {
            Outcome = Ended("closed");
        }

        return Encoding.Latin1.GetString(buffer, 0, read);
    }

    public void Reset()
    {
        try
        {
            _socket.LingerState = new LingerOption(enable: true, seconds: 0);
        }
        catch (SocketException)
        {
            // It has gone already.
        }

        _socket.Dispose();
    }

    public void Dispose() => Reset();

    private async Task ReadAsync(CancellationToken end)
    {
        var buffer = new byte[2048];
        var last = "closed";
        try
        {
            while (await _socket.ReceiveAsync(buffer, end) is > 0 and var read)
            {
                Keep(buffer.AsSpan(0, read));
            }
        }
        catch (SocketException)
        {
            last = "reset";
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
        {
            return;
        }

        Outcome = IsOpen ? Ended(last) : Outcome;
    }

    private void Keep(ReadOnlySpan<byte> bytes)
    {
        if (_head.Count < 12)
        {
            _head.AddRange(bytes[..Math.Min(bytes.Length, 12)]);
        }

        byte[] all = bytes.Length >= TailBytes ? [] : _tail;
        all = [.. all, .. bytes];
        _tail = all[Math.Max(0, all.Length - TailBytes)..];
    }

    /// <summary>The last that the broker said: a close code, or else a status.</summary>
    private string Ended(string without)
    {
        if (_head.Count < 12)
        {
            return without + " without a word";
        }

        var status = Encoding.ASCII.GetString([.. _head], 9, 3);
        if (status != "101")
        {
            return status;
        }

        if (_tail.AsSpan().LastIndexOf(Bye) is >= 0 and var bye)
        {
            return Encoding.ASCII.GetString(_tail.AsSpan(bye + Bye.Length, 4));
        }

        for (var at = _tail.Length - 4; at >= 0; at--)
        {
            if (_tail[at] == 0x88 && _tail[at + 1] == _tail.Length - at - 2)
            {
                return BinaryPrimitives
                    .ReadUInt16BigEndian(_tail.AsSpan(at + 2))
                    .ToString(CultureInfo.InvariantCulture);
            }
        }

        return without;
    }
}
