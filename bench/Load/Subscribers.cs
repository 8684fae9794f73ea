using System.Buffers.Binary;
using System.Buffers.Text;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Dmb.Bench.Load;

/// <summary>
/// WebSocket clients on one thread: each joins its room, then only counts. What arrives is read in large pieces into
/// one buffer that all share; of a frame only the header's length and the number at its fixed place are looked at.
/// </summary>
internal sealed class Subscribers : IDisposable
{
    /// <summary>Digits of a message's number.</summary>
    internal const int NumberLength = 10;

    private const int OpeningMax = 128;
    private const int Text = 1;
    private const int Close = 8;
    private const int Ping = 9;
    private const int Pong = 10;

    private enum State : byte { Upgrading, Joining, Live, Closed }

    private readonly IPEndPoint _server;
    private readonly Epoll _epoll;
    private readonly Func<int, string> _room;
    private readonly byte[] _messageStart;
    private readonly Socket[] _sockets;
    private readonly int[] _handles;
    private readonly State[] _states;
    private readonly byte[]?[] _incomplete;
    private readonly byte[] _buffer = new byte[256 * 1024];
    private int _opened;

    public Subscribers(LoadOptions options, IPEndPoint server, Epoll epoll)
    {
        _server = server;
        _epoll = epoll;
        _room = options.RoomsOfOne ? RoomOf : _ => options.Room;
        _messageStart = [.. "{\"event\":\""u8, .. Encoding.ASCII.GetBytes(options.Event), .. "\",\"data\":{\"n\":\""u8];
        _sockets = new Socket[options.Subscribers];
        _handles = new int[options.Subscribers];
        _states = new State[options.Subscribers];
        _incomplete = new byte[]?[options.Subscribers];
    }

    public int Count => _sockets.Length;
    public int Live { get; private set; }
    public int Closed { get; private set; }

    /// <summary>Frames that were neither a message nor part of joining, pinging or closing.</summary>
    public int Others { get; private set; }

    /// <summary>What the broker closed a subscriber with last: a close code, 0 when it just hung up.</summary>
    public int LastCloseCode { get; private set; }

    public static string RoomOf(int subscriber) => $"endpoint:{subscriber:D6}";

    /// <summary>Begins further handshakes, so that no more than 128 are under way.</summary>
    public void OpenMore()
    {
        for (; _opened < Count && _opened - Live - Closed < OpeningMax; _opened++)
        {
            var socket = new Socket(_server.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            socket.Connect(_server);
            _sockets[_opened] = socket;
            _handles[_opened] = (int)socket.Handle;
            _epoll.Watch(_handles[_opened], _opened);
            Linux.Send(_handles[_opened], Encoding.ASCII.GetBytes(
                $"GET /ws HTTP/1.1\r\nHost: {_server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"));
        }
    }

    public void Read(int subscriber, Tally tally)
    {
        int free;
        int read;
        do
        {
            var kept = _incomplete[subscriber]?.Length ?? 0;
            _incomplete[subscriber]?.CopyTo(_buffer, 0);
            free = _buffer.Length - kept;
            read = Linux.Receive(_handles[subscriber], _buffer.AsSpan(kept));
            if (read > 0)
            {
                Take(subscriber, _buffer.AsSpan(0, kept + read), tally);
            }
            else if (read == 0)
            {
                End(subscriber);
            }
        }
        while (read == free);
    }

    private void Take(int subscriber, ReadOnlySpan<byte> bytes, Tally tally)
    {
        var used = _states[subscriber] == State.Upgrading ? TakeUpgrade(subscriber, bytes) : 0;
        if (_states[subscriber] != State.Upgrading)
        {
            used += TakeFrames(subscriber, bytes[used..], tally);
        }

        // Rare: a piece that ends in the middle of a frame.
        _incomplete[subscriber] = used < bytes.Length ? bytes[used..].ToArray() : null;
    }

    private int TakeUpgrade(int subscriber, ReadOnlySpan<byte> bytes)
    {
        var end = bytes.IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            return 0;
        }

        if (!bytes.StartsWith("HTTP/1.1 101 "u8))
        {
            throw new IOException($"/ws was refused: {Encoding.ASCII.GetString(bytes)}");
        }

        _states[subscriber] = State.Joining;
        var subscribe = $"{{\"event\":\"subscribe\",\"data\":\"{_room(subscriber)}\",\"ack\":1}}";
        Reply(subscriber, Text, Encoding.ASCII.GetBytes(subscribe));
        return end + 4;
    }

    private int TakeFrames(int subscriber, ReadOnlySpan<byte> bytes, Tally tally)
    {
        var now = Stopwatch.GetTimestamp();
        var used = 0;
        while (TryReadFrame(bytes[used..], out var header, out var length))
        {
            var payload = bytes.Slice(used + header, length);
            if (payload.StartsWith(_messageStart)
                && Utf8Parser.TryParse(payload.Slice(_messageStart.Length, NumberLength), out long number, out _))
            {
                tally.Arrive(subscriber, number, now);
            }
            else
            {
                TakeOther(subscriber, bytes[used] & 15, payload);
            }

            used += header + length;
        }

        return used;
    }

    /// <summary>True when all of a frame is there.</summary>
    private static bool TryReadFrame(ReadOnlySpan<byte> bytes, out int header, out int length)
    {
        header = 2;
        length = bytes.Length < 2 ? 0 : bytes[1];
        if (length == 126)
        {
            header = 4;
            length = bytes.Length < 4 ? 0 : BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        }
        else if (length == 127)
        {
            header = 10;
            length = bytes.Length < 10 ? 0 : (int)BinaryPrimitives.ReadUInt64BigEndian(bytes[2..]);
        }

        return bytes.Length >= header + length;
    }

    private void TakeOther(int subscriber, int opcode, ReadOnlySpan<byte> payload)
    {
        switch (opcode)
        {
            case Ping:
                Reply(subscriber, Pong, payload);
                break;
            case Close:
                LastCloseCode = payload.Length >= 2 ? BinaryPrimitives.ReadUInt16BigEndian(payload) : 1005;
                break;
            case Text when _states[subscriber] == State.Joining:
                if (payload.StartsWith("{\"ack\":1,\"ok\":true"u8))
                {
                    _states[subscriber] = State.Live;
                    Live++;
                }

                break;
            case Text when payload.StartsWith("{\"event\":\"bye\""u8):
                break;
            default:
                Others++;
                break;
        }
    }

    private void Reply(int subscriber, int opcode, ReadOnlySpan<byte> payload)
    {
        // A client must mask; with a mask of zeros the payload stays as it is.
        Span<byte> frame = stackalloc byte[8 + 256];
        frame[0] = (byte)(0x80 | opcode);
        frame[1] = 0x80 | 126;
        var header = 8;
        if (payload.Length < 126)
        {
            frame[1] = (byte)(0x80 | payload.Length);
            header = 6;
        }
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(frame[2..], (ushort)payload.Length);
        }

        payload.CopyTo(frame[header..]);
        Linux.Send(_handles[subscriber], frame[..(header + payload.Length)]);
    }

    private void End(int subscriber)
    {
        Live -= _states[subscriber] == State.Live ? 1 : 0;
        _states[subscriber] = State.Closed;
        Closed++;
        _sockets[subscriber].Dispose();
    }

    public void Dispose()
    {
        foreach (var socket in _sockets.AsSpan(0, _opened))
        {
            socket.Dispose();
        }
    }
}
