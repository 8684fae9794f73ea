using System.Text.Json;
using Dmb.Tests.Redis;

namespace Dmb.Tests.History;

/// <summary>
/// What becomes of places when Redis ends, forgets, or goes back: a count that was lost is never taken for one that
/// goes on.
/// </summary>
[Collection(HistoryLane.Name)]
public sealed class LostCountTests : IAsyncLifetime
{
    private const string Room = "count:1";
    private readonly Started _started = new();
    private (string, string)[] _settings = [];
    private RedisServer _redis = null!;
    private FaultProxy _proxy = null!;
    private NodeProcess _node = null!;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync() => _started.DisposeAsync();

    [Fact]
    public async Task Positions_continue_if_Redis_kept_its_data()
    {
        await StartAsync("--appendonly", "yes", "--appendfsync", "always");
        var start = await PlaceAsync();
        await PublishAsync(1, 3);
        await _redis.KillAsync();
        await _node.BecomesAsync("degraded");
        await _redis.StartAsync();
        await _node.BecomesAsync("ready");
        await PublishAsync(4, 4);
        await ResumesAsync(start, $$"""{"room":"count:1","pos":"{{start.Epoch}}:4","recovered":true}""", 1, 2, 3, 4);
    }

    [Fact]
    public async Task A_count_is_lost_with_the_data_of_Redis()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await PublishAsync(1, 3);
        await _redis.KillAsync();
        await _node.BecomesAsync("degraded");
        await _redis.StartAsync();
        await _node.BecomesAsync("ready");
        await IsLostAsync(start);
    }

    [Fact]
    public async Task A_new_epoch_begins_when_Redis_restores_an_older_state()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await PublishAsync(1, 3);
        await _redis.CommandAsync("SAVE");
        await PublishAsync(4, 6);
        await _redis.KillAsync();
        await _node.BecomesAsync("degraded");
        await _redis.StartAsync();
        await _node.BecomesAsync("ready");
        await PublishAsync(7, 9);
        await IsLostAsync(start with { Seq = 5 });
    }

    [Fact]
    public async Task A_count_is_lost_when_all_keys_are_deleted_under_a_running_node()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await PublishAsync(1, 3);
        await _redis.CommandAsync("FLUSHALL");
        await IsLostAsync(start);
    }

    [Fact]
    public async Task A_count_is_lost_with_its_key()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await PublishAsync(1, 3);
        await _redis.CommandAsync("DEL", "dmb:pos:count:1");
        await IsLostAsync(start);
    }

    [Fact]
    public async Task Without_memory_a_message_is_delivered_and_the_count_is_given_up()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await PublishAsync(1, 3);
        await using var client = await _node.JoinAsync(Room);
        await _redis.CommandAsync("CONFIG", "SET", "maxmemory", "1");
        await PublishAsync(4, 4);
        Assert.Contains("\"n\":4,", await client.ReadAsync(), StringComparison.Ordinal);
        await _redis.CommandAsync("CONFIG", "SET", "maxmemory", "0");
        await IsLostAsync(start);
    }

    [Fact]
    public async Task Expired_messages_are_reported()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await PublishAsync(1, 3);

        // As Redis does when their time is up.
        await _redis.CommandAsync("DEL", "dmb:history:count:1");
        await PublishAsync(4, 4);
        await ResumesAsync(
            start,
            $$"""{"room":"count:1","pos":"{{start.Epoch}}:4","recovered":false,"why":"expired","lost":3}""",
            4
        );
    }

    [Fact]
    public async Task During_an_outage_a_recovery_is_refused_with_a_retry_and_a_new_join_succeeds()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await PublishAsync(1, 2);
        await _redis.KillAsync();
        await _node.BecomesAsync("degraded");
        await using var client = await _node.ConnectAsync();
        var refused = await client.AckAsync("subscribe", $$"""{"room":"{{Room}}","since":"{{start}}"}""");
        Assert.Contains("\"code\":\"backplane_down\"", refused, StringComparison.Ordinal);
        Assert.Contains("\"retry\":true", refused, StringComparison.Ordinal);
        await using var fresh = await _node.ConnectAsync();
        Assert.Contains(
            "\"ok\":true,\"data\":{\"room\":\"count:1\"}",
            await fresh.AckAsync("subscribe", $"\"{Room}\""),
            StringComparison.Ordinal
        );

        var (status, _) = await _node.PushAsync("any", """{"n":3,"_in":"count:1"}""");
        Assert.Equal(202, status);
        while (!(await fresh.ReadAsync()).Contains("\"n\":3,", StringComparison.Ordinal))
        {
            // Joined, and what is told of Redis.
        }

        Assert.DoesNotContain(await client.ReadAllAsync(), text => text.Contains("\"n\":3,", StringComparison.Ordinal));
    }

    [Fact]
    public async Task During_an_outage_a_recovery_at_the_latest_position_is_refused_too()
    {
        await StartAsync();
        var last = await PlaceAsync();
        await using var member = await _node.JoinAsync(Room);
        _proxy.Refuse();
        await _node.BecomesAsync("degraded");
        await _node.PushAsync("any", $$"""{"n":1,"_in":"{{Room}}"}""");
        await using var client = await _node.ConnectAsync();
        Assert.Contains(
            "\"code\":\"backplane_down\"",
            await client.AckAsync("subscribe", $$"""{"room":"{{Room}}","since":"{{last}}"}"""),
            StringComparison.Ordinal
        );

        // Nor is a new member told a place behind which it would not get all.
        Assert.Contains(
            $$"""data":{"room":"{{Room}}"}""",
            await client.AckAsync("subscribe", $"\"{Room}\""),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task A_message_delivered_in_an_outage_reaches_a_client_that_resumes_before_it_returns_from_Redis()
    {
        await StartAsync();
        var last = await PlaceAsync();
        await using var member = await _node.JoinAsync(Room);
        for (var round = 0; round < 5; round++)
        {
            _proxy.Refuse();
            await _node.BecomesAsync("degraded");
            var numbers = Enumerable.Range((int)last.Seq + 1, 90).ToArray();
            foreach (var number in numbers)
            {
                await _node.PushAsync("any", $$"""{"n":{{number}},"_in":"{{Room}}"}""");
            }

            _proxy.Heal();
            await using var client = await _node.ConnectAsync();
            while (
                !(await client.AckAsync("subscribe", $$"""{"room":"{{Room}}","since":"{{last}}"}""")).Contains(
                    "\"recovered\":true",
                    StringComparison.Ordinal
                )
            )
            {
                // The answers set the pace, until the node is up to date.
            }

            Assert.Equal(numbers, await client.NumbersAsync(numbers.Length));
            last = last with { Seq = numbers[^1] };
        }
    }

    [Fact]
    public async Task Spooled_messages_are_in_the_history_once_and_not_delivered_again()
    {
        await StartAsync("--appendonly", "yes", "--appendfsync", "always");
        var start = await PlaceAsync();
        await using var client = await _node.JoinAsync(Room);
        await PublishAsync(1, 5);
        await _redis.KillAsync();
        for (var i = 6; i <= 8; i++)
        {
            await _node.PushAsync("any", $$"""{"n":{{i}},"_in":"{{Room}}"}""");
        }

        await _redis.StartAsync();
        await _node.BecomesAsync("ready");
        await PublishAsync(9, 9);
        Assert.Equal(Enumerable.Range(1, 9), await client.NumbersAsync(9));
        await ResumesAsync(
            start,
            $$"""{"room":"count:1","pos":"{{start.Epoch}}:9","recovered":true}""",
            1,
            2,
            3,
            4,
            5,
            6,
            7,
            8,
            9
        );
    }

    [Fact]
    public async Task Missing_messages_are_read_before_later_ones_are_delivered()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await using var client = await _node.JoinAsync(Room);
        await PublishAsync(1, 1);

        // Counted and kept as always, and never published.
        for (var i = 2; i <= 3; i++)
        {
            await _redis.CommandAsync("HINCRBY", "dmb:pos:count:1", "seq", "1");
            await _redis.CommandAsync(
                "XADD",
                "dmb:history:count:1",
                $"{i}-0",
                "t",
                (await _redis.CommandAsync("TIME")).Split('\n')[0] + "000",
                "id",
                $"hidden-{i}",
                "m",
                $$"""{"event":"any","data":{"n":{{i}},"_in":"count:1"},"id":"hidden-{{i}}","rooms":["count:1"],"from":"x","pos":["{{start.Epoch}}:{{i}}"],"n":{{i}}}"""
            );
        }

        await PublishAsync(4, 4);
        int[] all = [1, 2, 3, 4];
        Assert.Equal(all, await client.NumbersAsync(all.Length));
    }

    [Fact]
    public async Task Missing_messages_that_are_no_longer_kept_are_reported_as_a_gap_in_order()
    {
        await StartAsync();
        var start = await PlaceAsync();
        await using var client = await _node.JoinAsync(Room);
        await PublishAsync(1, 1);
        await _redis.CommandAsync("HINCRBY", "dmb:pos:count:1", "seq", "3");
        await PublishAsync(5, 5);
        Assert.Contains("\"n\":1,", await client.ReadAsync(), StringComparison.Ordinal);
        Assert.Equal("""{"event":"gap","data":{"room":"count:1","lost":3}}""", await client.ReadAsync());
        Assert.Contains($"\"pos\":\"{start.Epoch}:5\"", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task After_a_cut_that_the_log_does_not_reach_back_to_all_rooms_are_brought_up_to_date()
    {
        await StartAsync();
        await using var client = await _node.JoinAsync(Room, "count:2", "count:3");
        await PublishAsync(1, 1);
        var other = await StartNodeAsync(_redis.Port);
        _proxy.Refuse();
        await _node.BecomesAsync("degraded");
        for (var i = 2; i <= 4; i++)
        {
            await other.NotifyAsync("any", $$"""{"n":{{i}},"_in":["count:1","count:{{i % 2 + 2}}"]}""");
        }

        for (var i = 1; i <= 120; i++)
        {
            await other.NotifyAsync("any", $$"""{"n":{{i + 4}},"_in":"count:3"}""");
        }

        await _redis.CommandAsync("DEL", "dmb:log");
        _proxy.Heal();
        var numbers = new List<int>();
        string? gap = null;
        while (numbers.Count < 4 + 100)
        {
            var message = JsonElement.Parse(await client.ReadAsync());
            switch (message.GetProperty("event").GetString())
            {
                case "any":
                    numbers.Add(message.GetProperty("data").GetProperty("n").GetInt32());
                    break;
                case "gap":
                    gap = message.GetProperty("data").GetRawText();
                    break;
            }
        }

        // The 120 took the place of the one that went to count:3 as well, and of 20 of their own.
        Assert.Equal("""{"room":"count:3","lost":20}""", gap);
        Assert.Equal([1, 2, 3, 4, .. Enumerable.Range(25, 100)], numbers);
    }

    [Fact]
    public async Task A_disconnect_while_Redis_has_no_memory_for_its_log_is_reported_once_even_if_it_has_memory_later()
    {
        const string Said = "messages may be lost";
        _settings = [("DMB_PROBE_INTERVAL", "1")];
        await StartAsync();
        await using var client = await _node.JoinAsync(Room);
        using var watch = await _redis.OpenAsync();
        await watch.CommandAsync("PSUBSCRIBE", "dmb:node:*");
        await _redis.CommandAsync("CONFIG", "SET", "maxmemory", "1");
        string said;
        do
        {
            said = await watch.NextAsync();
        } while (!said.Contains("\nprobe ", StringComparison.Ordinal) || !said.EndsWith(' '));

        // What comes behind the probe says that the node has read that, too.
        await PublishAsync(1, 1);
        await client.NumbersAsync(1);
        for (var cut = 1; cut <= 2; cut++)
        {
            _proxy.Refuse();
            await _node.BecomesAsync("degraded");
            await _redis.CommandAsync("CONFIG", "SET", "maxmemory", "0");
            _proxy.Heal();
            await _node.BecomesAsync("ready");
            await _node.LogAsync(Said);
        }

        Assert.Single(_node.Log, line => line.Contains(Said, StringComparison.Ordinal));
    }

    private async Task StartAsync(params string[] redis)
    {
        _redis = await RedisServer.StartAsync(redis);
        _started.Add(_redis);
        _proxy = new FaultProxy(_redis.Port);
        _started.Add(_proxy);
        _node = await StartNodeAsync(_proxy.Port);
    }

    private async Task<NodeProcess> StartNodeAsync(int redis)
    {
        var node = await NodeProcess.StartReadyAsync([
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis}"),
            .. NodeProcess.Patient,
            .. HistoryCluster.Settings,
            .. _settings,
        ]);
        _started.Add(node);
        return node;
    }

    private async Task<Place> PlaceAsync()
    {
        await using var client = await _node.ConnectAsync();
        var place = Place.Of(JsonElement.Parse(await client.AckAsync("subscribe", $"\"{Room}\"")).GetProperty("data"));

        // While a member is left the node itself knows where the room stands.
        Assert.Contains("\"ok\":true", await client.AckAsync("unsubscribe", $"\"{Room}\""), StringComparison.Ordinal);
        return place;
    }

    private async Task PublishAsync(int first, int last)
    {
        for (var i = first; i <= last; i++)
        {
            await _node.NotifyAsync("any", $$"""{"n":{{i}},"_in":"{{Room}}"}""");
        }
    }

    private async Task IsLostAsync(Place since)
    {
        await using var client = await _node.ConnectAsync();
        var answer = await client.AckAsync("subscribe", $$"""{"room":"{{Room}}","since":"{{since}}"}""");
        Assert.Contains("\"recovered\":false,\"why\":\"epoch\"", answer, StringComparison.Ordinal);
        Assert.DoesNotContain($"\"pos\":\"{since.Epoch}:", answer, StringComparison.Ordinal);
    }

    private async Task ResumesAsync(Place since, string answer, params int[] numbers)
    {
        await using var client = await _node.ConnectAsync();
        Assert.Contains(
            answer,
            await client.AckAsync("subscribe", $$"""{"room":"{{Room}}","since":"{{since}}"}"""),
            StringComparison.Ordinal
        );
        Assert.Equal(numbers, await client.NumbersAsync(numbers.Length));
    }
}
