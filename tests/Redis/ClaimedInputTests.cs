using Dmb.Redis;

namespace Dmb.Tests.Redis;

/// <summary>A node dies between the claim of an input over Redis and its publish in several groups.</summary>
[Collection(FaultLane.Name)]
public sealed class ClaimedInputTests
{
    private const int Groups = 8;

    [Theory]
    [InlineData("0")]
    [InlineData("100")]
    public async Task An_input_that_a_node_claimed_before_it_died_is_published_once_by_another(string history)
    {
        await using var shards = await Shards.StartAsync();
        var first = await shards.OwnerAsync();
        var (near, far) = ("number:1", "");
        for (var i = 0; far.Length == 0; i++)
        {
            far = await shards.OwnerAsync(PrefixOf($"n:{i}")) == first ? "" : $"n:{i}";
        }

        var hung = await shards.OwnerAsync(PrefixOf(far));
        (string, string)[] settings =
        [
            .. shards.Settings,
            ("DMB_GROUPS", $"{Groups}"),
            ("DMB_EVENTS", "any="),
            ("DMB_HISTORY_SIZE", history),
            ("DMB_PUBLISH_TIMEOUT", "30"),
        ];
        await using var dying = await NodeProcess.StartReadyAsync(settings);
        await using var other = await NodeProcess.StartReadyAsync(settings);
        await using var inNear = await other.JoinAsync(near);
        await using var inFar = await other.JoinAsync(far);
        await using var inBoth = await other.JoinAsync(near, far);
        other.Stop();
        hung.Stop();
        await first.CommandAsync("PUBLISH", "{dmb}:notify:any", $$"""{"n":1,"_in":["{{near}}","{{far}}"]}""");
        while (await first.CommandAsync("EVAL", Claimed, "0") == "0")
        {
            await Task.Yield();
        }

        await dying.KillAsync();
        hung.Continue();
        other.Continue();

        // One behind it waits until the turn of the dead node has ended.
        await first.CommandAsync("PUBLISH", "{dmb}:notify:any", $$"""{"n":"behind","_in":"{{near}}"}""");
        foreach (var client in (TestClient[])[inNear, inFar, inBoth])
        {
            Assert.Contains("\"n\":1", await MessageAsync(client), StringComparison.Ordinal);
        }

        foreach (var client in (TestClient[])[inNear, inBoth])
        {
            Assert.Contains("\"n\":\"behind\"", await MessageAsync(client), StringComparison.Ordinal);
        }

        // Each has had it once: the next is another one.
        await other.BecomesAsync("ready");
        while (await first.CommandAsync("EVAL", Claimed, "0") != "0")
        {
            await Task.Yield();
        }

        await other.NotifyAsync("any", $$"""{"n":2,"_in":["{{near}}"]}""");
        await other.NotifyAsync("any", $$"""{"n":2,"_in":["{{far}}"]}""");
        foreach (var client in (TestClient[])[inNear, inFar, inBoth])
        {
            Assert.Contains("\"n\":2", await MessageAsync(client), StringComparison.Ordinal);
        }
    }

    /// <summary>Counts the inputs that nodes have claimed and not published.</summary>
    private const string Claimed = """
        local sum = 0
        for _, key in ipairs(redis.call('KEYS', '{dmb}:node:*:inputs')) do sum = sum + redis.call('HLEN', key) end
        return tostring(sum)
        """;

    private static string PrefixOf(string room) =>
        RedisChannels.PrefixOf(Shards.Prefix, HashSlot.Checksum(room) % Groups);

    /// <summary>The next message, not what is said of the backplane.</summary>
    private static async Task<string> MessageAsync(TestClient client)
    {
        string frame;
        do
        {
            frame = await client.ReadAsync();
        } while (!frame.StartsWith("{\"event\":\"any\"", StringComparison.Ordinal));

        return frame;
    }
}
