using System.Net;
using System.Net.Sockets;

namespace Dmb.Bench.Webhooks;

/// <summary>A receiver that accepts connections and never answers.</summary>
internal sealed class Silence : IDisposable
{
    private readonly Socket _socket = new(SocketType.Stream, ProtocolType.Tcp);

    public Silence()
    {
        _socket.Bind(new IPEndPoint(IPAddress.IPv6Any, 0));
        _socket.Listen();
    }

    public int Port => ((IPEndPoint)_socket.LocalEndPoint!).Port;

    public void Dispose() => _socket.Dispose();
}
