using System.Net;
using System.Net.Mime;
using System.Net.WebSockets;
using System.Text;

namespace Dmb.Tests.Deploy;

/// <summary>deploy/nginx.conf and deploy/apache.conf, with the real programs and TLS, and what the broker believes of them.</summary>
public sealed class ProxyTests
{
    private static readonly (string, string)[] Trusting = [("Host", "0.0.0.0"), ("Auth", "none"), ("TrustedProxies", "127.0.0.1,10.0.0.0/8")];

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
        await socket.ConnectAsync(new UriBuilder(proxy.Url) { Scheme = "wss", Path = "/ws" }.Uri, CancellationToken.None);
        Assert.StartsWith("""{"event":"welcome",""", await ReadAsync(socket), StringComparison.Ordinal);
        await socket.SendAsync("""{"event":"subscribe","data":"support"}"""u8.ToArray(), WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);
        Assert.StartsWith("""{"event":"joined",""", await ReadAsync(socket), StringComparison.Ordinal);

        for (var i = 0; i < 3; i++)
        {
            using var body = new StringContent($"{i}", Encoding.UTF8, MediaTypeNames.Application.Json);
            using var answer = await proxy.Http.PostAsync(new Uri(proxy.Url, "/_notify/report_csr"), body);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);

            // Each before the next is sent: nothing is held back.
            Assert.StartsWith($$"""{"event":"report_csr","data":{{i}},""", await ReadAsync(socket), StringComparison.Ordinal);
            Assert.StartsWith($"event: report_csr\ndata: {i}\n", await stream.ReadAsync(), StringComparison.Ordinal);
        }

        await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, null, CancellationToken.None);
    }

    [Theory]
    [InlineData("nginx")]
    [InlineData("apache")]
    public async Task The_broker_sees_the_scheme_and_host_that_a_trusted_proxy_was_asked_for(string kind)
    {
        await using var node = await Node.StartAsync(Trusting);
        await using var proxy = await TlsProxy.StartAsync(kind, node.Port);
        Assert.Equal(HttpStatusCode.OK, await PushAsync(proxy, proxy.Url.GetLeftPart(UriPartial.Authority)));
        Assert.Equal(HttpStatusCode.Forbidden, await PushAsync(proxy, "https://elsewhere.example"));

        // A client can't say it for itself: the proxy's word is what counts.
        Assert.Equal(HttpStatusCode.Forbidden, await PushAsync(proxy, "https://elsewhere.example", ("X-Forwarded-Host", "elsewhere.example")));

        await using var distrusting = await Node.StartAsync(Trusting[0], Trusting[1], ("TrustedProxies", "10.0.0.0/8"));
        await using var stranger = await TlsProxy.StartAsync(kind, distrusting.Port);
        Assert.Equal(HttpStatusCode.Forbidden, await PushAsync(stranger, stranger.Url.GetLeftPart(UriPartial.Authority)));
    }

    private static async Task<HttpStatusCode> PushAsync(TlsProxy proxy, string origin, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(proxy.Url, "/_notify/report_csr")) { Content = new StringContent("{}") };
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
