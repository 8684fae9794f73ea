using System.Net;
using System.Text.Json;
using Dmb.Tests.Backends;
using Dmb.Tests.Redis;
using Microsoft.AspNetCore.Http;

namespace Dmb.Tests.Webhooks;

/// <summary>What webhooks are promised by nodes that share them, wherever these meet.</summary>
public abstract class WebhookSpec(SharedCluster shared)
{
    [Fact]
    public async Task A_webhook_of_one_node_gets_the_messages_of_all_nodes_once_each()
    {
        var room = $"hook:{Guid.NewGuid():N}";
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(shared.Nodes[0].Http, receiver.Url, $"\"rooms\":[\"{room}\"]");
        await TestHook.IsKnownAsync(shared.Nodes);
        string[] bodies = [.. Enumerable.Range(0, 31).Select(n => $$"""{"n":{{n}},"_in":["{{room}}"]}""")];
        for (var i = 0; i < 30; i++)
        {
            await shared.Nodes[i % 3].NotifyAsync("any", bodies[i]);
        }

        await shared.Redis.CommandAsync("PUBLISH", shared.Prefix + "notify:any", bodies[30]);
        Assert.Equal(bodies, await receiver.NextAsync(31));

        using var removed = await shared.Nodes[1].Http.DeleteAsync(new Uri($"/webhooks/{hook.Id}", UriKind.Relative));
        Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
        foreach (var node in shared.Nodes)
        {
            while ((await node.GetAsync("/webhooks")).GetProperty("items").GetArrayLength() > 0)
            {
                await Task.Yield();
            }
        }
    }

    [Fact]
    public async Task A_function_hears_its_users_on_any_node_and_answers_them()
    {
        await using var receiver = await Receiver.StartAsync(
            async (context, _) =>
            {
                context.Response.StatusCode = 200;
                await context.Response.WriteAsync("""{"messages":[{"to":"ann","data":1}]}""");
            }
        );
        var (status, body) = await HttpBackend.PostAsync(
            new Uri(shared.Nodes[0].Url, "/register/backend"),
            $$$"""{"name":"f","webhook":{"url":"{{{receiver.Url}}}"}}"""
        );
        Assert.True(status == HttpStatusCode.Created, body);
        var bkid = JsonElement.Parse(body).GetProperty("bkid").GetString()!;
        await using var ann = await TestUser.JoinAsync(shared.Nodes[2].Url, bkid, "ann");
        var connect = await receiver.NextAsync();
        Assert.Equal("ann", connect["ce-subject"]);
        Assert.StartsWith("{\"type\":\"connect\"", connect.Body, StringComparison.Ordinal);
        await ann.GetsAsync("dmb:direct", "1");
        await ann.SayAsync("\"hello\"");
        Assert.Contains("\"data\":\"hello\"", (await receiver.NextAsync()).Body, StringComparison.Ordinal);
        await ann.GetsAsync("dmb:direct", "1");
        using var freed = await shared
            .Nodes[1]
            .Http.DeleteAsync(new Uri("/register/backend/" + bkid, UriKind.Relative));
        Assert.Equal(HttpStatusCode.NoContent, freed.StatusCode);
    }
}
