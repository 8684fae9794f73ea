using Dmb.Tests.Access;

namespace Dmb.Tests.Endpoints;

/// <summary>Rules of HTTP that hold for each request, whichever way it comes in (docs/protocol.md §3).</summary>
public sealed class HttpEdgesTests
{
    /// <summary>A header outside the fast path's allow-list, which makes a push Kestrel's.</summary>
    private const string Kestrels = "X-Not-Listed: 1";

    [Theory]
    [InlineData("evil.example", 421)]
    [InlineData("evil.example:8082", 421)]
    [InlineData("localhost.evil.example", 421)]
    [InlineData("192.0.2.1", 421)]
    [InlineData("localhost", 200)]
    [InlineData("LOCALHOST.:1", 200)]
    [InlineData("dmb.localhost", 200)]
    [InlineData("127.0.0.1:8082", 200)]
    [InlineData("[::1]:8082", 200)]
    [InlineData("desk.example", 200)]
    [InlineData("dmb.example:80", 200)]
    public async Task A_node_on_loopback_without_credentials_serves_loopback_and_allowed_names_only(
        string host,
        int status
    )
    {
        await using var node = await Node.StartAsync(
            ("AllowedOrigins", "https://desk.example"),
            ("AllowedHosts", "dmb.example")
        );
        foreach (var request in new[] { "GET /rooms/support", "GET /register", "GET /metrics", "POST /_notify/call" })
        {
            foreach (var header in new[] { "Accept: */*", Kestrels })
            {
                var answer = await AskAsync(node, $"{request} HTTP/1.1\nHost: {host}\n{header}");
                Assert.Equal(status, answer.Status);
                if (status == 421)
                {
                    answer.IsProblem(421, "forbidden_host");
                }
            }
        }
    }

    [Fact]
    public async Task A_page_does_not_choose_its_host_by_the_headers_of_a_proxy()
    {
        await using var node = await Node.StartAsync(("TrustedProxies", "127.0.0.1"));
        var answer = await AskAsync(
            node,
            "GET /rooms/support HTTP/1.1\nHost: evil.example\nX-Forwarded-Host: localhost"
        );
        answer.IsProblem(421, "forbidden_host");
    }

    [Fact]
    public async Task A_node_with_credentials_serves_any_host_unless_hosts_are_configured()
    {
        var key = $"X-Api-Key: {GuardedNode.SecretOf("admin")}";
        await using var open = await Node.StartAsync(("Keys", GuardedNode.Keys));
        Assert.Equal(200, (await AskAsync(open, $"POST /_notify/call HTTP/1.1\nHost: any.example\n{key}")).Status);

        await using var limited = await Node.StartAsync(("Keys", GuardedNode.Keys), ("AllowedHosts", "dmb.example"));
        Assert.Equal(200, (await AskAsync(limited, $"POST /_notify/call HTTP/1.1\nHost: dmb.example\n{key}")).Status);
        Assert.Equal(421, (await AskAsync(limited, $"POST /_notify/call HTTP/1.1\nHost: any.example\n{key}")).Status);
    }

    [Theory]
    [InlineData("+2")]
    [InlineData("-2")]
    [InlineData("0x2")]
    [InlineData("2 2")]
    [InlineData("2, 2")]
    [InlineData("99999999999999999999")]
    public async Task A_content_length_that_is_not_digits_only_is_refused_on_both_ways(string length)
    {
        await using var node = await Node.StartAsync();
        foreach (var header in new[] { "Accept: */*", Kestrels })
        {
            using var http = await RawHttp.ConnectAsync(node);
            await http.SendAsync(
                $"POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: {length}\n{header}",
                (byte)'{',
                (byte)'}'
            );
            var answer = await http.ReadAsync();
            Assert.Equal((400, true), (answer.Status, answer.SaysClose));
        }
    }

    [Theory]
    [InlineData("/")]
    [InlineData("/rooms/support")]
    [InlineData("/register")]
    [InlineData("/healthz")]
    [InlineData("/readyz")]
    [InlineData("/metrics")]
    [InlineData("/openapi.yaml")]
    [InlineData("/nowhere")]
    public async Task HEAD_is_answered_as_GET_without_a_body(string path)
    {
        await using var node = await Node.StartAsync();
        using var get = await node.Http.GetAsync(path);
        using var request = new HttpRequestMessage(HttpMethod.Head, path);
        using var head = await node.Http.SendAsync(request);
        Assert.Equal(get.StatusCode, head.StatusCode);
        Assert.Equal($"{get.Content.Headers.ContentType}", $"{head.Content.Headers.ContentType}");
        Assert.Empty(await head.Content.ReadAsByteArrayAsync());
    }

