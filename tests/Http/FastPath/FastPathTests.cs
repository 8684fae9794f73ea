using System.Diagnostics.Metrics;
using System.Text;
using System.Text.RegularExpressions;
using Dmb.Http.FastPath;
using Dmb.Tests.Access;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Http.FastPath;

/// <summary>Both ways of a push, through Kestrel and before it: the answers are the same.</summary>
public sealed partial class FastPathTests
{
    /// <summary>A header outside the allow-list, which makes a request Kestrel's.</summary>
    private const string Kestrels = "X-Not-Listed: 1";

    private const string Handshake =
        "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: "
        + "dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13";

    [Theory]
    [InlineData("call", "{}")]
    [InlineData("call", "")]
    [InlineData("call", " \t\r\n")]
    [InlineData("call", "\u00EF\u00BB\u00BF[1]")]
    [InlineData("call", "\"\u00E9\"")]
    [InlineData("call", "{")]
    [InlineData("call", "{} {}")]
    [InlineData("call", "{\"_in\":[\"a:1\",\"a:2\",\"a:3\"]}")]
    [InlineData("call", "\"0123456789012345678901234567890123456789012345678901234567890123456789\"")]
    [InlineData("unheard", "{}")]
    [InlineData("a,b", "{}")]
    [InlineData("c%61ll", "{}")]
    [InlineData("call/", "{}")]
    [InlineData("call?x=1", "{}")]
    [InlineData(
        "call",
        "{}",
        "Idempotency-Key: the-key-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789"
    )]
    [InlineData("call", "{}", "Idempotency-Key: ")]
    [InlineData("call", "{}", "Connection: close")]
    [InlineData("call", "{}", "Origin: https://evil.example")]
    [InlineData("call", "{}", "Prefer: handling=strict")]
    [InlineData("call", "{}", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    [InlineData("call", "{}", "Expect: 100-continue")]
    [InlineData(
        "call",
        "{}",
        "DNT: 1\nVia: 1.1 proxy\nPragma: no-cache\nCookie: a=b\nSec-GPC: 1\nbaggage: a=b\nPriority: u=1\nX-Scheme: "
            + "https"
    )]
    [InlineData(
        "call",
        "{}",
        "Forwarded: for=192.0.2.1;proto=https\nX-Real-IP: 192.0.2.1\nX-Request-Id: 1\nX-Correlation-Id: "
            + "2\nCache-Control: no-cache"
    )]
    [InlineData(
        "call",
        "{}",
        "Sec-Fetch-Mode: cors\nSec-Fetch-Site: none\nSec-Fetch-Dest: empty\nAccept-Encoding: gzip\nAccept-Language: "
            + "de\nUser-Agent: x/1"
    )]
    [InlineData(
        "call",
        "{}",
        "X-Amzn-Trace-Id: Root=1\nX-Forwarded-Port: 443\nX-Forwarded-Server: proxy\ntracestate: a=b\nContent-Type: "
            + "$avp(ctype)"
    )]
    [InlineData(
        "call",
        "{}",
        "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: https\nX-Forwarded-Host: desk.example.com"
    )]
    [InlineData(
        "call",
        "{}",
        "X-Forwarded-For: nonsense, 192.0.2.1:80, [2001:db8::1]:81\nX-Forwarded-Proto: $\nX-Forwarded-Host: a b"
    )]
    [InlineData(
        "call",
        "\"\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\u00E9\""
    )]
    public async Task A_push_is_answered_as_Kestrel_would(string @event, string body, string header = "Accept: */*")
    {
        foreach (var proxies in new[] { "", "127.0.0.1" })
        {
            (string, string)[] settings = [("MaxIn", "2"), ("MaxMessageBytes", "64"), ("TrustedProxies", proxies)];
            await using var node = await Node.StartAsync(settings);
            await using var off = await Node.StartAsync([.. settings, ("FastPath", "off")]);
            await SameAsync(node, off, "POST /_notify/" + @event, Encoding.Latin1.GetBytes(body), header);
        }
    }

    [Theory]
    [InlineData("Authorization: Bearer secret-of-the-key-publish")]
    [InlineData("authorization: bearer   secret-of-the-key-publish")]
    [InlineData("Authorization: Basic cHVibGlzaDpzZWNyZXQtb2YtdGhlLWtleS1wdWJsaXNo")]
    [InlineData("X-Api-Key: secret-of-the-key-publish")]
    [InlineData("X-Api-Key: secret-of-the-key-read")]
    [InlineData("X-Api-Key: secret-of-nobody")]
    [InlineData("Authorization: secret-of-the-key-publish")]
    [InlineData("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.e30")]
    [InlineData("Accept: */*")]
    public async Task A_caller_is_authenticated_as_by_Kestrel(string header)
    {
        await using var node = await GuardedNode.StartAsync();
        await using var off = await GuardedNode.StartAsync(("FastPath", "off"));
        await SameAsync(node, off, "POST /_notify/call", "{}"u8.ToArray(), header);
    }

    [Theory]
    [InlineData("192.0.2.1", "192.0.2.2")]
    [InlineData("10.0.0.1, 192.0.2.1", "10.0.0.2, 192.0.2.1")]
    [InlineData("192.0.2.1:5000", "192.0.2.1:5001")]
    [InlineData("192.0.2.1, 127.0.0.1", "192.0.2.2, 127.0.0.1")]
    [InlineData("nonsense", "192.0.2.1")]
    [InlineData("2001:db8::1", "2001:db8::2")]
    public async Task The_rate_of_a_client_behind_a_trusted_proxy_is_counted_by_its_forwarded_address(
        string first,
        string second
    )
    {
        foreach (var proxies in new[] { "", "127.0.0.1" })
        {
            var answers = new List<int[]>();
            foreach (var path in new[] { "on", "off" })
            {
                await using var node = await Node.StartAsync(
                    ("PublishRate", "1"),
                    ("TrustedProxies", proxies),
                    ("FastPath", path)
                );
                var statuses = new List<int>();
                foreach (var address in new[] { first, second })
                {
                    statuses.Add(
                        (
                            await AskAsync(node, "POST /_notify/call", "{}"u8.ToArray(), "X-Forwarded-For: " + address)
                        ).Status
                    );
                }

                answers.Add([.. statuses]);
            }

            Assert.Equal(answers[1], answers[0]);
            Assert.Equal(200, answers[0][0]);
        }
    }

    [Fact]
    public async Task Each_push_of_a_proxys_connection_is_counted_for_its_own_client()
    {
        await using var node = await Node.StartAsync(("PublishRate", "1"), ("TrustedProxies", "127.0.0.1"));
        using var proxy = await RawHttp.ConnectAsync(node);
        List<int> statuses = [];
        foreach (var client in (string[])["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1", "", "192.0.2.3", ""])
        {
            string[] headers = client.Length > 0 ? ["X-Forwarded-For: " + client] : [];
            statuses.Add((await proxy.AskAsync("POST /_notify/call", "{}", headers)).Status);
        }

        Assert.Equal([200, 200, 429, 429, 200, 200, 429], statuses);
    }

    [Fact]
    public async Task A_push_whose_body_is_slow_is_counted_once()
    {
        await using var node = await Node.StartAsync(("PublishRate", "1"));
        using var http = await RawHttp.ConnectAsync(node);
        using var other = await RawHttp.ConnectAsync(node);
        const int Length = 4_000;
        await http.SendAsync($"POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: {Length}");
        for (var sent = 0; sent < Length; sent++)
        {
            await http.SendAsync([(byte)' ']);
            await other.AskAsync("GET /healthz");
        }

        (await http.ReadAsync()).TakenId();
    }

    [Theory]
    [InlineData("Accept: */*", 401)]
    [InlineData("X-Api-Key: secret-of-the-key-read", 403)]
    public async Task A_caller_is_refused_at_the_end_of_the_head(string header, int status)
    {
        foreach (var path in new[] { "on", "off" })
        {
            foreach (var length in new[] { 3, 100_000 })
            {
                await using var node = await GuardedNode.StartAsync(("FastPath", path));
                using var http = await RawHttp.ConnectAsync(node);
                await http.SendAsync(
                    $"POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: {length}\n{header}",
                    (byte)'{'
                );
                var answer = await http.ReadAsync();
                Assert.Equal(status, answer.Status);
                Assert.True(answer.SaysClose);
            }
        }
    }

    [Fact]
    public async Task A_push_above_the_rate_is_refused_after_its_head_and_its_body_is_not_parsed_as_a_request()
    {
        await using var node = await Node.StartAsync(("PublishRate", "1"));
        using var http = await RawHttp.ConnectAsync(node);
        (await http.AskAsync("POST /_notify/call", "{}")).TakenId();
        await http.SendAsync("POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: 3", (byte)'{');
        (await http.ReadAsync()).IsProblem(429, "rate_limited");
        node.Time.Advance(TimeSpan.FromSeconds(2));
        await http.SendAsync([(byte)' ', (byte)'}']);
        Assert.Equal(200, (await http.AskAsync("GET /healthz")).Status);
    }

    [Fact]
    public async Task Pushes_handshakes_and_Kestrels_requests_follow_each_other_on_one_connection()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        var push = $"POST /_notify/call HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{{}}";
        var handshake = "GET /ws HTTP/1.1\r\nHost: localhost\r\n" + Handshake.ReplaceLineEndings("\r\n") + "\r\n\r\n";
        await http.SendAsync(
            Encoding.ASCII.GetBytes(push + push + "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + push + handshake)
        );

        (await http.ReadAsync()).TakenId();
        (await http.ReadAsync()).TakenId();
        Assert.Equal(200, (await http.ReadAsync()).Status);
        (await http.ReadAsync()).TakenId();
        Assert.Equal(101, (await http.ReadAsync()).Status);

        using var other = await RawHttp.ConnectAsync(node);
        await other.SendAsync(Encoding.ASCII.GetBytes(push + handshake));
        (await other.ReadAsync()).TakenId();
        Assert.Equal(101, (await other.ReadAsync()).Status);
    }

    [Fact]
    public async Task A_push_split_at_any_byte_is_accepted_once()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        using var other = await RawHttp.ConnectAsync(node);
        using var http = await RawHttp.ConnectAsync(node);
        var push = Encoding.ASCII.GetBytes(
            "POST /_notify/call HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"a\":1}"
        );
        for (var cut = 1; cut < push.Length; cut++)
        {
            await http.SendAsync(push[..cut]);
            Assert.Equal(200, (await other.AskAsync("GET /healthz")).Status);
            await http.SendAsync(push[cut..]);
            await client.GetsAsync("call", "{\"a\":1}", (await http.ReadAsync()).TakenId());
        }
    }

    [Fact]
    public async Task A_push_larger_than_one_read_is_accepted()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        for (var size = 1; size < 200_000; size *= 3)
        {
            (await http.AskAsync("POST /_notify/call", $"\"{new string('x', size)}\"")).TakenId();
        }
    }

