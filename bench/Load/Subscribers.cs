using System.Buffers.Binary;
using System.Buffers.Text;
using System.Diagnostics;
using System.Net;
using System.Text;

namespace Dmb.Bench.Load;

/// <summary>
/// Clients on one thread: each joins its room, then only counts, and polls again where its dialect polls. What arrives
/// is read in large pieces into one buffer that all share; of a message only its start and the number behind it are
/// looked at.
/// </summary>
internal sealed class Subscribers : IDisposable
{
    private const int OpeningMax = 128;
    private const int Text = 1;
    private const int Close = 8;
    private const int Ping = 9;
    private const int Pong = 10;

    private enum State : byte
    {
        Upgrading,
        Joining,
        Live,
        Closed,
    }

    private readonly Dialect _dialect;
    private readonly IPEndPoint _server;
    private readonly Epoll _epoll;
    private readonly Func<int, string> _room;
    private readonly byte[] _messageStart;
    private readonly byte[][] _awaited;
    private readonly int[] _sockets;
    private readonly State[] _states;
    private readonly byte[] _steps;
    private readonly byte[]?[] _incomplete;

    /// <summary>Null where there is a socket.</summary>
    private readonly Polls? _polls;
    private readonly byte[] _buffer = new byte[256 * 1024];
    private int _opened;

    public Subscribers(LoadOptions options, Dialect dialect, IPEndPoint server, Epoll epoll)
    {
        _dialect = dialect;
        _server = server;
        _epoll = epoll;
        _room = options.RoomsOfOne ? RoomOf : _ => options.Room;
        _messageStart = Encoding.ASCII.GetBytes(dialect.MessageStart);
        _awaited = [.. dialect.Join("").Select(step => Encoding.ASCII.GetBytes(step.Awaited))];
        _sockets = new int[options.Subscribers];
        _states = new State[options.Subscribers];
        _steps = new byte[options.Subscribers];
        _incomplete = new byte[]?[options.Subscribers];
        _polls = dialect.Polling ? new Polls(server, dialect.Subscribe(""), _sockets) : null;
    }

    public int Count => _sockets.Length;
    public int Live { get; private set; }
    public int Closed { get; private set; }

    /// <summary>Frames that were neither a message nor part of joining, pinging or closing.</summary>
    public int Others { get; private set; }

    /// <summary>What the server closed a subscriber with last: a close code, 0 when it just hung up.</summary>
    public int LastCloseCode { get; private set; }

    public static string RoomOf(int subscriber) => $"endpoint:{subscriber:D6}";

    /// <summary>Begins further handshakes, so that no more than 128 are under way.</summary>
    public void OpenMore()
    {
        for (; _opened < Count && _opened - Live - Closed < OpeningMax; _opened++)
        {
            _sockets[_opened] = Linux.Connect(_server);
            _epoll.Watch(_sockets[_opened], _opened);
            if (_polls is not null)
            {
                _polls.Open(_opened);
                continue;
            }

            var upgrade = _dialect.EventStream
                ? "Accept: text/event-stream\r\n\r\n"
                : "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    + "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
            Linux.Send(
                _sockets[_opened],
                Encoding.ASCII.GetBytes(
                    $"GET {_dialect.Subscribe(_room(_opened))} HTTP/1.1\r\nHost: {_server}\r\n{upgrade}"
                )
            );
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
            read = Linux.Receive(_sockets[subscriber], _buffer.AsSpan(kept));
            if (read > 0)
            {
                Take(subscriber, _buffer.AsSpan(0, kept + read), tally);
            }
            else if (read == 0)
            {
                End(subscriber);
            }
        } while (read == free);
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

        if (!bytes.StartsWith(_dialect.EventStream || _dialect.Polling ? "HTTP/1.1 200 "u8 : "HTTP/1.1 101 "u8))
        {
            throw new IOException($"A subscriber was refused: {Encoding.ASCII.GetString(bytes)}");
        }

        _states[subscriber] = State.Joining;
        GoOn(subscriber);

        // The first response to a poll has the open packet.
        return _dialect.Polling ? 0 : end + 4;
    }

