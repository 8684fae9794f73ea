using System.Buffers.Binary;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;

namespace Dmb.Tests.Support;

/// <summary>A frame as it came, see RFC 6455 §5.2. <c>Rsv</c> holds the three reserved bits, RSV1 is 4.</summary>
public sealed record Frame(int Opcode, bool Fin, int Rsv, byte[] Payload)
{
    public const int Continuation = 0,
        Text = 1,
        Binary = 2,
        Close = 8,
        Ping = 9,
        Pong = 10;
}

/// <summary>
/// A WebSocket client made of a bare socket, so that it can also misbehave. One reader at a time. Its receive buffer
/// is small, so that the other side soon feels it when nobody reads.
/// </summary>
public sealed partial class TestClient : IAsyncDisposable
{
    private const int NoCode = 1005;
    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly TcpClient _tcp = new() { NoDelay = true, ReceiveBufferSize = 64 * 1024 };
    private readonly SemaphoreSlim _writing = new(1);
    private readonly Queue<string> _kept = new();
    private Stream _stream = Stream.Null;
    private (int Code, string Reason)? _closed;
    private string[] _head = [];
    private int _ack;

    private TestClient() { }

    /// <summary>Whether reading answers the pings that it meets.</summary>
    public bool AnswersPings { get; set; } = true;

    /// <summary>Opens a session. Its first message, the welcome, is still to be read.</summary>
    public static async Task<TestClient> ConnectAsync(Uri url, params (string Name, string Value)[] headers)
    {
        var client = new TestClient();
        await client._tcp.ConnectAsync(url.Host, url.Port).WaitAsync(Node.Patience);
        client._stream = client._tcp.GetStream();

        var key = Convert.ToBase64String(RandomNumberGenerator.GetBytes(16));
        string[] lines =
        [
            $"GET {url.PathAndQuery} HTTP/1.1",
            $"Host: {url.Authority}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            $"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            .. headers.Select(header => $"{header.Name}: {header.Value}"),
            "",
            "",
        ];
        await client.SendBytesAsync(Encoding.ASCII.GetBytes(string.Join("\r\n", lines)));
        client._head = await client.ReadHeadAsync();
        return client._head[0] == "HTTP/1.1 101 Switching Protocols" ? client : throw new IOException(client._head[0]);
    }

    /// <summary>A header of the answer to the handshake, or null.</summary>
    public string? Header(string name)
    {
        return _head
            .FirstOrDefault(line => line.StartsWith(name + ": ", StringComparison.OrdinalIgnoreCase))
            ?[(name.Length + 2)..];
    }

    public Task SendAsync(string text)
    {
        return SendFrameAsync(Frame.Text, Encoding.UTF8.GetBytes(text));
    }

    public Task SendFrameAsync(int opcode, byte[] payload, bool fin = true, int rsv = 0, bool masked = true)
    {
        return SendBytesAsync(Encode(opcode, payload, fin, rsv, masked));
    }

