using System.Text.Json;

namespace Dmb.Tests.Webhooks;

/// <summary>A receiver that fails for an hour, on a clock that the test moves.</summary>
public sealed class FailingReceiverTests
{
    [Fact]
    public async Task After_an_hour_of_500s_behind_a_breaker_messages_are_dead_and_say_why()
    {
        await using var node = await Node.StartAsync();
        await using var receiver = await Receiver.StartAsync(
            (context, _) =>
            {
                context.Response.StatusCode = 500;
                return Task.CompletedTask;
            }
        );
        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, "\"events\":[\"call\"]");
        var start = node.Time.GetUtcNow();
        await node.NotifyAsync("call", "1");
        await node.NotifyAsync("call", "2");
        var wasOpen = false;
        do
        {
            // The clock stands while an attempt is under way, for the answer comes over a real socket.
            await node.Time.DelayAsync();
            var shown = await GetAsync(node, "/webhooks/" + hook.Id);
            wasOpen |= shown.GetProperty("delivery").GetProperty("breaker").GetString() == "open";
            node.Time.Advance(TimeSpan.FromSeconds(5));
        } while (node.Time.HasDelay || node.Time.GetUtcNow() - start < TimeSpan.FromHours(1));

        using var patience = new CancellationTokenSource(Node.Patience);
        JsonElement[] dead;
        do
        {
            dead = [.. (await GetAsync(node, "/dead")).GetProperty("items").EnumerateArray()];
            Assert.False(patience.IsCancellationRequested, $"{await GetAsync(node, "/webhooks/" + hook.Id)}");
        } while (dead.Length < 2);

        Assert.True(wasOpen);
        Assert.Equal(["2", "1"], dead.Select(letter => letter.GetProperty("data").GetRawText()));
        Assert.All(dead, letter =>
            Assert.Equal(
                "status: 500 InternalServerError",
                $"{letter.GetProperty("reason").GetString()}: {letter.GetProperty("detail").GetString()}"
            )
        );
        Assert.True(dead[1].GetProperty("time").GetDateTimeOffset() - start >= TimeSpan.FromHours(1));
        Assert.InRange(dead[1].GetProperty("attempts").GetInt32(), 5, 1_000);
    }

    private static async Task<JsonElement> GetAsync(Node node, string path) =>
        JsonElement.Parse(await node.Http.GetStringAsync(new Uri(node.Url, path)));
}