    [Fact]
    public async Task The_authority_of_an_absolute_target_wins_over_the_host()
    {
        await using var node = await Node.StartAsync();
        Assert.Equal(
            200,
            (await AskAsync(node, "POST http://localhost/_notify/call HTTP/1.1\nHost: evil.example")).Status
        );
        Assert.Equal(
            421,
            (await AskAsync(node, "POST http://evil.example/_notify/call HTTP/1.1\nHost: localhost")).Status
        );
    }

    [Fact]
    public async Task A_transfer_encoding_of_HTTP_1_0_ends_the_connection_after_the_answer()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        await http.SendAsync(
            "POST /_notify/call HTTP/1.0\nHost: localhost\nConnection: keep-alive\nTransfer-Encoding: chunked",
            "2\r\n{}\r\n0\r\n\r\n"u8.ToArray()
        );
        Assert.Equal("close", (await http.ReadAsync()).Headers["Connection"]);
        Assert.Equal("", await http.ReadToEndAsync());
    }

    [Theory]
    [InlineData("/")]
    [InlineData("/swagger/index.html")]
    public async Task Pages_are_in_no_frame_and_tell_no_other_site_where_they_are(string path)
    {
        await using var node = await Node.StartAsync();
        using var answer = await node.Http.GetAsync(path);
        Assert.Equal("nosniff", Assert.Single(answer.Headers.GetValues("X-Content-Type-Options")));
        Assert.Equal("no-referrer", Assert.Single(answer.Headers.GetValues("Referrer-Policy")));
        Assert.Contains(
            "frame-ancestors 'none'",
            Assert.Single(answer.Headers.GetValues("Content-Security-Policy")),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("Accept: */*")]
    [InlineData(Kestrels)]
    public async Task Bodies_that_come_in_part_are_held_up_to_a_limit_over_all_connections(string header)
    {
        const int Length = 66_000;
        await using var node = await Node.StartAsync(("MaxUnfinishedBytes", "65536"));
        var head = $"POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: {Length}\n{header}";
        var part = new byte[Length - 2_000];
        Array.Fill(part, (byte)'1');
        using var first = await RawHttp.ConnectAsync(node);
        using var second = await RawHttp.ConnectAsync(node);
        await first.SendAsync(head, part);
        await second.SendAsync(head, part);

        // One of them is refused; the other is complete and answered.
        var refused = await await Task.WhenAny(first.ReadAsync(), second.ReadAsync());
        Assert.Equal((503, "1"), (refused.Status, refused.Headers["Retry-After"]));
        Assert.Equal(200, (await AskAsync(node, "POST /_notify/call HTTP/1.1\nHost: localhost")).Status);
    }

    [Theory]
    [InlineData("Accept: */*")]
    [InlineData(Kestrels)]
    public async Task A_caller_that_may_not_push_is_refused_at_the_end_of_the_head(string header)
    {
        await using var node = await Node.StartAsync(("Keys", GuardedNode.Keys));
        using var http = await RawHttp.ConnectAsync(node);
        await http.SendAsync(
            $"POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: 262000\n{header}",
            "{"u8.ToArray()
        );
        Assert.Equal(401, (await http.ReadAsync()).Status);
    }

    [Theory]
    [InlineData("Accept: */*")]
    [InlineData(Kestrels)]
    public async Task Wrong_keys_of_one_address_are_throttled_and_a_right_one_is_not(string header)
    {
        await using var node = await Node.StartAsync(("Keys", GuardedNode.Keys), ("FailureRate", "3"));
        string Push(string key) => $"POST /_notify/call HTTP/1.1\nHost: localhost\n{header}\nX-Api-Key: {key}";
        var statuses = new List<int>();
        for (var i = 0; i < 4; i++)
        {
            statuses.Add((await AskAsync(node, Push($"guess-{i}"))).Status);
        }

        Assert.Equal([401, 401, 401, 429], statuses);
        Assert.Equal(200, (await AskAsync(node, Push(GuardedNode.SecretOf("admin")))).Status);
    }

    private static async Task<RawAnswer> AskAsync(Node node, string head)
    {
        using var http = await RawHttp.ConnectAsync(node);
        var isPush = head.StartsWith("POST", StringComparison.Ordinal);
        await http.SendAsync(isPush ? head + "\nContent-Length: 2" : head, isPush ? "{}"u8.ToArray() : []);
        return await http.ReadAsync();
    }
}
