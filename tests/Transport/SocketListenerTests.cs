using System.Text;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Transport;

/// <summary>
/// What the server reads and writes passes through sockets of ours, whatever a client does with its side.
/// </summary>
public sealed class SocketListenerTests
{
    private const string Handshake =
        "GET /ws HTTP/1.1\nHost: localhost\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: "
        + "dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13";

    [Fact]
    public async Task Frames_that_come_with_the_handshake_are_handled()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        var subscribe = TestClient.Encode(
            Frame.Text,
            Encoding.UTF8.GetBytes("""{"event":"subscribe","data":"support","ack":1}""")
        );

        // The second frame in two pieces: one with the handshake, the other after it.
        var goodbye = TestClient.Encode(Frame.Close, [3, 232]);
        await http.SendAsync(Handshake, [.. subscribe, .. goodbye[..3]]);
        Assert.Equal(101, (await http.ReadAsync()).Status);
        await http.SendAsync(goodbye[3..]);

        var frames = await http.ReadToEndAsync();

        Assert.Contains("""{"event":"welcome",""", frames, StringComparison.Ordinal);
        Assert.Contains("""{"ack":1,"ok":true,"data":{"room":"support"}}""", frames, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5_000)]
    public async Task A_stream_ends_when_its_client_disconnects_with_any_pipelined_requests(int requests)
    {
        await using var node = await Node.StartAsync();
        using (var http = await RawHttp.ConnectAsync(node))
        {
            await OpenStreamAsync(node, http);
            await http.SendAsync(
                Encoding.ASCII.GetBytes(
                    string.Concat(Enumerable.Repeat("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", requests))
                )
            );
        }

        await node.UntilSessionsInAsync("support", 0, () => node.Time.Advance(TimeSpan.FromSeconds(1)));
    }

    [Fact]
    public async Task A_client_that_has_ended_its_side_keeps_its_stream()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        await OpenStreamAsync(node, http);

        http.EndSending();
        await http.UntilAsync("\n:\n\n");
        await node.NotifyAsync("report_dev", "1");

        await http.UntilAsync("data: 1");
        await node.UntilSessionsInAsync("support", 1);
    }

    [Fact]
    public async Task A_response_to_a_slow_reader_arrives_complete()
    {
        const string Page = "/swagger/swagger-ui-bundle.js";
        const int Times = 8;
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));
        var expected = await node.Http.GetStringAsync(new Uri(node.Url, Page));
        using var http = await RawHttp.ConnectAsync(node.Url.Port);

        // More than the kernel keeps for a connection.
        await http.SendAsync(
            Encoding.ASCII.GetBytes(
                string.Concat(Enumerable.Repeat($"GET {Page} HTTP/1.1\r\nHost: localhost\r\n\r\n", Times))
            )
        );
        await node.NotifyAsync("report_dev", "1");

        for (var i = 0; i < Times; i++)
        {
            Assert.Equal(expected, (await http.ReadAsync()).Body);
        }
    }

    private static async Task OpenStreamAsync(Node node, RawHttp http)
    {
        await http.SendAsync("GET /events?room=support HTTP/1.1\nHost: localhost");
        await node.UntilSessionsInAsync("support", 1);
    }
}
