using System.Text.Json;

namespace Dmb.Tests.SocketIo;

/// <summary>A client of Socket.IO on a bare WebSocket, each message one packet.</summary>
internal sealed class SocketIoSocket : IAsyncDisposable
{
    private SocketIoSocket(TestClient socket, string sid) => (Socket, Sid) = (socket, sid);

    public TestClient Socket { get; }

    /// <summary>The engine's name of the session.</summary>
    public string Sid { get; }

    /// <summary>The session's public name, once it is welcome.</summary>
    public string Id { get; private set; } = "";

    /// <summary>Opens a session, of protocol 4 without its CONNECT.</summary>
    public static async Task<SocketIoSocket> OpenAsync(
        Node node,
        int version,
        string query = "",
        params (string Name, string Value)[] headers
    )
    {
        var url = new Uri(node.Url, PollingClient.Path(version, "websocket") + query);
        var socket = await TestClient.ConnectAsync(url, headers);
        var open = await socket.ReadAsync();
        Assert.StartsWith("0{", open, StringComparison.Ordinal);
        return new SocketIoSocket(socket, JsonElement.Parse(open[1..]).GetProperty("sid").GetString()!);
    }

    /// <summary>Opens a session, connects, and reads the welcome.</summary>
    public static async Task<SocketIoSocket> ConnectAsync(Node node, int version, string connect = "40")
    {
        var client = await OpenAsync(node, version);
        if (version == 4)
        {
            await client.SendAsync(connect);
        }

        Assert.StartsWith("40", await client.ReadAsync(), StringComparison.Ordinal);
        var welcome = await client.ReadAsync();
        Assert.StartsWith("42[\"welcome\",", welcome, StringComparison.Ordinal);
        client.Id = JsonElement.Parse(welcome[2..])[1].GetProperty("id").GetString()!;
        return client;
    }

    public Task SendAsync(string packet) => Socket.SendAsync(packet);

    public Task<string> ReadAsync() => Socket.ReadAsync();

    /// <summary>The code of the close frame; what came before it stays to be read.</summary>
    public async Task<int> ReadCloseAsync() => (await Socket.ReadCloseAsync()).Code;

    /// <summary>What came before the close frame.</summary>
    public Task<string[]> ReadAllAsync() => Socket.ReadAllAsync();

    public ValueTask DisposeAsync() => Socket.DisposeAsync();
}
