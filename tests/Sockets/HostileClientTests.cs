using System.Net.Sockets;
using System.Text;

namespace Dmb.Tests.Sockets;

/// <summary>What comes from sockets may be anything: no other client notices.</summary>
public sealed class HostileClientTests
{
    private static readonly string[] Frames =
    [
        """{"event":"subscribe","data":["a:1","b:2"],"ack":1}""",
        """{"event":"configure","data":{"calls":true},"ack":"x"}""",
        """{"event":"call","data":{"_in":["a:1"],"endpoint":"\u0031"}}""",
        """{"event":"register","data":{"event":"mine","default_room":"calls"}}""",
    ];

    [Fact]
    public async Task Random_bytes_do_not_affect_other_sessions()
    {
        await using var node = await Node.StartAsync();
        await using var other = await node.JoinAsync("support");
        for (var seed = 1; seed <= 200; seed++)
        {
            var random = new Random(seed);
            var bytes = new byte[random.Next(1, 5000)];
            random.NextBytes(bytes);
            await AttackAsync(node, bytes);
        }

        await node.NotifyAsync("report_dev", "1");
        Assert.Equal("1", await other.ReadDataAsync("report_dev"));
        await node.UntilSessionsInAsync("public", 1);
    }

    [Fact]
    public async Task Randomly_corrupted_frames_do_not_affect_other_sessions()
    {
        await using var node = await Node.StartAsync();
        await using var other = await node.JoinAsync("support");
        for (var seed = 1; seed <= 200; seed++)
        {
            var random = new Random(seed);
            var bytes = new List<byte>();
            for (var i = 0; i < 8; i++)
            {
                var text = Encoding.UTF8.GetBytes(Frames[random.Next(Frames.Length)]);
                text[random.Next(text.Length)] = (byte)random.Next(32, 128);
                var frame = TestClient.Encode(Frame.Text, text[..random.Next(text.Length / 2, text.Length + 1)]);
                frame[random.Next(6) * random.Next(2)] ^= (byte)(1 << random.Next(8));
                bytes.AddRange(frame);
            }

            await AttackAsync(node, [.. bytes]);
        }

        await node.NotifyAsync("report_dev", "1");
        Assert.Equal("1", await other.ReadDataAsync("report_dev"));
        await node.UntilSessionsInAsync("public", 1);
    }

    [Theory]
    [InlineData("")]
    [InlineData("G")]
    [InlineData("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: a")]
    [InlineData("GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Slow: a")]
    public async Task A_connection_without_a_complete_handshake_is_closed_and_one_with_it_is_kept(string begin)
    {
        await using var node = await NodeProcess.StartAsync(("DMB_HEADERS_TIMEOUT", "1"));
        using var kept = await RawHttp.ConnectAsync(node.Url.Port);
        Assert.Equal(200, (await kept.AskAsync("GET /healthz")).Status);
        using var slow = await RawHttp.ConnectAsync(node.Url.Port);
        await slow.SendAsync(Encoding.ASCII.GetBytes(begin));

        var end = await slow.ReadToEndAsync();

        Assert.StartsWith(begin.Length == 0 ? "" : "HTTP/1.1 408 ", end, StringComparison.Ordinal);
        Assert.Equal(begin.Length == 0, end.Length == 0);
        Assert.Equal(200, (await kept.AskAsync("GET /healthz")).Status);
    }

    public static TheoryData<string> Floods => ["ping", "join", "publish", "request"];

    [Theory]
    [MemberData(nameof(Floods))]
    public async Task Floods_on_many_connections_leave_room_for_everybody_else(string kind)
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));
        await using var honest = await node.JoinAsync("support");
        byte[] one = kind switch
        {
            "ping" => TestClient.Encode(Frame.Ping, []),
            "join" => [.. Text("""{"event":"join","data":"a:1"}"""), .. Text("""{"event":"leave","data":"a:1"}""")],
            "publish" => Text("""{"event":"trace","data":1}"""),
            _ => Encoding.ASCII.GetBytes("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        };
        var block = Enumerable.Repeat(one, 60_000 / one.Length).SelectMany(bytes => bytes).ToArray();
        using var over = new CancellationTokenSource();
        var floods = Enumerable
            .Range(0, 8)
            .Select(_ => Task.Run(() => FloodAsync(node.Url.Port, kind == "request", block, over.Token)))
            .ToArray();
        for (var i = 0; i < 50; i++)
        {
            await node.NotifyAsync("report_dev", $"{i}");
            Assert.Equal($"{i}", await honest.ReadDataAsync("report_dev"));
        }

        await over.CancelAsync();
        Assert.True((await Task.WhenAll(floods)).Sum() > 1_000_000);
    }

    private static byte[] Text(string text) => TestClient.Encode(Frame.Text, Encoding.UTF8.GetBytes(text));

    /// <summary>Sends as fast as is taken, and throws away what comes; gives how many bytes were sent.</summary>
    private static async Task<long> FloodAsync(int port, bool isHttp, byte[] block, CancellationToken over)
    {
        using var tcp = new TcpClient();
        await tcp.ConnectAsync("127.0.0.1", port, CancellationToken.None);
        var stream = tcp.GetStream();
        if (!isHttp)
        {
            await stream.WriteAsync(
                "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"u8.ToArray(),
                CancellationToken.None
            );
        }

        var reading = stream.CopyToAsync(Stream.Null, over);
        var sent = 0L;
        try
        {
            while (!over.IsCancellationRequested)
            {
                await stream.WriteAsync(block, over);
                sent += block.Length;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or IOException)
        {
            // It is over, or the node has closed it.
        }

        await Task.WhenAny(reading);
        return sent;
    }

    private static async Task AttackAsync(Node node, byte[] bytes)
    {
        await using var client = await node.ConnectAsync();
        try
        {
            foreach (var part in bytes.Chunk(1000))
            {
                await client.SendBytesAsync(part);
            }

            client.EndSending();
        }
        catch (IOException)
        {
            // The node closed it before all was sent.
        }

        await client.ReadEndAsync();
    }
}
