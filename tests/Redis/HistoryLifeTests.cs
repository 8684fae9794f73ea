using System.Globalization;

namespace Dmb.Tests.Redis;

/// <summary>How long a room's history and position are kept in Redis (docs/protocol.md §7).</summary>
[Collection(RedisLane.Name)]
public sealed class HistoryLifeTests : IAsyncLifetime
{
    private const int LifeMs = 86_400_000;
    private const int SlackMs = LifeMs / 10;

    /// <summary>What a test may take of a life.</summary>
    private const int MinuteMs = 60_000;
    private const string History = "dmb:history:n:life";
    private const string Position = "dmb:pos:n:life";

    private readonly RedisServer _redis = new();
    private NodeProcess _node = null!;

    public async ValueTask InitializeAsync()
    {
        await _redis.StartAsync();
        _node = await NodeProcess.StartReadyAsync([
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{_redis.Port}"),
            ("DMB_HISTORY_ROOMS", "n:*=10/86400"),
            ("DMB_EVENTS", "any="),
            .. NodeProcess.Patient,
        ]);
    }

    public async ValueTask DisposeAsync()
    {
        await _node.DisposeAsync();
        await _redis.DisposeAsync();
    }

    [Fact]
    public async Task The_lives_of_a_rooms_keys_are_set_when_a_tenth_of_the_histories_life_has_passed()
    {
        await PublishAsync();
        var lived = await LivedAsync();
        Assert.InRange(await RestAsync(History), LifeMs + SlackMs - MinuteMs, LifeMs + SlackMs);
        Assert.InRange(await RestAsync(Position), LifeMs, long.MaxValue);
        await PublishAsync();
        Assert.Equal(lived, await LivedAsync());

        await _redis.CommandAsync("HINCRBY", Position, "lived", $"-{SlackMs}");
        await _redis.CommandAsync("PEXPIRE", History, $"{LifeMs}");
        await PublishAsync();
        Assert.True(await LivedAsync() >= lived);
        Assert.InRange(await RestAsync(History), LifeMs + SlackMs - MinuteMs, LifeMs + SlackMs);
        Assert.Equal("3", await _redis.CommandAsync("XLEN", History));
    }

    [Fact]
    public async Task A_history_that_was_emptied_has_a_life_again_with_its_next_message()
    {
        await PublishAsync();
        using var emptied = await _node.Http.DeleteAsync(new Uri(_node.Url, "/rooms/n:life/history"));
        Assert.True(emptied.IsSuccessStatusCode);
        Assert.Equal("0", await _redis.CommandAsync("EXISTS", History));

        await PublishAsync();
        Assert.Equal("1", await _redis.CommandAsync("XLEN", History));
        Assert.InRange(await RestAsync(History), LifeMs + SlackMs - MinuteMs, LifeMs + SlackMs);
        Assert.Equal("2", await _redis.CommandAsync("HGET", Position, "seq"));
    }

    [Fact]
    public async Task A_history_that_was_deleted_by_hand_has_a_life_again_with_its_next_message()
    {
        await PublishAsync();
        await _redis.CommandAsync("DEL", History);
        await PublishAsync();
        Assert.InRange(await RestAsync(History), LifeMs + SlackMs - MinuteMs, LifeMs + SlackMs);
        Assert.Equal("1", await _redis.CommandAsync("XLEN", History));
        Assert.Equal("2", await _redis.CommandAsync("HGET", Position, "seq"));
    }

    private Task<string> PublishAsync() => _node.NotifyAsync("any", """{"_in":"n:life"}""");

    private async Task<long> LivedAsync() => Number(await _redis.CommandAsync("HGET", Position, "lived"));

    /// <summary>What is left of a key's life, in ms.</summary>
    private async Task<long> RestAsync(string key) => Number(await _redis.CommandAsync("PTTL", key));

    private static long Number(string text) => long.Parse(text, CultureInfo.InvariantCulture);
}
