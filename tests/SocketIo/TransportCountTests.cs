using System.Globalization;

namespace Dmb.Tests.SocketIo;

/// <summary>The metric <c>dmb.sessions.by_transport</c>.</summary>
public sealed class TransportCountTests
{
    [Fact]
    public async Task Sessions_are_counted_by_their_transport_and_an_upgrade_moves_one()
    {
        await using var node = await Node.StartAsync();
        Assert.Equal((0, 0, 0, 0), await CountAsync(node));

        await using var socket = await node.ConnectAsync();
        using var stream = await EventReader.OpenAsync(node.Http, new Uri(node.Url, "/events?room=support"));
        await using var polling = await PollingClient.ConnectAsync(node, 4);
        await using var direct = await SocketIoSocket.ConnectAsync(node, 3);
        Assert.Equal((1, 1, 1, 1), await CountAsync(node));

        await using var upgraded = await TestClient.ConnectAsync(
            new Uri(node.Url, PollingClient.Path(4, "websocket") + "&sid=" + polling.Sid)
        );
        await upgraded.SendAsync("2probe");
        Assert.Equal("3probe", await upgraded.ReadAsync());
        await upgraded.SendAsync("5");
        await upgraded.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await upgraded.ReadAsync());
        Assert.Equal((1, 1, 0, 2), await CountAsync(node));
    }

    private static async Task<(int WebSocket, int Stream, int Polling, int Upgraded)> CountAsync(Node node)
    {
        var page = (await node.Http.GetStringAsync(new Uri(node.Url, "/metrics"))).Split('\n');
        int Of(string transport) =>
            int.Parse(
                page.Single(line =>
                        line.StartsWith(
                            $"dmb_sessions_by_transport{{transport=\"{transport}\"}} ",
                            StringComparison.Ordinal
                        )
                    )
                    .Split(' ')[1],
                CultureInfo.InvariantCulture
            );

        return (Of("websocket"), Of("sse"), Of("socketio_polling"), Of("socketio_websocket"));
    }
}
