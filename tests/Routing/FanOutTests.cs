using Dmb.Routing;

namespace Dmb.Tests.Routing;

public sealed class FanOutTests
{
    private const int Large = FanOut.InlineMax + 1;

    [Fact]
    public async Task A_small_rooms_messages_are_delivered_before_the_publish_completes()
    {
        await using var broker = new Broker();
        var members = Join(broker, "support", FanOut.InlineMax);

        var published = await broker.NotifyAsync("report_csr", "{}");

        Assert.All(members, m => Assert.Equal([published.Id!], m.Ids));
    }

    [Fact]
    public async Task A_large_rooms_publisher_does_not_wait_for_its_members()
    {
        await using var broker = new Broker();
        var members = Join(broker, "support", Large);

        // The loop that serves large rooms isn't running: the publishes complete all the same.
        string?[] ids =
        [
            (await broker.NotifyAsync("report_csr", "1")).Id,
            (await broker.NotifyAsync("report_csr", "2")).Id,
        ];
        Assert.All(members, m => Assert.Empty(m.Ids));

        await broker.FanOut.StartAsync(CancellationToken.None);
        await broker.DeliveredAsync();
        Assert.All(members, m => Assert.Equal(ids, m.Ids));
        Assert.All(members, m => Assert.Equal(1, m.Flushes));
    }

    [Fact]
    public async Task A_message_never_overtakes_a_rooms_queued_ones()
    {
        await using var broker = new Broker();
        var members = Join(broker, "support", Large);
        var first = await broker.NotifyAsync("report_csr", "1");
        broker.Rooms.Leave(members[0], "support");

        // Now the room is small enough to be served at once, but the first message has to come first.
        var second = await broker.NotifyAsync("report_csr", "2");
        Assert.Empty(members[1].Ids);

        await broker.FanOut.StartAsync(CancellationToken.None);
        await broker.DeliveredAsync();
        Assert.Equal([first.Id!, second.Id!], members[1].Ids);
        Assert.Empty(members[0].Ids);
    }

    [Fact]
    public async Task A_queued_message_has_its_own_copy_of_the_data()
    {
        await using var broker = new Broker();
        var members = Join(broker, "support", Large);
        var buffer = "[1]"u8.ToArray();
        await broker.Publisher.PublishToAsync("call", ["support"], buffer, new Origin(Origin.Socket));
        buffer[1] = (byte)'2';

        await broker.FanOut.StartAsync(CancellationToken.None);
        await broker.DeliveredAsync();
        Assert.Equal(["[1]"], members[0].Data);
    }

    [Theory]
    [InlineData(2, 3)]
    [InlineData(3, 2)]
    [InlineData(Large, 2)]
    public async Task A_member_of_several_rooms_of_a_message_gets_one_copy(int inSupport, int inEndpoint)
    {
        await using var broker = new Broker();
        await broker.FanOut.StartAsync(CancellationToken.None);
        var both = Join(broker, "support", inSupport);
        foreach (var member in both.Take(inEndpoint))
        {
            broker.Rooms.Join(member, "endpoint:1", out _);
        }

        var only = Join(broker, "endpoint:1", 1)[0];
        var published = await broker.NotifyAsync("report_csr", """{"endpoint":1,"_in":["endpoint:1","endpoint:1"]}""");

        await broker.DeliveredAsync();
        Assert.All([.. both, only], m => Assert.Equal([published.Id!], m.Ids));
    }

    [Fact]
    public async Task A_pattern_gets_one_copy_of_what_matches_beside_rooms_and_other_patterns()
    {
        await using var broker = new Broker();
        var all = Join(broker, "domain:*", 1)[0];
        broker.Rooms.Join(all, "domain:example.com:*", out _);
        broker.Rooms.Join(all, "domain:example.com:1", out _);
        broker.Rooms.Join(all, "calls", out _);
        var one = Join(broker, "domain:example.com:*", 1)[0];
        var other = Join(broker, "domains:*", 1)[0];

        var both = await broker.NotifyAsync(
            "call",
            """{"_in":["domain:example.com:1","domain:example.com:2","domain:other"]}"""
        );
        var far = await broker.NotifyAsync("call", """{"_in":"domain:other:1"}""");
        broker.Rooms.LeaveAll(one);
        broker.Rooms.Leave(all, "calls");
        broker.Rooms.Leave(all, "domain:*");
        await broker.NotifyAsync("call", """{"_in":"domain:other:1"}""");
        var last = await broker.NotifyAsync("call", """{"_in":"domain:example.com:9"}""");

        Assert.Equal([both.Id!, far.Id!, last.Id!], all.Ids);
        Assert.Equal([both.Id!], one.Ids);
        Assert.Empty(other.Ids);
        broker.Rooms.LeaveAll(all);
        broker.Rooms.LeaveAll(other);
        Assert.False(broker.Rooms.HasPatterns);
    }

