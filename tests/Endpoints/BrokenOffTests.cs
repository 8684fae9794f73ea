namespace Dmb.Tests.Endpoints;

/// <summary>
/// Senders that go away in the middle of a request: nothing of it counts, and nobody has to read of it in the log.
/// </summary>
public sealed class BrokenOffTests
{
    private const int Times = 50;
    private static readonly byte[] Start = """{"a":"0123456789"""u8.ToArray();

    [Theory]
    [InlineData("/_notify/call", "Content-Length: 100")]
    [InlineData("/_notify/call", "Transfer-Encoding: chunked")]
    [InlineData("/_notify/call", "Content-Length: 100\nContent-Encoding: gzip")]
    [InlineData("/_notify/call", "Transfer-Encoding: chunked\nContent-Encoding: gzip")]
    [InlineData("/_notify/call", "Content-Length: 16")]
    [InlineData("/_notify", "Content-Length: 100")]
    [InlineData("/register", "Content-Length: 100")]
    [InlineData("/nothing", "Content-Length: 100")]
    [InlineData("/ws", "Content-Length: 100")]
    public async Task A_body_that_breaks_off_makes_no_warning(string path, string framing)
    {
        await using var node = await Node.StartAsync();
        for (var i = 0; i < Times; i++)
        {
            using var http = await RawHttp.ConnectAsync(node);
            var body = framing.Contains("gzip", StringComparison.Ordinal) ? RawHttp.Gzip(Start)[..16] : Start;
            await http.SendAsync(
                $"POST {path} HTTP/1.1\nHost: localhost\nExpect: 100-continue\n{framing}",
                framing.Contains("chunked", StringComparison.Ordinal) ? [.. "10\r\n"u8, .. body, .. "\r\n"u8] : body
            );
            if (i % 2 == 0)
            {
                // 100 Continue says that the body is being read, anything else that it isn't.
                await http.ReadLineAsync();
            }

            if (i % 4 < 2)
            {
                http.EndSending();
                await http.ReadToEndAsync();
            }
            else
            {
                http.Abort();
            }
        }

        await node.DisposeAsync();
        Assert.Empty(node.Warnings);
    }

    [Fact]
    public async Task A_request_inside_an_incomplete_body_is_not_executed()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        for (var i = 0; i < Times; i++)
        {
            using var http = await RawHttp.ConnectAsync(node);
            var inner =
                "POST /_notify/call HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n\"inner\""u8.ToArray();
            await http.SendAsync("POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: 1000", inner);
            http.EndSending();
            Assert.DoesNotContain("\"ok\":true", await http.ReadToEndAsync(), StringComparison.Ordinal);
        }

        await node.ReachesAsync(client, "call", "\"outer\"");
    }
}
