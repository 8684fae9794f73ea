using System.Buffers.Text;
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace Dmb.Bench.Clients;

/// <summary>
/// As much of a node as one client needs (docs/protocol.md §4): it greets, acks what it is asked, and sends more
/// messages a second than a node takes pushes on this machine. For one connection at a time.
/// </summary>
internal sealed partial class FrameSource : IDisposable
{
    private const int DigitsOfNumber = 9;
    private const int FramesPerWrite = 500;
    private const string HandshakeGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

    private static readonly string Number = new('0', DigitsOfNumber);

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly byte[] _frame;
    private readonly int _idAt;
    private readonly int _positionAt;
    private Socket? _socket;
    private long _sent;

    public FrameSource()
    {
        _listener.Start();
        var data = MessageData.Json;
        var text =
            $"{{\"event\":\"call\",\"data\":{data},\"id\":\"0199f0a0-7c00-7000-8000-000{Number}\",\"room\":\"{MessageData.Room}\",\"pos\":\"k3f9:{Number}\"}}";
        _frame = Frame(text);
        _idAt = _frame.Length - text.Length + text.IndexOf("000" + Number, StringComparison.Ordinal) + 3;
        _positionAt = _frame.Length - "\"}".Length - DigitsOfNumber;
    }

    /// <summary>Waits for the time at which more is due.</summary>
    public static void Rest() => Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System).GetAwaiter().GetResult();

    public Uri Url => new($"http://{_listener.LocalEndpoint}");

    /// <summary>Takes a client, and answers it until it is in its room.</summary>
    public void Accept()
    {
        _socket = _listener.AcceptSocket();
        _socket.NoDelay = true;
        var request = "";
        var buffer = new byte[16 * 1024];
        while (!request.EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            request += Encoding.ASCII.GetString(buffer, 0, _socket.Receive(buffer));
        }

        var key = Key().Match(request).Groups[1].Value;
        _socket.Send(
            Encoding.ASCII.GetBytes(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + $"Sec-WebSocket-Accept: {Accepted(key)}\r\n\r\n"
            )
        );
        _socket.Send(Frame("""{"event":"welcome","data":{"id":"s1","limits":{"ping_s":600,"silent_s":1200}}}"""));

        // A short masked frame: two bytes, four of the mask, and the request with its ack at the end.
        var length = _socket.Receive(buffer);
        var start = (buffer[1] & 0x7f) == 126 ? 4 : 2;
        for (var i = start + 4; i < length; i++)
        {
            buffer[i] ^= buffer[start + ((i - start - 4) % 4)];
        }

        var ack = Ack().Match(Encoding.UTF8.GetString(buffer, start + 4, length - start - 4)).Groups[1].Value;
        _socket.Send(Frame($"{{\"ack\":{ack},\"ok\":true,\"data\":{{\"rooms\":[\"{MessageData.Room}\"]}}}}"));
    }

    /// <summary>Sends messages at a rate; gives how many.</summary>
    public long Send(int rate, TimeSpan time)
    {
        var start = Stopwatch.GetTimestamp();
        var buffer = new byte[_frame.Length * FramesPerWrite];
        var first = _sent;
        for (TimeSpan now; (now = Stopwatch.GetElapsedTime(start)) < time; )
        {
            if (_sent - first + FramesPerWrite > now.TotalSeconds * rate)
            {
                Rest();
                continue;
            }

            for (var i = 0; i < FramesPerWrite; i++)
            {
                var frame = buffer.AsSpan(i * _frame.Length, _frame.Length);
                _frame.CopyTo(frame);
                _sent++;
                Utf8Formatter.TryFormat(_sent, frame[_idAt..], out _, new('D', DigitsOfNumber));
                Utf8Formatter.TryFormat(_sent, frame[_positionAt..], out _, new('D', DigitsOfNumber));
            }

            for (var written = 0; written < buffer.Length; )
            {
                written += _socket!.Send(buffer.AsSpan(written));
            }
        }

        return _sent - first;
    }

    public void Dispose()
    {
        _socket?.Dispose();
        _listener.Dispose();
    }

    [SuppressMessage("Security", "CA5350", Justification = "RFC 6455 asks for SHA-1, which protects nothing here.")]
    private static string Accepted(string key) =>
        Convert.ToBase64String(SHA1.HashData(Encoding.ASCII.GetBytes(key + HandshakeGuid)));

    /// <summary>One text frame of a server (RFC 6455, section 5.2).</summary>
    private static byte[] Frame(string text)
    {
        var payload = Encoding.UTF8.GetBytes(text);
        return payload.Length < 126
            ? [0x81, (byte)payload.Length, .. payload]
            : [0x81, 126, (byte)(payload.Length >> 8), (byte)payload.Length, .. payload];
    }

    [GeneratedRegex("Sec-WebSocket-Key: ([^\r]+)", RegexOptions.IgnoreCase)]
    private static partial Regex Key();

    [GeneratedRegex("\"ack\":(\\d+)}")]
    private static partial Regex Ack();
}
