using System.Net;
using System.Text.Json;

namespace Dmb.Tests.Webhooks;

/// <summary>What could not be delivered, and is delivered again, on a node alone and over Redis.</summary>
public sealed class DeadLetterTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task What_was_refused_is_kept_with_its_reason_and_delivered_again_when_asked(bool overRedis)
    {
        await using var redis = overRedis ? await RedisServer.StartAsync() : null;
        await using var node = await StartAsync(redis);
        var isWell = false;
        await using var receiver = await Receiver.StartAsync(
            (context, _) =>
            {
                context.Response.StatusCode = Volatile.Read(ref isWell) ? 200 : 422;
                return Task.CompletedTask;
            }
        );
        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, "\"events\":[\"call\"]");
        var ids = new List<string>();
        for (var i = 0; i < 3; i++)
        {
            ids.Add(await node.NotifyAsync("call", $$"""{"n":{{i}}}"""));
        }

        await receiver.NextAsync(3);
        var letters = await DeadAsync(node, "?reason=status", 3);
        Assert.Equal(ids.AsEnumerable().Reverse(), letters.Select(letter => letter.GetProperty("message").GetString()));
        var newest = letters[0];
        Assert.Equal(
            (hook.Id, "call", "calls", "status", "422 UnprocessableEntity", 1, """{"n":2}"""),
            (
                newest.GetProperty("webhook").GetString(),
                newest.GetProperty("event").GetString(),
                newest.GetProperty("subject").GetString(),
                newest.GetProperty("reason").GetString(),
                newest.GetProperty("detail").GetString(),
                newest.GetProperty("attempts").GetInt32(),
                newest.GetProperty("data").GetRawText()
            )
        );
        Assert.Empty(await DeadAsync(node, "?reason=timeout", 0));
        var paged = await node.GetAsync("/dead?limit=2");
        Assert.Equal(2, paged.GetProperty("items").GetArrayLength());
        Assert.Single(await DeadAsync(node, $"?after={paged.GetProperty("next").GetString()}", 1));

        Volatile.Write(ref isWell, true);
        Assert.Equal(HttpStatusCode.NoContent, await AskAsync(node, HttpMethod.Delete, $"/dead/{Id(letters[1])}"));
        Assert.Equal(HttpStatusCode.NotFound, await AskAsync(node, HttpMethod.Delete, $"/dead/{Id(letters[1])}"));
        Assert.Equal(HttpStatusCode.NoContent, await AskAsync(node, HttpMethod.Post, $"/dead/{Id(newest)}/replay"));
        var replayed = await receiver.NextAsync();
        Assert.Equal(("""{"n":2}""", ids[2]), (replayed.Body, replayed["webhook-id"]));
        Assert.Equal(HttpStatusCode.OK, await AskAsync(node, HttpMethod.Post, $"/dead/replay?webhook={hook.Id}"));
        Assert.Equal(["""{"n":0}"""], await receiver.NextAsync(1));
        Assert.Empty(await DeadAsync(node, "", 0));
        Assert.Contains(
            "dmb_dead_total{reason=\"status\"} 3",
            await node.Http.GetStringAsync(new Uri(node.Url, "/metrics")),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task An_input_over_Redis_that_is_none_is_kept_once_and_can_be_sent_again()
    {
        await using var cluster = await Cluster.StartAsync();
        await cluster.Redis.CommandAsync("PUBLISH", "dmb:notify:call", "{broken");
        var letter = Assert.Single(await DeadAsync(cluster.Nodes[0], "?reason=refused_input", 1));
        Assert.Equal(
            ("dmb:notify:call", "{broken"),
            (letter.GetProperty("channel").GetString(), letter.GetProperty("data").GetString())
        );
        Assert.Equal(
            HttpStatusCode.NoContent,
            await AskAsync(cluster.Nodes[0], HttpMethod.Post, $"/dead/{Id(letter)}/replay")
        );
    }

    private static Task<NodeProcess> StartAsync(RedisServer? redis) =>
        redis is null
            ? NodeProcess.StartAsync(("REDIS_HOST", "none"))
            : NodeProcess.StartReadyAsync(("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", $"{redis.Port}"));

    /// <summary>The dead letters, once there are as many.</summary>
    private static async Task<JsonElement[]> DeadAsync(NodeProcess node, string query, int count)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        JsonElement[] found;
        do
        {
            found = [.. (await node.GetAsync("/dead" + query)).GetProperty("items").EnumerateArray()];
            Assert.False(patience.IsCancellationRequested, $"There are {found.Length}, not {count}.");
        } while (found.Length != count);

        return found;
    }

    private static string Id(JsonElement letter) => letter.GetProperty("id").GetString()!;

    private static async Task<HttpStatusCode> AskAsync(NodeProcess node, HttpMethod method, string path)
    {
        using var request = new HttpRequestMessage(method, new Uri(node.Url, path));
        using var response = await node.Http.SendAsync(request);
        return response.StatusCode;
    }
}
