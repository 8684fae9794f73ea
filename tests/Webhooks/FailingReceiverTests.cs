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
        using var patience = new CancellationTokenSource(Node.Patience * 2);
        JsonElement[] dead;
        do
        {
            // The attempt's answer comes over a real socket, while the clock stands.
            node.Time.Advance(TimeSpan.FromSeconds(5));
            var shown = await GetAsync(node, "/webhooks/" + hook.Id);
            wasOpen |= shown.GetProperty("delivery").GetProperty("breaker").GetString() == "open";
            dead = [.. (await GetAsync(node, "/dead")).GetProperty("items").EnumerateArray()];
            Assert.False(patience.IsCancellationRequested, $"{shown}");
        } while (dead.Length < 2);

        Assert.True(wasOpen);
        Assert.Equal(["2", "1"], dead.Select(letter => letter.GetProperty("data").GetRawText()));

        // The clock may pass the timeout of an attempt whose answer is on its way.
        Assert.All(dead, letter =>
            Assert.Matches(
                "^(status: 500 InternalServerError|timeout: there is no answer in time)$",
                $"{letter.GetProperty("reason").GetString()}: {letter.GetProperty("detail").GetString()}"
            )
        );
        Assert.True(dead[1].GetProperty("time").GetDateTimeOffset() - start >= TimeSpan.FromHours(1));
        Assert.InRange(dead[1].GetProperty("attempts").GetInt32(), 5, 1_000);
    }

    private static async Task<JsonElement> GetAsync(Node node, string path) =>
        JsonElement.Parse(await node.Http.GetStringAsync(new Uri(node.Url, path)));
}