    /// <summary>Says the next thing on the way into the room; there is none: it is in.</summary>
    private void GoOn(int subscriber)
    {
        if (_steps[subscriber] == _awaited.Length)
        {
            _states[subscriber] = State.Live;
            Live++;
            return;
        }

        var say = _dialect.Join(_room(subscriber))[_steps[subscriber]].Say;
        _steps[subscriber]++;
        if (say.Length > 0)
        {
            Reply(subscriber, Text, Encoding.ASCII.GetBytes(say));
        }
    }

    private int TakeFrames(int subscriber, ReadOnlySpan<byte> bytes, Tally tally)
    {
        var now = Stopwatch.GetTimestamp();
        var used = 0;
        while (TryReadFrame(bytes[used..], out var header, out var length))
        {
            var payload = bytes.Slice(used + header, length);
            var opcode = _dialect.EventStream || _dialect.Polling ? Text : bytes[used] & 15;
            used += header + length;
            if (_dialect.Separator is { } separator && opcode == Text)
            {
                for (int end; (end = payload.IndexOf(separator)) >= 0; payload = payload[(end + 1)..])
                {
                    TakePayload(subscriber, opcode, payload[..end], tally, now);
                }
            }

            if (payload.Length > 0 || _dialect.Separator is null)
            {
                TakePayload(subscriber, opcode, payload, tally, now);
            }

            _polls?.GoOn(subscriber);
        }

        return used;
    }

    /// <summary>True when all of a frame is there.</summary>
    private bool TryReadFrame(ReadOnlySpan<byte> bytes, out int header, out int length)
    {
        header = 0;
        length = 0;
        if (_dialect.EventStream)
        {
            length = bytes.IndexOf("\n\n"u8) + 2;
            return length >= 2;
        }

        if (_dialect.Polling)
        {
            return Polls.TryReadResponse(bytes, out header, out length);
        }

        if (bytes.Length < 2)
        {
            return false;
        }

        header = bytes[1] switch
        {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        if (bytes.Length < header)
        {
            return false;
        }

        length = header switch
        {
            4 => BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]),
            10 => (int)BinaryPrimitives.ReadUInt64BigEndian(bytes[2..]),
            _ => bytes[1],
        };
        return bytes.Length >= header + length;
    }

    private void TakePayload(int subscriber, int opcode, ReadOnlySpan<byte> payload, Tally tally, long now)
    {
        if (_dialect.EventStream)
        {
            // Before its data an event may have other lines, and the sizes of HTTP's chunks.
            payload = payload[Math.Max(0, payload.IndexOf("data: "u8))..];
        }

        if (
            payload.StartsWith(_messageStart)
            && Utf8Parser.TryParse(payload.Slice(_messageStart.Length, Dialect.NumberLength), out long number, out _)
        )
        {
            tally.Arrive(subscriber, number, now);
        }
        else
        {
            TakeOther(subscriber, opcode, payload);
        }
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
                if (payload.StartsWith(_awaited[_steps[subscriber] - 1]))
                {
                    _polls?.TakeOpen(subscriber, payload);
                    GoOn(subscriber);
                }

                break;
            case Text when payload.SequenceEqual(_dialect.Ping) && payload.Length > 0:
                Reply(subscriber, Text, _dialect.Pong);
                break;
            case Text
                when payload.StartsWith("{\"event\":\"bye\""u8) || _dialect.Polling && payload.SequenceEqual("ok"u8):
                break;
            default:
                Others++;
                break;
        }
    }

    private void Reply(int subscriber, int opcode, ReadOnlySpan<byte> payload)
    {
        if (_polls is not null)
        {
            _polls.Post(subscriber, payload);
            return;
        }

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

        frame[(header - 4)..header].Clear();
        payload.CopyTo(frame[header..]);
        Linux.Send(_sockets[subscriber], frame[..(header + payload.Length)]);
    }

    private void End(int subscriber)
    {
        Live -= _states[subscriber] == State.Live ? 1 : 0;
        _states[subscriber] = State.Closed;
        Closed++;
        Linux.Close(_sockets[subscriber]);
    }

    public void Dispose()
    {
        for (var i = 0; i < _opened; i++)
        {
            if (_states[i] != State.Closed)
            {
                Linux.Close(_sockets[i]);
            }
        }
    }
}
