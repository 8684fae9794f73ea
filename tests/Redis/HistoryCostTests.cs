using System.Globalization;

namespace Dmb.Tests.Redis;

/// <summary>What Redis has to do for long histories: what holds it up holds up every publish of every node.</summary>
[Collection(RedisLane.Name)]
public sealed class HistoryCostTests : IAsyncLifetime
{
    private const int Messages = 1_201;
    private const string History = "dmb:history:n:long";

    private readonly RedisServer _redis = new();
    private FaultProxy _proxy = null!;
    private NodeProcess _node = null!;

    public async ValueTask InitializeAsync()
    {
        await _redis.StartAsync();
        _proxy = new FaultProxy(_redis.Port);
        _node = await NodeProcess.StartReadyAsync(
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{_proxy.Port}"),
            ("DMB_HISTORY_ROOMS", "n:*=5000/86400"),
            ("DMB_EVENTS", "any=")
        );
        for (var i = 0; i < Messages; i++)
        {
            await PublishAsync();
        }

        await _redis.CommandAsync("CONFIG", "RESETSTAT");
    }

    public async ValueTask DisposeAsync()
    {
        await _node.DisposeAsync();
        await _proxy.DisposeAsync();
        await _redis.DisposeAsync();
    }

    [Fact]
    public async Task A_long_history_is_read_in_pages_of_500()
    {
        var epoch = await _redis.CommandAsync("HGET", "dmb:pos:n:long", "epoch");
        await using var client = await _node.ConnectAsync();
        await client.AckAsync("subscribe", $$"""{"room":"n:long","since":"{{epoch}}:0"}""");
        Assert.Equal("""{"event":"joined","data":"n:long"}""", await client.ReadAsync());
        for (var i = 1; i <= Messages; i++)
        {
            Assert.EndsWith($"\"pos\":\"{epoch}:{i}\"}}", await client.ReadAsync(), StringComparison.Ordinal);
        }

        Assert.Equal(3, await ReadsAsync());
    }

    [Theory]
    [InlineData(Way.ToRedis, Messages)]
    [InlineData(Way.FromRedis, Messages + 1)]
    public async Task What_is_sent_again_is_searched_for_among_the_messages_since_alone(Way lost, int executed)
    {
        _proxy.Swallow(lost);
        var (status, _) = await _node.PushAsync("any", """{"_in":"n:long"}""");
        Assert.Equal(202, status);
        Assert.Equal($"{executed}", await _redis.CommandAsync("XLEN", History));

        _proxy.Heal();
        await _node.BecomesAsync("ready");
        Assert.Equal($"{Messages + 1}", await _redis.CommandAsync("XLEN", History));
        Assert.Equal(1, await ReadsAsync());
    }

    private Task<string> PublishAsync() => _node.NotifyAsync("any", """{"_in":"n:long"}""");

    /// <summary>Reads of streams from their ends.</summary>
    private async Task<int> ReadsAsync()
    {
        const string Before = "cmdstat_xrevrange:calls=";
        var stats = await _redis.CommandAsync("INFO", "commandstats");
        var calls = stats.Split('\n').Single(line => line.StartsWith(Before, StringComparison.Ordinal))[
            Before.Length..
        ];
        return int.Parse(calls.Split(',')[0], CultureInfo.InvariantCulture);
    }
}
