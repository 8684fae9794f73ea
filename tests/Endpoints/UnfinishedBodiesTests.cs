using System.Net.Sockets;
using System.Text;

namespace Dmb.Tests.Endpoints;

/// <summary>Bodies that come in part, of more bytes than the process may hold in all.</summary>
public sealed class UnfinishedBodiesTests
{
    private const int Connections = 1_000;
    private const string Key = "0123456789abcdef0123";

    /// <param name="key">A key that may push, or none.</param>
    /// <param name="more">A header that makes the request one of Kestrel's parser.</param>
    [Theory]
    [InlineData("wrong", "Accept: */*")]
    [InlineData(Key, "Accept: */*")]
    [InlineData("wrong", "X-Not-Listed: 1")]
    [InlineData(Key, "X-Not-Listed: 1")]
    public async Task A_node_with_a_heap_limit_outlives_more_of_them_than_its_heap_has_room_for(string key, string more)
    {
        await using var node = await NodeProcess.StartAsync(
            ("DOTNET_GCHeapHardLimit", "C000000"),
            ("DMB_KEYS", $"ops:{Key}:publish")
        );
        var head = Encoding.ASCII.GetBytes(
            $"POST /_notify/call HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {key}\r\n{more}\r\nContent-Length: 262000\r\n\r\n"
        );
        var part = new byte[255_000];
        var sockets = new List<Socket>();
        try
        {
            for (var i = 0; i < Connections; i++)
            {
                var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
                sockets.Add(socket);
                await socket.ConnectAsync(node.Url.Host, node.Url.Port);
            }

            await Task.WhenAll(sockets.Select(socket => SendAsync(socket, head, part)));
            using var push = new HttpRequestMessage(HttpMethod.Post, new Uri(node.Url, "/_notify/call"));
            push.Headers.Add("X-Api-Key", Key);
            using var answer = await node.Http.SendAsync(push);
            Assert.Equal(System.Net.HttpStatusCode.OK, answer.StatusCode);
        }
        finally
        {
            sockets.ForEach(socket => socket.Dispose());
        }

        Assert.DoesNotContain(node.Log, line => line.Contains("OutOfMemory", StringComparison.Ordinal));
    }

    private static async Task SendAsync(Socket socket, byte[] head, byte[] part)
    {
        try
        {
            await socket.SendAsync(head);
            await socket.SendAsync(part).WaitAsync(Node.Patience);
        }
        catch (SocketException)
        {
            // It was refused and closed.
        }
    }
}
