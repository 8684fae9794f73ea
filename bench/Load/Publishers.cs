using System.Buffers.Text;
using System.Diagnostics;
using System.Net;
using System.Text;

namespace Dmb.Bench.Load;

/// <summary>
/// Keep-alive HTTP connections, each with at most one publish under way. The request is formatted once; a publish
/// only changes its number, and with rooms of one the room's.
/// </summary>
internal sealed class Publishers : IDisposable
{
    private const int None = -1;
    private const int RoomLength = 6;

    private static readonly string NoRoom = new('0', RoomLength);

    private readonly LoadOptions _options;
    private readonly int[] _sockets;
    private readonly int[] _publish;
    private readonly bool[] _answered;
    private readonly byte[][] _partOfAnswer;
    private readonly int[] _partLength;
    private readonly byte[] _accepted;
    private readonly byte[] _request;
    private readonly int _numberAt;
    private readonly int[] _roomsAt = [];
    private readonly long _interval;
    private long _roundStart;

    public Publishers(LoadOptions options, Dialect dialect, IPEndPoint server, Epoll epoll, int firstInEpoll)
    {
        _options = options;
        _interval = options.Rate == 0 ? 0 : Stopwatch.Frequency / options.Rate;
        _accepted = Encoding.ASCII.GetBytes(dialect.Accepted);
        _sockets = new int[options.InFlight];
        _publish = new int[options.InFlight];
        _answered = new bool[options.InFlight];
        _partOfAnswer = new byte[options.InFlight][];
        _partLength = new int[options.InFlight];
        for (var i = 0; i < options.InFlight; i++)
        {
            _sockets[i] = Linux.Connect(server);
            _publish[i] = None;
            _partOfAnswer[i] = new byte[8 * 1024];
            epoll.Watch(_sockets[i], firstInEpoll + i);
        }

        var data = Data(options);
        var path = dialect.Publish(options.RoomsOfOne ? Subscribers.RoomOf(0) : options.Room);
        _request = Encoding.ASCII.GetBytes(
            $"POST {path} HTTP/1.1\r\nHost: {server}\r\n"
                + $"Content-Type: application/json\r\nContent-Length: {data.Length}\r\n\r\n{data}"
        );
        _numberAt = _request.Length - data.Length + "{\"n\":\"".Length;
        if (options.RoomsOfOne)
        {
            var inPath = path.IndexOf(NoRoom, StringComparison.Ordinal);
            var inData = _numberAt + Dialect.NumberLength + "\",\"endpoint\":\"".Length;
            _roomsAt = inPath < 0 ? [inData] : ["POST ".Length + inPath, inData];
        }
    }

    /// <summary>Ticks of <see cref="Stopwatch"/> from one publish to the next; 0 without a rate.</summary>
    public long Interval => _interval;

    /// <summary>A new round, in which nothing is under way.</summary>
    public void Begin(long now)
    {
        _roundStart = now;
        Array.Fill(_publish, None);
    }

    /// <summary>Sends what is due, as far as connections are free.</summary>
    public void Send(Tally tally, long now)
    {
        for (var i = 0; i < _sockets.Length && tally.Sent < tally.Publishes; i++)
        {
            if (!IsFree(i, tally))
            {
                continue;
            }

            var due = DueAt(tally.Sent, now);
            if (due > now)
            {
                return;
            }

            _publish[i] = tally.NextToSend(i, due);
            _answered[i] = false;
            Format(_numberAt, Dialect.NumberLength, tally.Number(_publish[i]));
            foreach (var at in _roomsAt)
            {
                Format(at, RoomLength, _publish[i] % Math.Max(1, _options.Subscribers));
            }

            Linux.Send(_sockets[i], _request);
        }
    }

    public void Read(int connection, Tally tally, long now)
    {
        var part = _partOfAnswer[connection];
        var read = Linux.Receive(_sockets[connection], part.AsSpan(_partLength[connection]));
        if (read < 0)
        {
            return;
        }

        if (read == 0 || _publish[connection] == None || _answered[connection])
        {
            throw new IOException(
                $"The server closed a publisher's connection, or sent what nobody asked for: "
                    + Encoding.ASCII.GetString(part.AsSpan(0, _partLength[connection] + Math.Max(0, read)))
            );
        }

        _partLength[connection] += read;
        if (TryReadAnswer(part.AsSpan(0, _partLength[connection]), out var ok))
        {
            _partLength[connection] = 0;
            _answered[connection] = true;
            tally.Answer(_publish[connection], ok, now);
        }
    }

    /// <summary>At its fixed time, however late the ones before were; without a rate, as soon as it can be.</summary>
    private long DueAt(int publish, long now) => _interval == 0 ? now : _roundStart + (publish * _interval);

    /// <summary>In the closed loop a publish is under way until all subscribers have it.</summary>
    private bool IsFree(int connection, Tally tally)
    {
        return _publish[connection] == None
            || (_answered[connection] && (_options.Rate > 0 || tally.ReachedAll(_publish[connection])));
    }

    private bool TryReadAnswer(ReadOnlySpan<byte> bytes, out bool ok)
    {
        ok = false;
        var end = bytes.IndexOf("\r\n\r\n"u8);
        if (end < 0)
        {
            return false;
        }

        var body = bytes[(end + 4)..];
        ok = bytes.StartsWith("HTTP/1.1 2"u8) && body.IndexOf(_accepted) >= 0;
        var field = "\r\nContent-Length: "u8;
        var length = bytes[..end].IndexOf(field);
        return length >= 0 && Utf8Parser.TryParse(bytes[(length + field.Length)..], out int size, out _)
            ? body.Length >= size
            : bytes.StartsWith("HTTP/1.1 204 "u8) || body.EndsWith("0\r\n\r\n"u8);
    }

    private static string Data(LoadOptions options)
    {
        var number = new string('0', Dialect.NumberLength);
        var address =
            options.RoomsOfOne ? $",\"endpoint\":\"{NoRoom}\""
            : options.Room.Contains(':', StringComparison.Ordinal) ? $",\"_in\":\"{options.Room}\""
            : "";
        var start = $"{{\"n\":\"{number}\"{address},\"pad\":\"";
        return start + new string('x', Math.Max(0, options.PayloadBytes - start.Length - 2)) + "\"}";
    }

    private void Format(int at, int digits, long number)
    {
        for (var i = at + digits - 1; i >= at; i--, number /= 10)
        {
            _request[i] = (byte)('0' + (number % 10));
        }
    }

    public void Dispose() => Array.ForEach(_sockets, Linux.Close);
}