    [Fact]
    public async Task A_connection_that_pushes_no_more_is_closed_after_a_time()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        (await http.AskAsync("POST /_notify/call", "{}")).TakenId();
        node.Time.Advance(FastPathConnection.KeepAliveTimeout - TimeSpan.FromSeconds(1));
        (await http.AskAsync("POST /_notify/call", "{}")).TakenId();

        // The answer is read before the connection begins to wait for the next request: the clock moves until it has.
        var end = http.ReadToEndAsync();
        do
        {
            node.Time.Advance(FastPathConnection.KeepAliveTimeout + TimeSpan.FromSeconds(1));
        } while (await Task.WhenAny(end, Task.Delay(TimeSpan.FromSeconds(1), TimeProvider.System)) != end);

        Assert.Equal("", await end);
    }

    [Fact]
    public async Task A_client_that_does_not_read_responses_is_closed()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        var pushes = Encoding.ASCII.GetBytes(
            string.Concat(
                Enumerable.Repeat(
                    "POST /_notify/unheard HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
                    1_000
                )
            )
        );
        var sending = Task.Run(async () =>
        {
            // Ends when the other side has cut the connection.
            while (await http.TrySendAsync(pushes)) { }
        });

        while (!sending.IsCompleted)
        {
            node.Time.Advance(FastPathConnection.FlushTimeout);
            await node.NotifyAsync("call", "{}");
        }

        await sending;
    }

    [Theory]
    [InlineData("call", "User-Agent: x/1")]
    [InlineData("call", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate: a=b")]
    [InlineData("call", "Idempotency-Key: k")]
    public async Task The_span_and_metrics_of_a_push_equal_Kestrels(string @event, string header)
    {
        var observed = new List<string[]>();
        foreach (var path in new[] { "on", "off" })
        {
            await using var node = await Node.StartAsync(("FastPath", path));
            using var observer = new RequestObserver(node.Services.GetRequiredService<IMeterFactory>(), node.Port);
            (await AskAsync(node, "POST /_notify/" + @event, "{}"u8.ToArray(), header)).TakenId();
            observed.Add(await observer.ReadAsync());
        }

        // Kestrel counts each request as active, the fast path only one that waits.
        Assert.Equal(2, observed[1].Count(IsActive));
        Assert.Equal(observed[1].Where(line => !IsActive(line)), observed[0]);

        static bool IsActive(string line) => line.StartsWith("http.server.active_requests ", StringComparison.Ordinal);
    }

    [Fact]
    public async Task Hosts_that_are_not_allowed_are_refused()
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("AllowedHosts", "127.0.0.1"));
        foreach (var (host, status) in new[] { ("127.0.0.1", 200), ("rebound.example", 400) })
        {
            using var http = await RawHttp.ConnectAsync(node.Url.Port);
            await http.SendAsync($"POST /_notify/call HTTP/1.1\nHost: {host}\nContent-Length: 2", "{}"u8.ToArray());
            Assert.Equal(status, (await http.ReadAsync()).Status);
        }
    }

    private static async Task SameAsync(Node node, Node off, string request, byte[] body, string header)
    {
        var fast = await AskAsync(node, request, body, header);
        foreach (
            var kestrels in new[]
            {
                await AskAsync(node, request, body, header, Kestrels),
                await AskAsync(off, request, body, header),
            }
        )
        {
            Assert.Equal(kestrels.Status, fast.Status);
            Assert.Equal(WithoutIds(kestrels.Body), WithoutIds(fast.Body));
            Assert.Equal(Told(kestrels), Told(fast));
        }
    }

    private static async Task<RawAnswer> AskAsync(Node node, string request, byte[] body, params string[] headers)
    {
        using var http = await RawHttp.ConnectAsync(node);
        await http.SendAsync(
            $"{request} HTTP/1.1\nHost: localhost:{node.Port}\nContent-Length: "
                + $"{body.Length}\n{string.Join('\n', headers)}",
            body
        );
        var answer = await http.ReadAsync();
        return answer.Status == 100 ? await http.ReadAsync() : answer;
    }

    /// <summary>The headers of an answer, but for the time.</summary>
    private static string[] Told(RawAnswer answer) =>
        [
            .. answer
                .Headers.Where(header => header.Key != "Date")
                .Select(header => $"{header.Key}: {header.Value}")
                .Order(StringComparer.OrdinalIgnoreCase),
        ];

    private static string WithoutIds(string text) => AnyId().Replace(text, "");

    [GeneratedRegex("\"id\":\"[^\"]*\"")]
    private static partial Regex AnyId();
}
