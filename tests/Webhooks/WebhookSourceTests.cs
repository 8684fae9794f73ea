using System.Text;
using Dmb.Tests.Backends;

namespace Dmb.Tests.Webhooks;

/// <summary>A webhook gets what is published, once, whichever way it comes in (docs/webhooks.md).</summary>
[Collection(Redis.RedisLane.Name)]
public sealed class WebhookSourceTests
{
    private const string Events =
        "\"events\":[\"call\",\"ping\",\"pong\",\"shouted\",\"notify\",\"dmb:direct\",\"dmb:broadcast\"]";

    [Fact]
    public async Task A_webhook_gets_what_is_published_whichever_way_it_comes_in()
    {
        await using var redis = await RedisServer.StartAsync();
        (string, string)[] settings =
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_NOTIFY_CHANNELS", "opensips:*"),
            ("DMB_SOCKETIO_EMITTER", "socket.io"),
            ("DMB_EVENTS", "call=,pong="),
            .. NodeProcess.Patient,
        ];
        await using var node = await NodeProcess.StartReadyAsync(settings);
        await using var other = await NodeProcess.StartReadyAsync(settings);
        await using var receiver = await Receiver.StartAsync();
        await TestHook.RegisterAsync(node.Http, receiver.Url, Events);
        await TestHook.IsKnownAsync([node, other]);
        await using var client = await node.ConnectAsync();
        await using var socketIo = await ConnectSocketIoAsync(other);
        await using var backend = await TestBackend.RegisterAsync(By.Http, node.Url, null, "desk");
        await using var ann = await TestUser.JoinAsync(other.Url, backend.Bkid, "ann");
        using var emitter = await redis.OpenAsync();

        // The way, what is posted of it (null: nothing), and how to go it, each with other data.
        (string Way, string? Posted, Func<Task> GoAsync)[] ways =
        [
            ("POST /_notify/{event}", "call 1", () => other.NotifyAsync("call", "1")),
            ("POST /_notify", "call 2", () => BatchAsync(other, """[{"event":"call","data":2}]""")),
            ("/ws: an event", "call 3", () => client.SendAsync("""{"event":"call","data":3}""")),
            ("/ws: ping", "ping 4", () => client.SendAsync("""{"event":"ping","data":4}""")),
            ("/ws: dmb:pong", "pong 5", () => client.SendAsync("""{"event":"dmb:pong","data":5}""")),
            ("/ws: notify_users", "notify 6", () => client.SendAsync("""{"event":"notify_users","data":6}""")),
            ("Socket.IO", "call 7", () => socketIo.SendAsync("""42["call",7]""")),
            ("dmb:notify:{event}", "call 8", () => redis.CommandAsync("PUBLISH", "dmb:notify:call", "8")),
            ("DMB_NOTIFY_CHANNELS", "call 9", () => redis.CommandAsync("PUBLISH", "opensips:call", "9")),
            ("an emitter", "call 10", () => EmitAsync(emitter, 10)),
            ("the same again", "call 10", () => EmitAsync(emitter, 10)),
            ("a room's channel", null, () =>
                redis.CommandAsync("PUBLISH", "dmb:room:a:1", """{"event":"call","data":11}""")
            ),
            ("a backend to a user", null, () => backend.SendAsync("ann", "12")),
            ("a backend to all", null, () => backend.SendAsync(null, "13")),
            ("a user to a backend", null, () => ann.SayAsync("14")),
            ("at last", "call 15", () => node.NotifyAsync("call", "15")),
        ];
        foreach (var (way, posted, goAsync) in ways)
        {
            await goAsync();
            if (posted is not null)
            {
                var delivery = await receiver.NextAsync();
                Assert.Equal($"{way}: dmb.{posted}", $"{way}: {delivery["ce-type"]} {delivery.Body}");
            }
        }
    }

    /// <summary>Emits as <c>@socket.io/redis-emitter</c> does: the event <c>call</c> to all.</summary>
    /// <param name="redis">Where it does.</param>
    /// <param name="data">The data, a number below 128.</param>
    private static Task<string> EmitAsync(RedisClient redis, byte data)
    {
        byte[] message =
        [
            0x93,
            .. Text("emitter"),
            0x83,
            .. Text("type"),
            2,
            .. Text("data"),
            0x92,
            .. Text("call"),
            data,
            .. Text("nsp"),
            .. Text("/"),
            0x83,
            .. Text("rooms"),
            0x90,
            .. Text("except"),
            0x90,
            .. Text("flags"),
            0x80,
        ];
        return redis.CommandAsync("PUBLISH"u8.ToArray(), "socket.io#/#"u8.ToArray(), message);
    }

    private static byte[] Text(string text) => [(byte)(0xA0 + text.Length), .. Encoding.ASCII.GetBytes(text)];

    private static async Task BatchAsync(NodeProcess node, string json)
    {
        using var body = new StringContent(json, Encoding.UTF8, "application/json");
        using var answer = await node.Http.PostAsync(new Uri(node.Url, "/_notify"), body);
        answer.EnsureSuccessStatusCode();
    }

    /// <summary>A client of Socket.IO that is connected.</summary>
    private static async Task<TestClient> ConnectSocketIoAsync(NodeProcess node)
    {
        var client = await TestClient.ConnectAsync(new Uri(node.Url, "/socket.io/?EIO=4&transport=websocket"));
        await client.ReadAsync();
        await client.SendAsync("40");
        Assert.StartsWith("40", await client.ReadAsync(), StringComparison.Ordinal);
        return client;
    }
}