    [Fact]
    public async Task A_pattern_with_many_members_gets_messages_of_many_rooms_in_order()
    {
        await using var broker = new Broker();
        var members = Join(broker, "endpoint:*", Large);
        List<string?> ids = [];
        for (var i = 0; i < 100; i++)
        {
            ids.Add((await broker.NotifyAsync("call", $$"""{"endpoint":{{i % 7}}}""")).Id);
            if (i == 50)
            {
                // From here on they are served at once, behind what is queued.
                broker.Rooms.LeaveAll(members[^1]);
            }
        }

        await broker.FanOut.StartAsync(CancellationToken.None);
        await broker.DeliveredAsync();
        Assert.All(members[..^1], member => Assert.Equal(ids, member.Ids));
    }

    [Fact]
    public async Task Ten_thousand_patterns_allocate_nothing_at_a_publish()
    {
        await using var broker = new Broker();
        Join(broker, "endpoint:1", 1);
        var patterns = new Collector();
        for (var i = 0; i < 10_000; i++)
        {
            broker.Rooms.Join(patterns, $"number:{i}:*", out _);
        }

        var envelope = new Envelope("call", "id", ["endpoint:1", "number:10000:1"], "{}"u8.ToArray(), isKept: true);
        await DeliverAsync();
        var before = GC.GetAllocatedBytesForCurrentThread();
        await DeliverAsync();
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1_024);
        Assert.Empty(patterns.Ids);

        ValueTask DeliverAsync() => broker.FanOut.DeliverAsync(envelope);
    }

    [Fact]
    public async Task Members_that_come_and_go_while_messages_flow_get_them_in_order_and_once()
    {
        await using var broker = new Broker();
        await broker.FanOut.StartAsync(CancellationToken.None);
        var staying = Join(broker, "support", FanOut.InlineMax);
        var publishing = Task.Run(async () =>
        {
            for (var i = 0; i < 20_000; i++)
            {
                await broker.NotifyAsync("report_csr", $"{{\"n\":{i},\"endpoint\":1}}");
            }
        });

        // The room grows and shrinks around the size at which it is served in another way.
        while (!publishing.IsCompleted)
        {
            var passing = new Collector();
            broker.Rooms.Join(passing, "endpoint:1", out _);
            broker.Rooms.Join(passing, "support", out _);
            broker.Rooms.LeaveAll(passing);
            var received = passing.Ids;
            Assert.Equal(received.Distinct(), received);
        }

        await publishing;
        await broker.DeliveredAsync();
        var expected = Enumerable.Range(0, 20_000).Select(i => $"{{\"n\":{i},\"endpoint\":1}}");
        Assert.All(staying, m => Assert.Equal(expected, m.Data));
    }

    [Fact]
    public async Task A_room_with_10000_members_is_left_as_cheaply_as_a_small_one()
    {
        await using var broker = new Broker();
        var rooms = broker.Rooms;
        var members = Enumerable.Range(0, 10_000).Select(_ => new Collector()).ToArray();
        foreach (var member in members)
        {
            rooms.Join(member, "support", out _);
        }

        var passing = new Collector();
        JoinAndLeave(rooms, passing);
        var before = GC.GetAllocatedBytesForCurrentThread();
        JoinAndLeave(rooms, passing);
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        // A copy of the members would be 80,000 bytes.
        Assert.InRange(allocated, 0, 1_000);
        Assert.Equal(10_000, rooms.Find("support")!.Count);
    }

    private static void JoinAndLeave(RoomTable rooms, Subscriber subscriber)
    {
        rooms.Join(subscriber, "support", out _);
        rooms.Leave(subscriber, "support");
    }

    private static Collector[] Join(Broker broker, string room, int members)
    {
        var joined = Enumerable.Range(0, members).Select(_ => new Collector()).ToArray();
        foreach (var member in joined)
        {
            broker.Rooms.Join(member, room, out _);
        }

        return joined;
    }
}
