using System.Globalization;
using System.Text.Json;

namespace Dmb.Tests.SocketIo;

/// <summary>Messages of <c>@socket.io/redis-emitter</c> are pushes (docs/protocol.md §5, "Emitters").</summary>
public sealed class SocketIoEmitterTests
{
    [Fact]
    public async Task One_node_takes_a_message_and_every_session_gets_it_once()
    {
        await using var redis = await RedisServer.StartAsync();
        var port = redis.Port.ToString(CultureInfo.InvariantCulture);
        (string, string)[] settings =
        [
            ("REDIS_HOST", "localhost"),
            ("REDIS_PORT", port),
            ("DMB_HISTORY_SIZE", "100"),
            ("DMB_SOCKETIO_EMITTER", "socket.io"),
            .. NodeProcess.Patient,
        ];
        await using var first = await NodeProcess.StartReadyAsync(settings);
        await using var second = await NodeProcess.StartReadyAsync(settings);
        await using var one = await first.JoinAsync("everyone", "support", "a:1", "a:2");
        await using var other = await second.JoinAsync("everyone", "support", "a:2");
        var folder = await NpmFolder.OpenAsync("tests/SocketIo/clients");
        Assert.Equal("done", (await folder.RunAsync("node", "emit.js", port)).Trim());

        foreach (var client in (TestClient[])[one, other])
        {
            var data = JsonElement.Parse(await DataAsync(client));
            Assert.Equal("Zoë – 電話 \U0001F4DE", data.GetProperty("text").GetString());
            Assert.Equal(300, data.GetProperty("long").GetString()!.Length);
            Assert.Equal(
                "[0,127,128,255,256,65535,65536,4294967296,9007199254740991,-1,-32,-33,-129,-32769,-2147483649]",
                data.GetProperty("numbers").GetRawText()
            );
            Assert.Equal("[null,true,false,-0.5,{}]", Members(data, "none", "yes", "no", "half", "empty"));
            Assert.Equal(19, data.GetProperty("many")[19].GetProperty("n").GetInt32());

            Assert.Equal("""{"n":1}""", await DataAsync(client));
            Assert.Equal("""{"n":1}""", await DataAsync(client));
            Assert.Equal("""{"n":2}""", await DataAsync(client));
            Assert.Equal("null", await DataAsync(client));
            Assert.Equal("\"last\"", await DataAsync(client));
        }

        foreach (var node in (NodeProcess[])[first, second])
        {
            // A node that took no message may still be reading them.
            using var patience = new CancellationTokenSource(Node.Patience);
            while (await RefusedAsync(node) is var refused && refused != "4")
            {
                Assert.False(patience.IsCancellationRequested, refused);
            }
        }

        // Kept like every other message.
        var history = await second.GetAsync("/rooms/support/history");
        Assert.Equal(4, history.GetProperty("items").GetArrayLength());
    }

    [Fact]
    public async Task Without_the_setting_emitters_are_not_heard()
    {
        await using var redis = await RedisServer.StartAsync();
        var port = redis.Port.ToString(CultureInfo.InvariantCulture);
        await using var node = await NodeProcess.StartReadyAsync(("REDIS_HOST", "localhost"), ("REDIS_PORT", port));
        await using var client = await node.JoinAsync("everyone", "support");
        var folder = await NpmFolder.OpenAsync("tests/SocketIo/clients");
        await folder.RunAsync("node", "emit.js", port);
        await node.NotifyAsync("call", """{"_in":["number:1"]}""");
        Assert.Empty(await client.ReadAllAsync());
    }

    /// <summary>How many inputs a node has refused.</summary>
    private static async Task<string> RefusedAsync(NodeProcess node)
    {
        const string Metric = """dmb_messages_dropped_total{reason="not_understood"} """;
        var page = await node.Http.GetStringAsync(new Uri(node.Url, "/metrics"));
        return page.Split('\n').Single(line => line.StartsWith(Metric, StringComparison.Ordinal))[Metric.Length..];
    }

    private static async Task<string> DataAsync(TestClient client)
    {
        var message = JsonElement.Parse(await client.ReadAsync());
        Assert.Equal("call", message.GetProperty("event").GetString());
        return message.GetProperty("data").GetRawText();
    }

    private static string Members(JsonElement data, params string[] names) =>
        $"[{string.Join(',', names.Select(name => data.GetProperty(name).GetRawText()))}]";
}
