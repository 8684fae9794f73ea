using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Deploy;

/// <summary>The event socket of a FreeSWITCH, as far as a client of its events sees it.</summary>
internal sealed class FreeSwitch : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

    public FreeSwitch() => _listener.Start();

    /// <summary>Its address, as the bridge takes it.</summary>
    public string Address => $"{_listener.LocalEndpoint}";

    /// <summary>Waits for a client that shows the password and asks for events.</summary>
    public async Task<Client> AcceptAsync()
    {
        var client = new Client(await _listener.AcceptTcpClientAsync().WaitAsync(Node.Patience));
        client.Send("Content-Type: auth/request\n\n"u8);
        var password = await client.CommandAsync();
        client.Send(password == "auth ClueCon" ? Reply("+OK accepted") : Reply("-ERR invalid"));
        if (password == "auth ClueCon")
        {
            Assert.StartsWith("event json CHANNEL_CREATE ", await client.CommandAsync(), StringComparison.Ordinal);
            client.Send(Reply("+OK event listener enabled json"));
        }

        return client;
    }

    public void Dispose() => _listener.Dispose();

    private static byte[] Reply(string text) =>
        Encoding.ASCII.GetBytes($"Content-Type: command/reply\nReply-Text: {text}\n\n");

    /// <summary>A client of it.</summary>
    internal sealed class Client(TcpClient tcp) : IDisposable
    {
        private readonly StreamReader _reader = new(tcp.GetStream());

        /// <summary>The next command.</summary>
        public async Task<string> CommandAsync()
        {
            var command = await _reader.ReadLineAsync().WaitAsync(Node.Patience);
            Assert.Equal("", await _reader.ReadLineAsync().WaitAsync(Node.Patience));
            return command!;
        }

        /// <summary>Sends an event with these headers.</summary>
        public void Event(params (string Name, string Value)[] headers) =>
            Event(
                JsonSerializer.SerializeToUtf8Bytes(headers.ToDictionary(header => header.Name, header => header.Value))
            );

        /// <summary>Sends an event as it stands.</summary>
        public void Event(byte[] json)
        {
            Send(Encoding.ASCII.GetBytes($"Content-Length: {json.Length}\nContent-Type: text/event-json\n\n"));
            Send(json);
        }

        public void Send(ReadOnlySpan<byte> bytes) => tcp.GetStream().Write(bytes);

        public void Dispose() => tcp.Dispose();
    }
}
