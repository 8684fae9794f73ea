using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Dmb.Bench.Backends;

/// <summary>
/// A connection that sends at once, and waits for what comes, for some seconds at most: then a
/// <see cref="SocketException"/>.
/// </summary>
internal class Connection : IDisposable
{
    private const int PatienceMs = 5_000;

    private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
    {
        NoDelay = true,
        ReceiveTimeout = PatienceMs,
    };
    private readonly byte[] _buffer = new byte[64 * 1024];
    private int _start;
    private int _end;

    public Connection(IPEndPoint server) => _socket.Connect(server);

    /// <summary>Whether something is there to be read.</summary>
    protected bool IsReadable => _start < _end || _socket.Available > 0;

    protected void Send(ReadOnlySpan<byte> bytes) => _socket.Send(bytes);

    protected byte ReadByte()
    {
        if (_start == _end)
        {
            (_start, _end) = (0, _socket.Receive(_buffer));
            if (_end == 0)
            {
                throw new IOException("The other side closed the connection.");
            }
        }

        return _buffer[_start++];
    }

    protected byte[] Read(int count)
    {
        var bytes = new byte[count];
        for (var i = 0; i < count; i++)
        {
            bytes[i] = ReadByte();
        }

        return bytes;
    }

    /// <summary>Up to a line break, without it.</summary>
    protected string ReadLine()
    {
        var line = new StringBuilder();
        for (var next = ReadByte(); next != '\n'; next = ReadByte())
        {
            line.Append((char)next);
        }

        return line.ToString().TrimEnd('\r');
    }

    public void Dispose() => _socket.Dispose();
}
