using System.IO.Compression;
using System.Text;

namespace Dmb.Tests.Sockets;

/// <summary>docs/protocol.md §4: who gets a session at <c>/ws</c>, and what is agreed on with it.</summary>
public sealed class HandshakeTests
{
    private const string Upgrade = """
        Host: localhost
        Upgrade: websocket
        Connection: Upgrade
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
        Sec-WebSocket-Version: 13
        """;

    [Theory]
    [InlineData("/ws/")]
    [InlineData("/WS")]
    [InlineData("//ws")]
    public async Task Other_spellings_of_the_path_are_the_same_place(string path)
    {
        await using var node = await Node.StartAsync();
        await using var client = await TestClient.ConnectAsync(new Uri($"http://127.0.0.1:{node.Port}{path}"));
        Assert.StartsWith("""{"event":"welcome",""", await client.ReadAsync(), StringComparison.Ordinal);
        await using var foreign = await TestClient.ConnectAsync(
            new Uri($"http://127.0.0.1:{node.Port}{path}"),
            ("Origin", "http://evil.example")
        );
        await Expect.ClosedAsync(4003, reconnect: false, foreign);
    }

    [Fact]
    public async Task The_answer_and_the_welcome_leave_in_one_write()
    {
        await using var node = await Node.StartAsync();
        var request = Encoding.ASCII.GetBytes(("GET /ws HTTP/1.1\n" + Upgrade).ReplaceLineEndings("\r\n") + "\r\n\r\n");

        // The first handshake of a node is served on another thread than later ones.
        for (var handshake = 1; handshake <= 2; handshake++)
        {
            using var tcp = new System.Net.Sockets.TcpClient();
            await tcp.ConnectAsync("127.0.0.1", node.Port);
            await tcp.GetStream().WriteAsync(request);
            var received = new byte[65_536];
            var length = await tcp.GetStream().ReadAsync(received).AsTask().WaitAsync(Node.Patience);
            var text = Encoding.ASCII.GetString(received, 0, length);
            Assert.StartsWith("HTTP/1.1 101 ", text, StringComparison.Ordinal);
            Assert.Contains("""{"event":"welcome",""", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task The_key_is_answered_by_RFC_6455()
    {
        await using var node = await Node.StartAsync();
        var answer = await AskAsync(node, "GET /ws HTTP/1.1\n" + Upgrade);
        Assert.Equal(101, answer.Status);
        Assert.Equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer.Headers["Sec-WebSocket-Accept"]);
    }

    [Theory]
    [InlineData("GET /ws HTTP/1.1\nHost: localhost")]
    [InlineData("GET /ws HTTP/1.1\nHost: localhost\nUpgrade: h2c\nConnection: Upgrade")]
    [InlineData(
        "GET /ws HTTP/1.0\nUpgrade: websocket\nConnection: Upgrade\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13"
    )]
    [InlineData(
        "GET /ws HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\n" + "Sec-WebSocket-Version: 13"
    )]
    [InlineData(
        "GET /ws HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\n"
            + "Sec-WebSocket-Key: short\nSec-WebSocket-Version: 13"
    )]
    [InlineData(
        "GET /ws HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 8"
    )]
    public async Task A_request_that_is_not_a_handshake_is_answered_with_Upgrade_Required(string request)
    {
        await using var node = await Node.StartAsync();
        var answer = await AskAsync(node, request);
        answer.IsProblem(426, "bad_frame");
        Assert.Equal("websocket", answer.Headers["Upgrade"]);
        Assert.Equal("13", answer.Headers["Sec-WebSocket-Version"]);
        Assert.Equal(0, await node.SessionsInAsync("public"));
    }

    [Fact]
    public async Task A_handshake_is_a_GET()
    {
        await using var node = await Node.StartAsync();
        var answer = await AskAsync(node, "POST /ws HTTP/1.1\n" + Upgrade + "\nContent-Length: 0");
        answer.IsProblem(405, "bad_method");
    }

    [Theory]
    [InlineData("https://evil.example")]
    [InlineData("http://localhost")]
    [InlineData("http://localhost.evil.example")]
    [InlineData("null")]
    public async Task A_page_of_a_foreign_origin_is_closed_with_the_reason_and_without_a_welcome(string origin)
    {
        await using var node = await Node.StartAsync();
        await using var client = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"), ("Origin", origin));
        Assert.Equal(4003, (await client.ReadCloseAsync()).Code);
        Assert.Equal(
            """{"event":"bye","data":{"code":4003,"reconnect":false,"after_ms":0}}""",
            Assert.Single(await client.ReadAllAsync())
        );
        Assert.Equal(0, await node.SessionsInAsync("public"));
    }

    [Theory]
    [InlineData("http://localhost:{0}")]
    [InlineData("http://127.0.0.1:{0}")]
    [InlineData("http://[::1]:{0}")]
    [InlineData("https://desk.example.com")]
    public async Task A_page_of_the_broker_or_of_an_allowed_origin_gets_a_session(string origin)
    {
        await using var node = await Node.StartAsync(("AllowedOrigins", "https://desk.example.com,https://b.example"));
        origin = origin.Replace("{0}", $"{node.Port}", StringComparison.Ordinal);
        await using var client = await node.ConnectAsync(("Origin", origin));
        Assert.Empty(await client.ReadAllAsync());
    }

    [Theory]
    [InlineData("dmb.v1", true)]
    [InlineData("other, dmb.v1", true)]
    [InlineData("other", false)]
    public async Task The_subprotocol_is_chosen_when_it_is_offered(string offered, bool chosen)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync(("Sec-WebSocket-Protocol", offered));
        Assert.Equal(chosen ? "dmb.v1" : null, client.Header("Sec-WebSocket-Protocol"));
    }

    [Fact]
    public async Task Sessions_above_the_limit_are_refused_with_a_retry()
    {
        await using var node = await Node.StartAsync(("MaxSessions", "2"));
        await using var first = await node.ConnectAsync();
        await using (var second = await node.ConnectAsync())
        {
            var answer = await AskAsync(node, "GET /ws HTTP/1.1\n" + Upgrade);
            answer.IsProblem(503, "rate_limited");
            Assert.InRange(int.Parse(answer.Headers["Retry-After"], null), 1, 60);

            await second.SendFrameAsync(Frame.Close, []);
            await second.ReadCloseAsync();
            await second.ReadEndAsync();
        }

        await node.UntilSessionsInAsync("public", 1);
        await using var third = await node.ConnectAsync();
        Assert.Empty(await third.ReadAllAsync());
    }

    [Fact]
    public async Task Compression_is_off_by_default()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync(("Sec-WebSocket-Extensions", "permessage-deflate"));
        Assert.Null(client.Header("Sec-WebSocket-Extensions"));

        await client.SendFrameAsync(Frame.Text, Deflate("""{"event":"call"}"""), rsv: 4);
        Assert.Equal(1002, (await client.ReadCloseAsync()).Code);
    }

