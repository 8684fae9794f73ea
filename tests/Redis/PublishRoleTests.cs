using System.Text;

namespace Dmb.Tests.Redis;

/// <summary>A node with <c>DMB_ROLE=publish</c> in front of one that has sessions, over a real Redis.</summary>
public sealed class PublishRoleTests : IAsyncLifetime
{
    private readonly RedisServer _redis = new();
    private NodeProcess _all = null!;

    public async ValueTask InitializeAsync()
    {
        await _redis.StartAsync();
        _all = await NodeProcess.StartReadyAsync(Address);
    }

    private (string, string)[] Address =>
        [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{_redis.Port}"), .. NodeProcess.Patient];

    public async ValueTask DisposeAsync()
    {
        await _all.DisposeAsync();
        await _redis.DisposeAsync();
    }

    [Fact]
    public async Task A_push_reaches_the_sessions_of_another_node()
    {
        await using var client = await _all.JoinAsync("support");
        await using var publisher = await StartAsync();
        var id = await publisher.NotifyAsync("report_csr", """{"n":1}""");
        await client.GetsAsync("report_csr", """{"n":1}""", id);
        await publisher.LogAsync("Role publish");
        Assert.Equal(0, await publisher.TerminateAsync());
    }

    [Fact]
    public async Task The_first_push_knows_what_other_nodes_registered()
    {
        await RegisterAsync(_all, """{"event":"fax","default_room":"support"}""");
        await RegisterAsync(_all, """{"event":"report_csr","default_room":"internal"}""");
        await using var client = await _all.JoinAsync("support", "internal");
        foreach (var first in (string[])["fax", "report_csr"])
        {
            await using var publisher = await StartAsync();
            var id = await publisher.NotifyAsync(first, "1");
            await client.GetsAsync(first, "1", id);
        }

        Assert.Contains(
            "\"default_room\":\"internal\"",
            (await _all.GetAsync("/register")).EnumerateArray().Single(Is("report_csr")).GetRawText(),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task An_event_registered_later_is_known_at_once_on_the_other_side()
    {
        await using var client = await _all.JoinAsync("support");
        await using var publisher = await StartAsync();
        await publisher.NotifyAsync("report_csr", "0");
        await client.ReadAsync();

        await RegisterAsync(_all, """{"event":"fax","default_room":"support"}""");
        await client.GetsAsync("fax", "1", await publisher.NotifyAsync("fax", "1"));

        await RegisterAsync(publisher, """{"event":"telex","default_room":"support"}""");
        await client.GetsAsync("telex", "2", await publisher.NotifyAsync("telex", "2"));
        Assert.Equal((200, """{"ok":false,"ignore":true}"""), await publisher.PushAsync("unheard_of", "3"));
        Assert.Equal((200, """{"ok":false,"results":[{"ok":false,"ignore":true}]}"""), await BatchAsync(publisher));
    }

    [Fact]
    public async Task An_event_freed_elsewhere_is_forgotten()
    {
        await RegisterAsync(_all, """{"event":"fax","default_room":"support"}""");
        await using var publisher = await StartAsync(("DMB_PROBE_INTERVAL", "1"));
        await publisher.NotifyAsync("fax", "1");
        using var removed = await _all.Http.DeleteAsync(new Uri("/register/fax", UriKind.Relative));
        string body;
        do
        {
            (_, body) = await publisher.PushAsync("fax", "2");
        } while (body != """{"ok":false,"ignore":true}""");
    }

    [Fact]
    public async Task A_webhook_gets_what_a_publisher_takes()
    {
        await using var receiver = await Receiver.StartAsync();
        await Webhooks.TestHook.RegisterAsync(_all.Http, receiver.Url, "\"rooms\":[\"support\"]");
        await using var publisher = await StartAsync();
        await publisher.NotifyAsync("report_csr", "\"first\"");
        Assert.Equal(["\"first\""], await receiver.NextAsync(1));
    }

    [Fact]
    public async Task What_needs_sessions_is_answered_404_publish_only()
    {
        await using var publisher = await StartAsync();
        foreach (
            var path in (string[])
                [
                    "/",
                    "/dmb.js",
                    "/ws",
                    "/events?room=support",
                    "/socket.io/?EIO=4&transport=polling",
                    "/tail",
                    "/nodes",
                    "/stats",
                    "/rooms",
                    "/rooms/support",
                    "/rooms/support/sessions",
                    "/rooms/support/history",
                    "/sessions",
                    "/backend/0123456789abcdef0123456789abcdef/uplink",
                ]
        )
        {
            using var response = await publisher.Http.GetAsync(new Uri(path, UriKind.Relative));
            var problem = await response.Content.ReadAsStringAsync();
            Assert.Equal(
                (path, 404, "application/problem+json"),
                (path, (int)response.StatusCode, response.Content.Headers.ContentType!.MediaType)
            );
            Assert.Contains("DMB_ROLE=all", problem, StringComparison.Ordinal);
            Assert.Contains("\"code\":\"publish_only\"", problem, StringComparison.Ordinal);
        }

        var refused = await Assert.ThrowsAnyAsync<IOException>(publisher.ConnectAsync);
        Assert.Contains("404", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_publisher_needs_is_served()
    {
        await using var publisher = await StartAsync();
        await publisher.BecomesAsync("ready");
        foreach (
            var path in (string[])
                ["/healthz", "/readyz?strict=1", "/metrics", "/register", "/webhooks", "/dead", "/openapi.yaml"]
        )
        {
            using var response = await publisher.Http.GetAsync(new Uri(path, UriKind.Relative));
            Assert.True(response.IsSuccessStatusCode, $"{path}: {response.StatusCode}");
        }
    }

    [Fact]
    public async Task Nothing_is_subscribed()
    {
        await _all.TerminateAsync();
        await using var publisher = await StartAsync();
        await publisher.BecomesAsync("ready");
        Assert.Equal("0", await _redis.CommandAsync("PUBSUB", "NUMPAT"));
        Assert.DoesNotContain("dmb:", await _redis.CommandAsync("PUBSUB", "CHANNELS"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task While_Redis_is_away_pushes_are_spooled_and_sent_when_it_is_back()
    {
        await using var publisher = await StartAsync(("DMB_PUBLISH_TIMEOUT", "1"), ("DMB_PROBE_INTERVAL", "1"));
        await publisher.BecomesAsync("ready");
        await _redis.KillAsync();
        await publisher.BecomesAsync("degraded");
        var (status, body) = await publisher.PushAsync("report_csr", "7");
        Assert.Equal(202, status);
        Assert.Contains("\"degraded\":", body, StringComparison.Ordinal);

        await using var client = await _all.JoinAsync("support");
        await _redis.StartAsync();
        await publisher.BecomesAsync("ready");
        string frame;
        do
        {
            frame = await client.ReadAsync();
        } while (frame.StartsWith("""{"event":"backplane",""", StringComparison.Ordinal));
        Assert.StartsWith("""{"event":"report_csr","data":7,""", frame, StringComparison.Ordinal);
    }

    private Task<NodeProcess> StartAsync(params (string, string)[] more) =>
        NodeProcess.StartAsync([.. Address, ("DMB_ROLE", "publish"), .. more]);

    private static Func<System.Text.Json.JsonElement, bool> Is(string name) =>
        entry => entry.GetProperty("event").GetString() == name;

    private static async Task RegisterAsync(NodeProcess node, string json)
    {
        using var body = new StringContent(json, Encoding.UTF8, "application/json");
        using var response = await node.Http.PostAsync(new Uri("/register", UriKind.Relative), body);
        Assert.True(response.IsSuccessStatusCode);
    }

    private static async Task<(int, string)> BatchAsync(NodeProcess node)
    {
        using var body = new StringContent("""[{"event":"unheard_of","data":1}]""", Encoding.UTF8, "application/json");
        using var response = await node.Http.PostAsync(new Uri("/_notify", UriKind.Relative), body);
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync());
    }
}
