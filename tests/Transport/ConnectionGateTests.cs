using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Dmb.Tests.Transport;

/// <summary>Newcomers that a node can't hold are closed, and the node goes on.</summary>
public sealed partial class ConnectionGateTests
{
    [Fact]
    public async Task When_descriptors_run_out_new_connections_are_refused_and_open_ones_kept()
    {
        const int Files = 300;
        await using var process = ChildProcess.Start(
            "bash",
            ["-c", $"ulimit -n {Files}; exec dotnet {Path.Combine(AppContext.BaseDirectory, "Dmb.dll")}"],
            AppContext.BaseDirectory,
            ("DMB_PORT", "0"),
            ("REDIS_HOST", "none")
        );
        var port = int.Parse(Port().Match(await process.LineAsync("listens on")).Groups[1].Value, null);
        await process.LineAsync("DMB_MAX_SESSIONS is");
        using var kept = await RawHttp.ConnectAsync(port);
        Assert.Equal(200, await PushAsync(kept));

        var all = new List<Socket>();
        try
        {
            while (all.Count < Files && await IsKeptAsync(all, port)) { }

            Assert.InRange(all.Count, 2, Files - 64);
            Assert.Equal(200, await PushAsync(kept));
            await process.LineAsync("New connections are closed: 300 files may be open");
        }
        finally
        {
            all.ForEach(socket => socket.Dispose());
        }

        // The descriptors are free again as soon as the node has seen the ends.
        while (!await IsKeptAsync([], port)) { }

        Assert.Equal(200, await PushAsync(kept));
        Assert.Single(process.Lines, line => line.Contains("New connections are closed", StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_address_has_so_many_connections_and_gets_them_back()
    {
        await using var node = await Node.StartAsync(("MaxConnectionsPerAddress", "2"));
        var all = new List<Socket>();
        Assert.True(await IsKeptAsync(all, node.Url.Port));
        var client = await node.ConnectAsync();
        Assert.False(await IsKeptAsync(all, node.Url.Port));

        await client.DisposeAsync();
        while (!await IsKeptAsync(all, node.Url.Port)) { }

        all.ForEach(socket => socket.Dispose());
    }

    /// <summary>Opens a connection and asks for something on it; false if it is closed instead.</summary>
    private static async Task<bool> IsKeptAsync(List<Socket> all, int port)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        all.Add(socket);
        try
        {
            await socket.ConnectAsync(IPAddress.Loopback, port);
            await socket.SendAsync(
                "POST /_notify/unheard HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"u8.ToArray()
            );
            return await socket.ReceiveAsync(new byte[1_024]) > 0;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    private static async Task<int> PushAsync(RawHttp http)
    {
        await http.SendAsync(
            "POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: 2",
            Encoding.ASCII.GetBytes("{}")
        );
        return (await http.ReadAsync()).Status;
    }

    [GeneratedRegex(@"listens on http://[^ ]+:(\d+)\.")]
    private static partial Regex Port();
}