    [Fact]
    public async Task Compressed_messages_go_both_ways_when_it_is_on()
    {
        await using var node = await Node.StartAsync(("WsCompression", "true"));
        await using var plain = await node.JoinAsync("calls");
        await using var client = await TestClient.ConnectAsync(
            new Uri(node.Url, "/ws"),
            ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        );
        Assert.Matches("^permessage-deflate;.*server_no_context_takeover", client.Header("Sec-WebSocket-Extensions"));
        Assert.StartsWith("""{"event":"welcome",""", Text(await client.ReadFrameAsync()), StringComparison.Ordinal);

        await client.SendFrameAsync(Frame.Text, Deflate("""{"event":"join","data":"calls"}"""), rsv: 4);
        Assert.Equal("""{"event":"joined","data":"calls"}""", Text(await client.ReadFrameAsync()));

        for (var i = 0; i < 3; i++)
        {
            var data = $"\"{new string('x', 1000)}{i}\"";
            await client.SendFrameAsync(Frame.Text, Deflate($$"""{"event":"call","data":{{data}}}"""), rsv: 4);
            var frame = await client.ReadFrameAsync();
            Assert.Equal(4, frame.Rsv);
            Assert.InRange(frame.Payload.Length, 1, 200);
            Assert.StartsWith($$"""{"event":"call","data":{{data}},"id":""", Text(frame), StringComparison.Ordinal);
            Assert.Equal(data, await plain.ReadDataAsync("call"));
        }
    }

    [Fact]
    public async Task A_client_that_can_inflate_only_a_small_window_gets_plain_messages()
    {
        await using var node = await Node.StartAsync(("WsCompression", "true"));
        await using var client = await node.ConnectAsync(
            ("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=9")
        );
        await client.AckAsync("join", "\"calls\"");
        await node.NotifyAsync("call", $"\"{new string('x', 10_000)}\"");
        Assert.Equal(0, (await client.ReadFrameAsync()).Rsv);
    }

    [Fact]
    public async Task The_limit_applies_to_the_decompressed_message()
    {
        await using var node = await Node.StartAsync(("WsCompression", "true"), ("MaxMessageBytes", "1024"));
        await using var client = await node.ConnectAsync(("Sec-WebSocket-Extensions", "permessage-deflate"));
        await client.SendFrameAsync(Frame.Text, Deflate(new string(' ', 1_000_000)), rsv: 4);
        Assert.Equal(1009, (await client.ReadCloseAsync()).Code);
    }

    private static async Task<RawAnswer> AskAsync(Node node, string head)
    {
        using var http = await RawHttp.ConnectAsync(node);
        await http.SendAsync(head);
        return await http.ReadAsync();
    }

    private static byte[] Deflate(string text)
    {
        using var deflated = new MemoryStream();
        using var deflate = new DeflateStream(deflated, CompressionLevel.Optimal);
        deflate.Write(Encoding.UTF8.GetBytes(text));
        deflate.Flush();

        // RFC 7692 §7.2.1: the empty block that a flush ends with is not sent.
        return deflated.ToArray()[..^4];
    }

    private static string Text(Frame frame)
    {
        if (frame.Rsv == 0)
        {
            return Encoding.UTF8.GetString(frame.Payload);
        }

        // The empty block that was not sent, and a last one.
        using var deflated = new MemoryStream([.. frame.Payload, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff]);
        using var inflate = new DeflateStream(deflated, CompressionMode.Decompress);
        using var reader = new StreamReader(inflate, Encoding.UTF8);
        return reader.ReadToEnd();
    }
}
