using System.Net;
using System.Net.Sockets;
using System.Text;
using BenchmarkDotNet.Attributes;
using Dmb.Routing;

namespace Dmb.Bench.Micro;

/// <summary>
/// A push over a real connection to the whole server in this process, answered and delivered: what is allocated is the
/// server's, since the client allocates nothing. The times are those of one push at a time.
/// </summary>
public class PushBenchmarks : IDisposable
{
    private readonly List<Socket> _sockets = [];
    private readonly byte[] _buffer = new byte[65_536];
    private Socket _publisher = null!;
    private byte[] _push = [];

    /// <summary>Sessions in the room.</summary>
    [Params(0, 1, 10)]
    public int Subscribers { get; set; }

    /// <summary>Whether they speak Socket.IO, over a WebSocket.</summary>
    [Params(false, true)]
    public bool SocketIo { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        var port = Server.Value;
        for (var i = 0; i < Subscribers; i++)
        {
            var subscriber = Connect(port);
            var path = SocketIo ? "/socket.io/?EIO=4&transport=websocket" : "/ws";
            Send(
                subscriber,
                $"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            );
            if (SocketIo)
            {
                Until(subscriber, "\"sid\"");
                SendFrame(subscriber, "40");
                Until(subscriber, "40{");
                SendFrame(subscriber, "421[\"subscribe\",\"calls\"]");
                Until(subscriber, "431[");
            }
            else
            {
                Until(subscriber, "\"welcome\"");
                SendFrame(subscriber, "{\"event\":\"subscribe\",\"data\":\"calls\",\"ack\":1}");
                Until(subscriber, "\"ack\":1");
            }
        }

        _publisher = Connect(port);
        var body = TestBroker.Data(200, "\"endpoint\":\"1234\"");
        _push =
        [
            .. Encoding.ASCII.GetBytes(
                "POST /_notify/call HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                    + $"application/json\r\nContent-Length: {body.Length}\r\n\r\n"
            ),
            .. body,
        ];
        for (var i = 0; i < 10_000; i++)
        {
            Push();
        }
    }

    [Benchmark]
    public void Push()
    {
        _publisher.Send(_push);
        _publisher.Receive(_buffer);
        foreach (var subscriber in System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_sockets)[..Subscribers])
        {
            subscriber.Receive(_buffer);
        }
    }

    [GlobalCleanup]
    public void Dispose()
    {
        foreach (var socket in _sockets)
        {
            socket.Dispose();
        }

        _sockets.Clear();
        GC.SuppressFinalize(this);
    }

    /// <summary>The server, once for all runs: it ends with the process.</summary>
    private static readonly Lazy<int> Server = new(() =>
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        var port = ((IPEndPoint)probe.LocalEndpoint).Port;
        probe.Stop();
        var main = typeof(RoutingOptions).Assembly.EntryPoint!;

        // The subscribers send nothing after their subscribe, for longer than a client may be silent.
        string[] settings =
        [
            $"--Dmb:Port={port}",
            "--Dmb:RedisHost=none",
            "--Dmb:PingInterval=3600",
            "--Dmb:SilentTimeout=7200",
        ];
        new Thread(() => main.Invoke(null, [settings])) { IsBackground = true }.Start();
        while (true)
        {
            try
            {
                using var trial = new TcpClient("127.0.0.1", port);
                return port;
            }
            catch (SocketException)
            {
                // Not yet.
            }
        }
    });

    private Socket Connect(int port)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.Connect(IPAddress.Loopback, port);
        _sockets.Add(socket);
        return socket;
    }

    private static void Send(Socket socket, string text) => socket.Send(Encoding.ASCII.GetBytes(text));

    /// <summary>Sends one text frame, masked with zeros.</summary>
    private static void SendFrame(Socket socket, string text) =>
        socket.Send([0x81, (byte)(0x80 | text.Length), 0, 0, 0, 0, .. Encoding.ASCII.GetBytes(text)]);

    private void Until(Socket socket, string text)
    {
        var seen = "";
        while (!seen.Contains(text, StringComparison.Ordinal))
        {
            seen += Encoding.ASCII.GetString(_buffer, 0, socket.Receive(_buffer));
        }
    }
}
