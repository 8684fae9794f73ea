using System.Net;
using System.Text.Json;
using Dmb.Tests.Redis;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Operations;

/// <summary>
/// What operators see and change on three nodes, wherever these meet: asked of any, it is what is on all.
/// </summary>
public abstract class OperatorSpec(SharedCluster shared)
{
    [Fact]
    public async Task Every_node_sees_the_nodes_the_rooms_and_the_sessions_of_all()
    {
        await using var one = await shared.Nodes[0].JoinAsync("operator:seen");
        await using var two = await shared.Nodes[1].JoinAsync("operator:seen");
        await using var three = await shared.Nodes[2].JoinAsync("operator:seen");
        foreach (var node in shared.Nodes)
        {
            var nodes = await node.GetAsync("/nodes");
            Assert.Equal(3, Items(nodes).Select(item => Text(item, "id")).Distinct().Count());
            Assert.Empty(nodes.GetProperty("missing").EnumerateArray());

            var room = Assert.Single(Items(await node.GetAsync("/rooms?prefix=operator:seen")));
            Assert.Equal(3, room.GetProperty("sessions").GetInt32());

            var sessions = new List<string>();
            for (var after = ""; ; )
            {
                var page = await node.GetAsync("/rooms/operator:seen/sessions?limit=2" + after);
                sessions.AddRange(Items(page).Select(item => Text(item, "session")));
                if (page.GetProperty("next").GetString() is not { } next)
                {
                    break;
                }

                after = "&after=" + next;
            }

            Assert.Equal(3, sessions.Distinct().Count());
        }
    }

    [Fact]
    public async Task A_session_is_moved_and_closed_from_another_node()
    {
        await using var client = await shared.Nodes[2].JoinAsync("operator:moved");
        var id = Text(Assert.Single(Items(await shared.Nodes[0].GetAsync("/sessions?room=operator:moved"))), "session");
        Assert.Equal(
            HttpStatusCode.NoContent,
            await SendAsync(shared.Nodes[0], "PUT", $"/sessions/{id}/rooms/operator:more")
        );
        Assert.Equal("""{"event":"joined","data":"operator:more"}""", await client.ReadAsync());
        Assert.Equal(
            HttpStatusCode.NoContent,
            await SendAsync(shared.Nodes[1], "DELETE", $"/sessions/{id}?code=4042&reason=done")
        );
        await Expect.ClosedAsync(4042, reconnect: false, client);
        Assert.Equal(HttpStatusCode.NotFound, await SendAsync(shared.Nodes[1], "DELETE", $"/sessions/{id}"));
    }

    [Fact]
    public async Task Sessions_of_all_nodes_are_streamed_once_each_newest_first()
    {
        const string Room = "operator:streamed";
        var clients = new List<TestClient>();
        try
        {
            for (var i = 0; i < 9; i++)
            {
                clients.Add(await shared.Nodes[i % 3].JoinAsync(Room));
            }

            var listed = Items(await shared.Nodes[0].GetAsync("/sessions?room=" + Room));
            var lines = await StreamAsync(shared.Nodes[1], "/sessions?room=" + Room);
            Assert.Equal("""{"missing":[]}""", lines[^1]);
            Assert.Equal(
                listed.Select(item => Text(item, "session")),
                lines[..^1].Select(line => Text(JsonElement.Parse(line), "session"))
            );
            Assert.Equal(9, lines.Length - 1);
        }
        finally
        {
            foreach (var client in clients)
            {
                await client.DisposeAsync();
            }
        }
    }

    [Fact]
    public async Task A_node_that_drains_sends_its_sessions_to_the_others()
    {
        await using var leaving = await shared.Cluster.StartNodeAsync(("DMB_DRAIN_WINDOW", "0"));
        await leaving.BecomesAsync("ready");
        await using var client = await leaving.JoinAsync("drain:1", "drain:2");
        var id = await shared.Nodes[0].NotifyAsync("any", """{"_in":["drain:1","drain:2"]}""");
        Assert.Contains(id, await client.ReadAsync(), StringComparison.Ordinal);
        leaving.Terminate();
        await Expect.ClosedAsync(1012, reconnect: true, client);
        Assert.Equal(0, await leaving.EndAsync());
        await using var back = await shared.Nodes[1].JoinAsync("drain:1", "drain:2");
        id = await shared.Nodes[0].NotifyAsync("any", """{"_in":["drain:1","drain:2"]}""");
        Assert.Contains(id, await back.ReadAsync(), StringComparison.Ordinal);
    }

    protected static async Task<string[]> StreamAsync(NodeProcess node, string path)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(node.Url, path));
        request.Headers.Accept.ParseAdd("application/x-ndjson");
        using var answer = await node.Http.SendAsync(request);
        Assert.Equal("application/x-ndjson", answer.Content.Headers.ContentType?.MediaType);
        return (await answer.Content.ReadAsStringAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    private static async Task<HttpStatusCode> SendAsync(NodeProcess node, string method, string path)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), new Uri(node.Url, path));
        using var answer = await node.Http.SendAsync(request);
        return answer.StatusCode;
    }

    protected static JsonElement[] Items(JsonElement answer) => [.. answer.GetProperty("items").EnumerateArray()];

    protected static string Text(JsonElement item, string member) => item.GetProperty(member).GetString()!;
}
