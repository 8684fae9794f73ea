using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Dmb.Tests.Redis;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Operations;

/// <summary>The operator's API on three nodes: asked of any, it sees and changes what is on all.</summary>
[Collection(RedisLane.Name)]
public sealed class ClusterTests(SharedCluster shared)
{
    [Fact]
    public async Task Every_node_sees_the_nodes_the_rooms_and_the_sessions_of_all()
    {
        await using var one = await shared.Nodes[0].JoinAsync("operator:seen");
        await using var two = await shared.Nodes[1].JoinAsync("operator:seen");
        await using var three = await shared.Nodes[2].JoinAsync("operator:seen");
        foreach (var node in shared.Nodes)
        {
            var nodes = await GetAsync(node, "/nodes");
            Assert.Equal(3, Items(nodes).Select(item => Text(item, "id")).Distinct().Count());
            Assert.Empty(nodes.GetProperty("missing").EnumerateArray());

            var room = Assert.Single(Items(await GetAsync(node, "/rooms?prefix=operator:seen")));
            Assert.Equal(3, room.GetProperty("sessions").GetInt32());

            var sessions = new List<string>();
            for (var after = ""; ; )
            {
                var page = await GetAsync(node, "/rooms/operator:seen/sessions?limit=2" + after);
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
        var id = Text(
            Assert.Single(Items(await GetAsync(shared.Nodes[0], "/sessions?room=operator:moved"))),
            "session"
        );
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

            var listed = Items(await GetAsync(shared.Nodes[0], "/sessions?room=" + Room));
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
    public async Task A_node_that_stops_is_missing_nowhere_and_one_that_is_killed_is_named()
    {
        await using var cluster = await Cluster.StartAsync(NodeProcess.Patient);
        Assert.Equal(0, await cluster.Nodes[2].TerminateAsync());
        var nodes = await GetAsync(cluster.Nodes[0], "/nodes");
        Assert.Equal(2, Items(nodes).Length);
        Assert.Empty(nodes.GetProperty("missing").EnumerateArray());

        var dead = Items(nodes).Select(item => Text(item, "id")).ToHashSet();
        await cluster.Nodes[1].KillAsync();
        nodes = await GetAsync(cluster.Nodes[0], "/nodes");
        dead.ExceptWith(Items(nodes).Select(item => Text(item, "id")));
        Assert.Equal(dead, nodes.GetProperty("missing").EnumerateArray().Select(id => id.GetString()!).ToHashSet());
        Assert.Single(dead);
    }

    [Fact]
    public async Task A_node_that_hangs_is_named_and_the_others_answer()
    {
        await using var cluster = await Cluster.StartAsync();
        var hanging = cluster.Nodes[2];
        await using var client = await cluster.Nodes[1].JoinAsync("operator:there");
        var all = Items(await GetAsync(hanging, "/nodes")).Select(item => Text(item, "id")).ToArray();
        hanging.Stop();
        try
        {
            var nodes = await GetAsync(cluster.Nodes[0], "/nodes");
            var answered = Items(nodes).Select(item => Text(item, "id"));
            Assert.Equal(
                all.Except(answered),
                nodes.GetProperty("missing").EnumerateArray().Select(id => id.GetString())
            );
            Assert.Equal(2, Items(nodes).Length);
            Assert.Single(Items(await GetAsync(cluster.Nodes[0], "/sessions?room=operator:there")));
            var lines = await StreamAsync(cluster.Nodes[0], "/sessions?room=operator:there");
            Assert.Equal(2, lines.Length);
            Assert.Equal(
                all.Except(answered),
                JsonElement.Parse(lines[1]).GetProperty("missing").EnumerateArray().Select(id => id.GetString())
            );
        }
        finally
        {
            hanging.Continue();
        }
    }

    private static async Task<JsonElement> GetAsync(NodeProcess node, string path) =>
        await node.Http.GetFromJsonAsync<JsonElement>(new Uri(node.Url, path));

    private static async Task<string[]> StreamAsync(NodeProcess node, string path)
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

    private static JsonElement[] Items(JsonElement answer) => [.. answer.GetProperty("items").EnumerateArray()];

    private static string Text(JsonElement item, string member) => item.GetProperty(member).GetString()!;
}
