using Dmb.Tests.SocketIo;

namespace Dmb.Tests.Deploy;

/// <summary>Socket.IO's clients through nginx and Apache: deploy/, and the recipe of docs/socketio.md.</summary>
public sealed class SocketIoProxyTests
{
    [Theory]
    [InlineData("nginx", "client2", "polling")]
    [InlineData("nginx", "client2", "upgrade")]
    [InlineData("nginx", "client4", "polling")]
    [InlineData("nginx", "client4", "websocket")]
    [InlineData("nginx", "client4", "upgrade")]
    [InlineData("apache", "client2", "polling")]
    [InlineData("apache", "client2", "upgrade")]
    [InlineData("apache", "client4", "polling")]
    [InlineData("apache", "client4", "websocket")]
    [InlineData("apache", "client4", "upgrade")]
    public async Task Requests_of_a_session_reach_the_node_that_has_it(string kind, string version, string transport)
    {
        await using var redis = await RedisServer.StartAsync();
        var nodes = await Task.WhenAll(StartAsync(redis, "node1"), StartAsync(redis, "node2"));
        try
        {
            await using var proxy = await TlsProxy.StartAsync(kind, nodes[0].Url.Port, nodes[1].Url.Port);

            Assert.Equal("node1 node2", await RunAsync(proxy, version, transport));
        }
        finally
        {
            foreach (var node in nodes)
            {
                await node.DisposeAsync();
            }
        }
    }

    [Theory]
    [InlineData("client2", "websocket")]
    [InlineData("client2", "upgrade")]
    [InlineData("client4", "polling")]
    [InlineData("client4", "upgrade")]
    public async Task Apache_passes_sockets_by_the_query_and_the_rest_by_path(string version, string transport)
    {
        var text = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "socketio.md"));
        var start = text.IndexOf("```apache\n", StringComparison.Ordinal) + "```apache\n".Length;
        var recipe = text[start..text.IndexOf("```", start, StringComparison.Ordinal)];
        await using var node = await Node.StartAsync(("NodeName", "alone"));
        await using var proxy = await TlsProxy.StartSiteAsync(
            "apache",
            $"""
            <VirtualHost *:443>
            SSLEngine on
            SSLCertificateFile /etc/ssl/dmb/fullchain.pem
            SSLCertificateKeyFile /etc/ssl/dmb/key.pem
            {recipe}
            </VirtualHost>
            """,
            node.Port
        );

        Assert.Equal("alone", await RunAsync(proxy, version, transport));
    }

    private static Task<string> RunAsync(TlsProxy proxy, string version, string transport) =>
        NodeClients.RunScriptAsync("sessions.js", $"{proxy.Url}", proxy.CertificateFile, version, transport);

    private static Task<NodeProcess> StartAsync(RedisServer redis, string name) =>
        NodeProcess.StartReadyAsync([
            ("DMB_NODE_NAME", name),
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_TRUSTED_PROXIES", "127.0.0.1"),
            .. NodeProcess.Patient,
        ]);
}
