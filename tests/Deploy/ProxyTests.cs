using System.Net;
using System.Net.Mime;
using System.Net.WebSockets;
using System.Text;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Deploy;

/// <summary>
/// deploy/nginx.conf and deploy/apache.conf, with the real programs and TLS, and what the broker believes of them.
/// </summary>
public sealed class ProxyTests
{
    private static readonly (string, string)[] Trusting =
    [
        ("Host", "0.0.0.0"),
        ("Auth", "none"),
        ("TrustedProxies", "127.0.0.1,10.0.0.0/8"),
    ];

    [Theory]
    [InlineData("nginx")]
    [InlineData("apache")]
    public async Task A_push_a_socket_and_a_stream_pass_through(string kind)
    {
        await using var node = await Node.StartAsync(Trusting);
        await using var proxy = await TlsProxy.StartAsync(kind, node.Port);
        using var stream = await EventReader.OpenAsync(proxy.Http, new Uri(proxy.Url, "/events?room=support"));
        Assert.Equal(": connected", await stream.ReadAsync());
        using var socket = new ClientWebSocket();
        socket.Options.RemoteCertificateValidationCallback = (_, shown, _, _) => proxy.IsOurs(shown);
        await socket.ConnectAsync(
            new UriBuilder(proxy.Url) { Scheme = "wss", Path = "/ws" }.Uri,
            CancellationToken.None
        );
        Assert.StartsWith("""{"event":"welcome",""", await ReadAsync(socket), StringComparison.Ordinal);
        await socket.SendAsync(
            """{"event":"subscribe","data":"support"}"""u8.ToArray(),
            WebSocketMessageType.Text,
            endOfMessage: true,
            CancellationToken.None
        );
        Assert.StartsWith("""{"event":"joined",""", await ReadAsync(socket), StringComparison.Ordinal);

        for (var i = 0; i < 3; i++)
        {
            using var body = new StringContent($"{i}", Encoding.UTF8, MediaTypeNames.Application.Json);
            using var answer = await proxy.Http.PostAsync(new Uri(proxy.Url, "/_notify/report_csr"), body);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);

            // Each before the next is sent: nothing is held back.
            Assert.StartsWith(
                $$"""{"event":"report_csr","data":{{i}},""",
                await ReadAsync(socket),
                StringComparison.Ordinal
            );
            Assert.StartsWith($"event: report_csr\ndata: {i}\n", await stream.ReadAsync(), StringComparison.Ordinal);
        }

        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, CancellationToken.None);
    }

    [Theory]
    [InlineData("nginx")]
    [InlineData("apache")]
    public async Task The_broker_applies_the_scheme_and_host_of_a_trusted_proxy(string kind)
    {
        await using var node = await Node.StartAsync(Trusting);
        await using var proxy = await TlsProxy.StartAsync(kind, node.Port);
        Assert.Equal(HttpStatusCode.OK, await PushAsync(proxy, proxy.Url.GetLeftPart(UriPartial.Authority)));
        Assert.Equal(HttpStatusCode.Forbidden, await PushAsync(proxy, "https://elsewhere.example"));

        // A client can't say it for itself: the proxy's word is what counts.
        Assert.Equal(
            HttpStatusCode.Forbidden,
            await PushAsync(proxy, "https://elsewhere.example", ("X-Forwarded-Host", "elsewhere.example"))
        );

        await using var distrusting = await Node.StartAsync(Trusting[0], Trusting[1], ("TrustedProxies", "10.0.0.0/8"));
        await using var stranger = await TlsProxy.StartAsync(kind, distrusting.Port);
        Assert.Equal(
            HttpStatusCode.Forbidden,
            await PushAsync(stranger, stranger.Url.GetLeftPart(UriPartial.Authority))
        );
    }

    [Fact]
    public async Task Pages_come_over_HTTP_2_on_which_a_browser_opens_as_many_streams_as_it_likes()
    {
        await using var node = await Node.StartAsync(Trusting);
        await using var proxy = await TlsProxy.StartAsync("nginx", node.Port);
        var streams = new List<HttpResponseMessage>();
        for (var i = 0; i < 10; i++)
        {
            using var request = PageRequest(proxy);
            (request.Version, request.VersionPolicy) = (HttpVersion.Version20, HttpVersionPolicy.RequestVersionExact);
            streams.Add(await proxy.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead));
            Assert.Equal(HttpVersion.Version20, streams[^1].Version);
        }

        Assert.Equal(10, await node.SessionsInAsync("support"));
        streams.ForEach(stream => stream.Dispose());
    }

    [Fact]
    public async Task A_browser_whose_node_is_full_is_served_by_the_next_one()
    {
        await using var full = await Node.StartAsync([.. Trusting, ("MaxSessions", "1")]);
        using var only = await EventReader.OpenAsync(full, "calls");
        await using var free = await Node.StartAsync(Trusting);
        await using var proxy = await TlsProxy.StartAsync("nginx", full.Port, free.Port);
        for (var i = 1; i <= 4; i++)
        {
            using var request = PageRequest(proxy);
            using var stream = await proxy.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            Assert.Equal(HttpStatusCode.OK, stream.StatusCode);
            await free.UntilSessionsInAsync("support", 1);
            stream.Dispose();
            await free.UntilSessionsInAsync("support", 0, () => free.Time.Advance(TimeSpan.FromSeconds(1)));
        }
    }

    [Fact]
    public async Task A_browser_that_no_node_can_serve_reconnects_and_other_clients_get_the_reason()
    {
        await using var full = await Node.StartAsync([.. Trusting, ("MaxSessions", "1")]);
        using var only = await EventReader.OpenAsync(full, "calls");
        await using var proxy = await TlsProxy.StartAsync("nginx", full.Port);
        await ComesBackAsync(proxy);
        using (var refused = await proxy.Http.GetAsync(new Uri(proxy.Url, "/events?room=support")))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
            Assert.Contains("rate_limited", await refused.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        }

        await using var alone = await TlsProxy.StartAsync("nginx", RedisServer.FreePort());
        await ComesBackAsync(alone);
        using var gone = await alone.Http.GetAsync(new Uri(alone.Url, "/events?room=support"));
        Assert.Equal(HttpStatusCode.BadGateway, gone.StatusCode);
    }

    /// <summary>What a browser's EventSource asks for.</summary>
    private static HttpRequestMessage PageRequest(TlsProxy proxy) =>
        new(HttpMethod.Get, new Uri(proxy.Url, "/events?room=support"))
        {
            Headers = { Accept = { new("text/event-stream") } },
        };

    private static async Task ComesBackAsync(TlsProxy proxy)
    {
        using var request = PageRequest(proxy);
        using var answer = await proxy.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal("text/event-stream", answer.Content.Headers.ContentType?.MediaType);
        Assert.Matches(@"^retry: 3\d{3}\n\n$", await answer.Content.ReadAsStringAsync());
    }

    private static async Task<HttpStatusCode> PushAsync(
        TlsProxy proxy,
        string origin,
        params (string Name, string Value)[] headers
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(proxy.Url, "/_notify/report_csr"))
        {
            Content = new StringContent("{}"),
        };
        request.Headers.Add("Origin", origin);
        foreach (var (name, value) in headers)
        {
            request.Headers.Add(name, value);
        }

        using var answer = await proxy.Http.SendAsync(request);
        return answer.StatusCode;
    }

    private static async Task<string> ReadAsync(ClientWebSocket socket)
    {
        var buffer = new byte[4096];
        var result = await socket.ReceiveAsync(buffer, CancellationToken.None).WaitAsync(Node.Patience);
        Assert.True(result.EndOfMessage);
        return Encoding.UTF8.GetString(buffer, 0, result.Count);
    }
}