    public async Task SendBytesAsync(byte[] bytes)
    {
        await _writing.WaitAsync();
        try
        {
            await _stream.WriteAsync(bytes).AsTask().WaitAsync(Node.Patience);
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>
    /// Sends an event with an ack of its own and returns the answer to it; what came before stays to be read.
    /// </summary>
    public Task<string> AckAsync(string @event, string data) => AskAsync(@event, data).WaitAsync(Node.Patience);

    /// <summary>The next text message. Throws when the session is closed and nothing is left to read.</summary>
    public Task<string> ReadAsync() => NextAsync().WaitAsync(Node.Patience);

    /// <summary>The same, however long it takes, as long as the other side pings.</summary>
    public async Task<string> NextAsync()
    {
        return _kept.TryDequeue(out var text) ? text : await ReceiveAsync() ?? throw Closed();
    }

    /// <summary>The data of the next message, byte for byte; it must be of this event.</summary>
    public async Task<string> ReadDataAsync(string @event)
    {
        var text = await ReadAsync();
        var head = $$"""{"event":"{{@event}}","data":""";
        Assert.StartsWith(head, text, StringComparison.Ordinal);
        var match = MessageEnd().Match(text);
        Assert.True(match.Success, text);
        return text[head.Length..match.Index];
    }

    /// <summary>All that was sent to this client by now and isn't read yet.</summary>
    public async Task<string[]> ReadAllAsync()
    {
        if (_closed is null)
        {
            await AckAsync("no_such_event", "null");
        }

        var texts = _kept.ToArray();
        _kept.Clear();
        return texts;
    }

    /// <summary>What the close frame said; what came before it stays to be read.</summary>
    public async Task<(int Code, string Reason)> ReadCloseAsync()
    {
        while (await ReceiveAsync() is { } text)
        {
            _kept.Enqueue(text);
        }

        return _closed!.Value;
    }

    /// <summary>The next frame, whatever it is, unanswered.</summary>
    public async Task<Frame> ReadFrameAsync()
    {
        var head = await ReadBytesAsync(2);
        long length = head[1] switch
        {
            126 => BinaryPrimitives.ReadUInt16BigEndian(await ReadBytesAsync(2)),
            127 => BinaryPrimitives.ReadInt64BigEndian(await ReadBytesAsync(8)),
            < 126 => head[1],
            _ => throw new InvalidDataException("The server masked a frame."),
        };
        return new Frame(head[0] & 15, head[0] >= 128, (head[0] >> 4) & 7, await ReadBytesAsync((int)length));
    }

    /// <summary>Reads on until the other side has ended the connection, in whatever way.</summary>
    public async Task ReadEndAsync()
    {
        try
        {
            await _stream.CopyToAsync(Stream.Null).WaitAsync(Node.Patience);
        }
        catch (IOException)
        {
            // With a reset.
        }
    }

    /// <summary>Ends this side of the connection; what the other side still sends can be read.</summary>
    public void EndSending() => _tcp.Client.Shutdown(SocketShutdown.Send);

    /// <summary>Cuts the connection without a word, with a reset.</summary>
    public void Reset()
    {
        _tcp.Client.LingerState = new LingerOption(enable: true, seconds: 0);
        _tcp.Client.Close();
    }

    public ValueTask DisposeAsync()
    {
        _tcp.Dispose();
        _writing.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>The bytes of a frame from a client.</summary>
    public static byte[] Encode(int opcode, byte[] payload, bool fin = true, int rsv = 0, bool masked = true)
    {
        var bytes = new List<byte> { (byte)((fin ? 128 : 0) | (rsv << 4) | opcode) };
        var mask = masked ? 128 : 0;
        var length = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(length, payload.Length);
        bytes.AddRange(
            payload.Length switch
            {
                < 126 => [(byte)(mask | payload.Length)],
                < 65_536 => [(byte)(mask | 126), .. length[6..]],
                _ => [(byte)(mask | 127), .. length],
            }
        );
        if (!masked)
        {
            return [.. bytes, .. payload];
        }

        var key = RandomNumberGenerator.GetBytes(4);
        return [.. bytes, .. key, .. payload.Select((value, i) => (byte)(value ^ key[i % 4]))];
    }

    [GeneratedRegex(
        ""","id":"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"(,"room":"[^"]*","pos":"[^"]*")?}$"""
    )]
    private static partial Regex MessageEnd();

    private async Task<string> AskAsync(string @event, string data)
    {
        var ack = Interlocked.Increment(ref _ack);
        await SendAsync($$"""{"event":"{{@event}}","data":{{data}},"ack":{{ack}}}""");
        while (true)
        {
            var text = await ReceiveAsync() ?? throw Closed();
            if (text.StartsWith($$"""{"ack":{{ack}},""", StringComparison.Ordinal))
            {
                return text;
            }

            _kept.Enqueue(text);
        }
    }

    private async Task<string?> ReceiveAsync()
    {
        var message = new List<byte>();
        while (_closed is null)
        {
            var frame = await ReadFrameAsync();
            switch (frame.Opcode)
            {
                case Frame.Ping when AnswersPings:
                    await SendFrameAsync(Frame.Pong, frame.Payload);
                    break;
                case Frame.Close:
                    _closed = frame.Payload is [var high, var low, .. var reason]
                        ? ((high << 8) | low, Utf8.GetString(reason))
                        : (NoCode, "");
                    break;
                case Frame.Text or Frame.Continuation:
                    message.AddRange(frame.Payload);
                    if (frame.Fin)
                    {
                        return Utf8.GetString([.. message]);
                    }

                    break;
                default:
                    break;
            }
        }

        return null;
    }

    private EndOfStreamException Closed()
    {
        return new EndOfStreamException($"Closed with {_closed}.");
    }

    private async Task<string[]> ReadHeadAsync()
    {
        var head = new StringBuilder();
        while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            head.Append((char)(await ReadBytesAsync(1))[0]);
        }

        return head.ToString().Split("\r\n");
    }

    private async Task<byte[]> ReadBytesAsync(int count)
    {
        var bytes = new byte[count];
        await _stream.ReadExactlyAsync(bytes).AsTask().WaitAsync(Node.Patience);
        return bytes;
    }
}
