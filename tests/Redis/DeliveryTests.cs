using System.Collections.Concurrent;

namespace Dmb.Tests.Redis;

/// <summary>
/// Three nodes on one Redis, nothing amiss: a message reaches every subscriber once, in its publisher's order.
/// </summary>
[Collection(RedisLane.Name)]
public sealed class DeliveryTests(SharedCluster shared)
{
    [Fact]
    public async Task Ten_thousand_messages_from_publishers_on_three_nodes_reach_each_subscriber_once_and_in_order()
    {
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, ["calls"], ["calls", "support"]);

        await Task.WhenAll(
            Enumerable
                .Range(0, 8)
                .Select(async publisher =>
                {
                    for (var number = 0; number < 1_250; number++)
                    {
                        await Node(publisher).NotifyAsync("call", new Numbered($"p{publisher}", number).Data());
                    }
                })
        );

        var all = Enumerable
            .Range(0, 8)
            .SelectMany(p => Enumerable.Range(0, 1_250).Select(n => new Numbered($"p{p}", n)));
        await EachGotInOrderAsync(listeners, all.ToArray(), (_, _) => true);
    }

    [Fact]
    public async Task A_message_to_several_rooms_is_one_copy_for_sessions_of_all_nodes_in_any_of_them()
    {
        string[][] sets =
        [
            ["number:1"],
            ["number:1", "number:2"],
            ["number:3", "domain:a"],
            ["calls", "number:2"],
            ["number:1", "number:2", "number:3", "domain:a", "domain:b", "calls"],
        ];
        string[] rooms = ["number:1", "number:2", "number:3", "domain:a", "domain:b"];
        await using var listeners = await Listeners.JoinAsync(shared.Nodes, sets);

        var addressed = new ConcurrentDictionary<Numbered, string[]>();
        await Task.WhenAll(
            Enumerable
                .Range(0, 6)
                .Select(async publisher =>
                {
                    var random = new Random(publisher);
                    for (var number = 0; number < 300; number++)
                    {
                        var message = new Numbered($"p{publisher}", number);
                        var some = random.GetItems(rooms, random.Next(1, 5));
                        addressed[message] = number % 2 == 0 ? [.. some, "calls"] : some;

                        // `reference` goes to calls by itself, `any` has no bus.
                        await Node(publisher).NotifyAsync(number % 2 == 0 ? "reference" : "any", message.Data(some));
                    }
                })
        );

        await EachGotInOrderAsync(
            listeners,
            [.. addressed.Keys.OrderBy(m => m.Publisher).ThenBy(m => m.Number)],
            (message, joined) => addressed[message].Intersect(joined).Any()
        );
    }

    [Fact]
    public async Task A_message_published_on_another_node_right_after_the_ack_of_a_subscribe_arrives_a_thousand_times()
    {
        for (var round = 0; round < 10; round++)
        {
            // A session has a thousand rooms at most, `public` being one.
            await using var client = await Node(round).ConnectAsync();
            for (var i = 0; i < 100; i++)
            {
                var (room, data) = ($"number:{round}-{i}", $$"""{"_in":"number:{{round}}-{{i}}"}""");
                Assert.Contains(
                    "\"ok\":true",
                    await client.AckAsync("subscribe", $"\"{room}\""),
                    StringComparison.Ordinal
                );
                var id = await Node(round + 1 + (i % 2)).NotifyAsync("any", data);
                Assert.Equal($$"""{"event":"joined","data":"{{room}}"}""", await client.ReadAsync());
                await client.GetsAsync("any", data, id);
            }
        }
    }

    [Fact]
    public async Task A_room_left_and_joined_again_misses_no_message()
    {
        await using var client = await Node(0).ConnectAsync();
        for (var i = 0; i < 200; i++)
        {
            await client.AckAsync("subscribe", "\"number:again\"");
            Assert.Equal("""{"event":"joined","data":"number:again"}""", await client.ReadAsync());
            var data = $$"""{"n":{{i}},"_in":"number:again"}""";
            await client.GetsAsync("any", data, await Node(1).NotifyAsync("any", data));
            await client.AckAsync("unsubscribe", "\"number:again\"");
            Assert.Equal("""{"event":"left","data":"number:again"}""", await client.ReadAsync());
        }
    }

    [Fact]
    public async Task The_data_crosses_nodes_byte_for_byte()
    {
        string[] datas =
        [
            """{"z":1, "a" : 2,"a":3,"big":123456789012345678901234567890,"e":1.0e+2}""",
            """ "\u00e9é\ud83d\ude00 \/ " """.Trim(),
            "null",
            "[ 1 , 2 ]",
            """{"event":"x","id":"y","rooms":["z"]}""",
        ];
        await using var client = await Node(2).JoinAsync("calls");
        foreach (var data in datas)
        {
            await client.GetsAsync("call", data, await Node(0).NotifyAsync("call", data));
        }
    }

    [Fact]
    public async Task Server_sent_events_reach_over_nodes_too()
    {
        using var response = await Node(0)
            .Http.GetAsync(new Uri(Node(0).Url, "/events?room=number:sse"), HttpCompletionOption.ResponseHeadersRead);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.StartsWith("retry: ", await reader.ReadLineAsync(), StringComparison.Ordinal);
        Assert.Equal(": connected", await reader.ReadLineAsync());

        var id = await Node(1).NotifyAsync("any", """{"_in":"number:sse"}""");
        var lines = new List<string>();
        while (lines.LastOrDefault()?.StartsWith("id:", StringComparison.Ordinal) != true)
        {
            lines.Add((await reader.ReadLineAsync().WaitAsync(Support.Node.Patience))!);
        }

        Assert.Equal(
            ["event: any", """data: {"_in":"number:sse"}""", $"id: {id}"],
            lines.Where(line => line.Length > 0 && line[0] != ':')
        );
    }

    private NodeProcess Node(int i) => shared.Nodes[i % shared.Nodes.Count];

    private static async Task EachGotInOrderAsync(
        Listeners listeners,
        Numbered[] all,
        Func<Numbered, string[], bool> isFor
    )
    {
        Numbered[] For(Listener listener) => [.. all.Where(message => isFor(message, listener.Rooms))];
        await Task.WhenAll(listeners.All.Select(listener => listener.HasAsync(For(listener))));
        Assert.Empty(await Listeners.FenceAsync(listeners.All));
        foreach (var listener in listeners.All)
        {
            // Per publisher, the sequence as it was sent: nothing lost, doubled or swapped.
            var expected = For(listener);
            var received = listener
                .Received.Where(message => message.Publisher[0] == 'p')
                .OrderBy(message => message.Publisher, StringComparer.Ordinal)
                .ToArray();
            Assert.True(expected.SequenceEqual(received), $"{listener}: {Difference(expected, received)}");
        }
    }

    private static string Difference(Numbered[] expected, Numbered[] received) =>
        $"lost {expected.Except(received).Count()} of {expected.Length}, doubled "
        + $"{received.Length - received.Distinct().Count()}, strange {received.Except(expected).Count()}";
}
