using System.Text.Json;
using Dmb.Redis;

namespace Dmb.Tests.History;

/// <summary>
/// What every backplane promises to those who come back: the same tests for a node that runs alone and for nodes over
/// Redis.
/// </summary>
public abstract class HistorySpec(IReadOnlyList<NodeProcess> nodes)
{
    /// <summary>Groups that nodes have here, where they have several.</summary>
    private const int Groups = 8;

    private static int _rooms;
    private readonly string _room = $"history:{Interlocked.Increment(ref _rooms)}-{Guid.NewGuid():N}";

    private NodeProcess First => nodes[0];

    private NodeProcess Last => nodes[^1];

    [Fact]
    public async Task A_pattern_gets_messages_with_their_rooms_and_places_while_its_session_resumes_another_room()
    {
        var type = $"p{Guid.NewGuid():N}";
        await using var client = await Last.ConnectAsync();
        await client.AckAsync("subscribe", $"\"{type}:*\"");
        await client.ReadAllAsync();
        var id = await First.NotifyAsync("any", $$"""{"_in":"{{type}}:1"}""");
        var frame = JsonElement.Parse(await client.ReadAsync());
        Assert.Equal((id, $"{type}:1"), (frame.GetProperty("id").GetString(), frame.GetProperty("room").GetString()));
        var place = frame.GetProperty("pos").GetString();
        var missed = await First.NotifyAsync("any", $$"""{"_in":"{{type}}:1"}""");
        Assert.Contains(missed, await client.ReadAsync(), StringComparison.Ordinal);

        // While the session is held for the replay, the pattern's messages are neither lost nor sent twice.
        var resuming = client.AckAsync("subscribe", $$"""{"room":"{{type}}:1","since":"{{place}}"}""");
        List<string> ids = [];
        for (var i = 0; i < 50; i++)
        {
            ids.Add(await First.NotifyAsync("any", $$"""{"_in":"{{type}}:2"}"""));
        }

        await resuming;
        List<string> received = [];
        while (received.Count < ids.Count + 1)
        {
            var next = JsonElement.Parse(await client.ReadAsync());
            if (next.TryGetProperty("id", out var known))
            {
                received.Add(known.GetString()!);
            }
        }

        Assert.Equal([missed], received.Except(ids));
        Assert.Equal(ids, received.Where(ids.Contains));
    }

    [Fact]
    public async Task A_stream_of_a_room_and_a_pattern_keeps_the_rooms_place()
    {
        var type = $"p{Guid.NewGuid():N}";
        using var stream = await EventReader.OpenAsync(
            Last.Http,
            new Uri(Last.Url, $"/events?room={_room}&room={type}:*")
        );
        Assert.Equal(": connected", await stream.ReadAsync());
        var start = await stream.ReadAsync();
        await First.NotifyAsync("any", $$"""{"_in":"{{type}}:1"}""");
        Assert.EndsWith(start, await stream.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_message_of_a_room_with_history_carries_the_room_and_a_place_that_counts_up_by_one()
    {
        await using var client = await Last.ConnectAsync();
        var start = Place.Of(
            JsonElement.Parse(await client.AckAsync("subscribe", JsonSerializer.Serialize(_room))).GetProperty("data")
        );
        await client.ReadAllAsync();
        for (var i = 1; i <= 3; i++)
        {
            var id = await First.NotifyAsync("any", $$"""{"n":{{i}},"_in":"{{_room}}"}""");
            Assert.Equal(
                $$$"""{"event":"any","data":{"n":{{{i}}},"_in":"{{{_room}}}"},"id":"{{{id}}}","room":"{{{_room}}}","pos":"{{{start.Epoch}}}:{{{start.Seq + i}}}"}""",
                await client.ReadAsync()
            );
        }

        Assert.Equal(
            $$"""{"room":"{{_room}}","sessions":1,"pos":"{{start.Epoch}}:{{start.Seq + 3}}"}""",
            await First.Http.GetStringAsync(new Uri(First.Url, "/rooms/" + _room))
        );
    }

    [Fact]
    public async Task A_reconnecting_client_gets_missed_messages_on_any_node_once_in_order_before_live_ones()
    {
        var start = await PlaceAsync();
        await PublishAsync(1, 20);
        await using var client = await Last.ConnectAsync();
        var answer = await ResumeAsync(client, start with { Seq = start.Seq + 5 });
        Assert.Equal($$"""{"room":"{{_room}}","pos":"{{start.Epoch}}:{{start.Seq + 20}}","recovered":true}""", answer);
        await PublishAsync(21, 25);
        await GetsAsync(client, Enumerable.Range(6, 20));
    }

    [Fact]
    public async Task A_client_at_position_0_gets_the_whole_history()
    {
        var start = await PlaceAsync();
        await PublishAsync(1, 3);
        await using var client = await First.ConnectAsync();
        Assert.Contains("\"recovered\":true", await ResumeAsync(client, start), StringComparison.Ordinal);
        await GetsAsync(client, [1, 2, 3]);
    }

    [Fact]
    public async Task A_client_that_missed_nothing_is_reported_as_recovered()
    {
        await PublishAsync(1, 2);
        var place = await PlaceAsync();
        await using var client = await First.ConnectAsync();
        Assert.Equal($$"""{"room":"{{_room}}","pos":"{{place}}","recovered":true}""", await ResumeAsync(client, place));
    }

    [Fact]
    public async Task After_a_trim_the_number_of_lost_messages_is_reported_and_the_kept_ones_are_replayed()
    {
        var start = await PlaceAsync();
        await PublishAsync(1, 130);
        await using var client = await Last.ConnectAsync();
        Assert.Equal(
            $$"""{"room":"{{_room}}","pos":"{{start.Epoch}}:{{start.Seq + 130}}","recovered":false,"why":"trimmed","lost":30}""",
            await ResumeAsync(client, start)
        );
        await GetsAsync(client, Enumerable.Range(31, 100));
    }

    [Fact]
    public async Task Another_epoch_is_reported_and_all_kept_messages_are_replayed()
    {
        var start = await PlaceAsync();
        await PublishAsync(1, 2);
        await using var client = await Last.ConnectAsync();
        Assert.Equal(
            $$"""{"room":"{{_room}}","pos":"{{start.Epoch}}:{{start.Seq + 2}}","recovered":false,"why":"epoch"}""",
            await ResumeAsync(client, new Place("old", 7))
        );
        await GetsAsync(client, [1, 2]);
    }

    [Fact]
    public async Task A_position_ahead_of_the_room_is_reported()
    {
        var start = await PlaceAsync();
        await using var client = await Last.ConnectAsync();
        Assert.Equal(
            $$"""{"room":"{{_room}}","pos":"{{start}}","recovered":false,"why":"future"}""",
            await ResumeAsync(client, start with { Seq = start.Seq + 1 })
        );
        await PublishAsync(1, 1);
        await GetsAsync(client, [1]);
    }

    [Theory]
    [InlineData("\"\"")]
    [InlineData("\"nonsense\"")]
    [InlineData("\"k3f9:-1\"")]
    [InlineData("\"k3f9:99999999999999999999\"")]
    [InlineData("7")]
    [InlineData("{}")]
    public async Task An_invalid_position_is_a_bad_frame_without_a_join(string since)
    {
        await using var client = await First.ConnectAsync();
        var answer = await client.AckAsync("subscribe", $$"""{"room":"{{_room}}","since":{{since}}}""");
        Assert.Contains("\"code\":\"bad_frame\"", answer, StringComparison.Ordinal);
        await PublishAsync(1, 1);
        Assert.DoesNotContain(await client.ReadAllAsync(), text => text.Contains(_room, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Several_rooms_are_recovered_together_and_a_message_in_two_of_them_arrives_once()
    {
        var other = Beside("-other");
        var (start, otherStart) = (await PlaceAsync(), await PlaceAsync(other));
        await PublishAsync(1, 3);
        await First.NotifyAsync("any", $$"""{"n":4,"_in":["{{_room}}","{{other}}"]}""");
        await First.NotifyAsync("any", $$"""{"n":5,"_in":"{{other}}"}""");
        await using var client = await Last.ConnectAsync();
        var answer = await client.AckAsync(
            "subscribe",
            $$"""[{"room":"{{_room}}","since":"{{start}}"},"no-since:1",{"room":"{{other}}","since":"{{otherStart}}"}]"""
        );
        Assert.Contains(
            $$"""{"rooms":["{{_room}}","no-since:1","{{other}}"],"positions":[{"room":"{{_room}}","pos":"{{start with { Seq = start.Seq + 4 }}}","recovered":true},""",
            answer,
            StringComparison.Ordinal
        );
        Assert.Contains(
            $$"""{"room":"{{other}}","pos":"{{otherStart with { Seq = otherStart.Seq + 2 }}}","recovered":true}]}""",
            answer,
            StringComparison.Ordinal
        );
        await GetsAsync(client, [1, 2, 3, 4, 5]);
        await First.NotifyAsync("any", $$"""{"n":6,"_in":["{{_room}}","{{other}}"]}""");
        await GetsAsync(client, [6]);
    }

    [Fact]
    public async Task A_message_delivered_live_by_one_room_is_not_replayed_by_another()
    {
        var other = Beside("-other");
        var start = await PlaceAsync();
        await using var client = await Last.JoinAsync(other);
        await PublishAsync(1, 1);
        await First.NotifyAsync("any", $$"""{"n":2,"_in":["{{_room}}","{{other}}"]}""");
        await PublishAsync(3, 3);
        await GetsAsync(client, [2]);
        Assert.Contains("\"recovered\":true", await ResumeAsync(client, start), StringComparison.Ordinal);
        await GetsAsync(client, [1, 3]);
    }

    [Fact]
    public async Task A_frame_names_the_places_in_all_rooms_of_the_message()
    {
        var other = Beside("-other");
        var (start, otherStart) = (await PlaceAsync(), await PlaceAsync(other));
        await using var one = await Last.JoinAsync(_room);
        await using var both = await Last.JoinAsync(_room, other);
        await First.NotifyAsync("any", $$"""{"n":1,"_in":["{{_room}}","{{other}}"]}""");
        foreach (var client in new[] { one, both })
        {
            var message = JsonElement.Parse(await client.ReadAsync());
            var places = message
                .GetProperty("also")
                .EnumerateObject()
                .Select(also => (Room: also.Name, Place: also.Value.GetString()))
                .Append((message.GetProperty("room").GetString()!, message.GetProperty("pos").GetString()))
                .Order()
                .ToArray();
            Assert.Equal(
                [
                    (_room, (start with { Seq = start.Seq + 1 }).ToString()),
                    (other, (otherStart with { Seq = otherStart.Seq + 1 }).ToString()),
                ],
                places
            );
        }
    }

    [Fact]
    public async Task A_room_that_keeps_no_history_has_no_places()
    {
        await using var client = await Last.ConnectAsync();
        Assert.Contains(
            "\"data\":{\"room\":\"none:1\"}}",
            await client.AckAsync("subscribe", "\"none:1\""),
            StringComparison.Ordinal
        );
        await client.ReadAllAsync();
        var id = await First.NotifyAsync("any", """{"_in":"none:1"}""");
        Assert.Equal($$$"""{"event":"any","data":{"_in":"none:1"},"id":"{{{id}}}"}""", await client.ReadAsync());
    }

    [Fact]
    public async Task Many_clients_that_reconnect_under_load_each_get_every_message_once_in_order()
    {
        var start = await PlaceAsync();
        const int Messages = 80;
        var publishing = PublishAsync(1, Messages);
        var clients = Enumerable
            .Range(0, 12)
            .Select(async i =>
            {
                await using var client = await nodes[i % nodes.Count].ConnectAsync();
                await ResumeAsync(client, start);
                return await client.NumbersAsync(Messages);
            })
            .ToArray();
        foreach (var read in await Task.WhenAll(clients))
        {
            Assert.True(
                read.SequenceEqual(Enumerable.Range(1, Messages)),
                $"{string.Join(' ', read)}\n{string.Join('\n', nodes.SelectMany(node => node.Log))}"
            );
        }

        await publishing;
    }

    [Fact]
    public async Task A_cleared_history_is_empty_on_all_nodes_and_its_positions_continue()
    {
        await PublishAsync(1, 3);
        var path = $"/rooms/{Uri.EscapeDataString(_room)}/history";
        var full = await Last.GetAsync(path);
        Assert.Equal(3, full.GetProperty("items").GetArrayLength());
        using (var emptied = await First.Http.DeleteAsync(new Uri(First.Url, path)))
        {
            Assert.Equal(System.Net.HttpStatusCode.NoContent, emptied.StatusCode);
        }

        var empty = await Last.GetAsync(path);
        Assert.Equal(0, empty.GetProperty("items").GetArrayLength());
        Assert.Equal(full.GetProperty("pos").GetString(), empty.GetProperty("pos").GetString());
    }

    [Fact]
    public async Task A_stream_carries_its_positions_and_resumes_from_them()
    {
        var start = await PlaceAsync();
        using (var stream = await StreamAsync(Last, null, _room))
        {
            Assert.Equal(": connected", await stream.ReadAsync());
            Assert.Equal($"id: {_room}={start}", await stream.ReadAsync());
            await PublishAsync(1, 1);
            Assert.Equal(
                $$"""
                event: any
                data: {"n":1,"_in":"{{_room}}"}
                id: {{_room}}={{start with
                {
                    Seq = start.Seq + 1,
                }}}
                """,
                await stream.ReadAsync()
            );
        }

        await PublishAsync(2, 4);
        using var again = await StreamAsync(First, $"{_room}={start with { Seq = start.Seq + 1 }}", _room);
        Assert.Equal(": connected", await again.ReadAsync());
        Assert.Equal($"id: {_room}={start with { Seq = start.Seq + 4 }}", await again.ReadAsync());
        for (var i = 2; i <= 4; i++)
        {
            var place = start with { Seq = start.Seq + i };
            Assert.EndsWith(
                $"{{\"n\":{i},\"_in\":\"{_room}\"}}\nid: {_room}={place}",
                await again.ReadAsync(),
                StringComparison.Ordinal
            );
        }
    }

    [Fact]
    public async Task An_id_line_carries_all_rooms_of_the_stream()
    {
        var other = Beside("&=+ö");
        var escaped = other.Replace("&=+ö", "%26%3D%2B%C3%B6", StringComparison.Ordinal);
        var (start, otherStart) = (await PlaceAsync(), await PlaceAsync(other));
        string cursor;
        using (var stream = await StreamAsync(Last, null, _room, other, "none:2"))
        {
            await stream.ReadAsync();
            Assert.Equal($"id: {_room}={start}&{escaped}={otherStart}", await stream.ReadAsync());
            await PublishAsync(1, 1);
            await stream.ReadAsync();
            await First.NotifyAsync("any", """{"_in":"none:2"}""");
            Assert.Equal("event: any\ndata: {\"_in\":\"none:2\"}", await stream.ReadAsync());
            await First.NotifyAsync("any", JsonSerializer.Serialize(new { n = 2, _in = new[] { _room, other } }));
            cursor = (await stream.ReadAsync()).Split("id: ")[1];
            Assert.Equal(
                $"{_room}={start with { Seq = start.Seq + 2 }}&{escaped}={otherStart with { Seq = otherStart.Seq + 1 }}",
                cursor
            );
        }

        await First.NotifyAsync("any", JsonSerializer.Serialize(new { n = 3, _in = other }));
        using var again = await StreamAsync(Last, cursor, _room, other);
        await again.ReadAsync();
        await again.ReadAsync();
        Assert.Contains("{\"n\":3,", await again.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stream_that_cannot_be_recovered_reports_the_gap()
    {
        var start = await PlaceAsync();
        await PublishAsync(1, 102);
        using var stream = await StreamAsync(Last, $"{_room}={start}", _room);
        await stream.ReadAsync();
        await stream.ReadAsync();
        Assert.Equal(
            $$"""
            event: gap
            data: {"room":"{{_room}}","lost":2,"why":"trimmed"}
            """,
            await stream.ReadAsync()
        );
        Assert.Contains("{\"n\":3,", await stream.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_stream_with_an_invalid_position_is_refused()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(First.Url, "/events?room=" + _room));
        request.Headers.Add("Last-Event-ID", _room + "=nonsense");
        using var response = await First.Http.SendAsync(request);
        Assert.Equal(400, (int)response.StatusCode);
        Assert.Contains("\"code\":\"bad_name\"", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Small_and_large_messages_and_those_of_several_rooms_are_replayed_in_order_after_others_were_dropped()
    {
        var start = await PlaceAsync();
        var lengths = new int[260];
        for (var i = 1; i < lengths.Length; i++)
        {
            lengths[i] = i % 10 == 0 ? 5_000 : i * 37 % 900;
            string[] rooms = i % 7 == 0 ? [_room, _room + "-other"] : [_room];
            await First.NotifyAsync(
                "any",
                $$"""{"n":{{i}},"_in":{{JsonSerializer.Serialize(rooms)}},"pad":"{{new string('é', lengths[i])}}"}"""
            );
        }

        for (var seen = start.Seq + lengths.Length - 1; seen > start.Seq + lengths.Length - 100; seen -= 33)
        {
            await using var client = await Last.ConnectAsync();
            await ResumeAsync(client, start with { Seq = seen });
            for (var i = seen - start.Seq + 1; i < lengths.Length; i++)
            {
                JsonElement message;
                do
                {
                    message = JsonElement.Parse(await client.ReadAsync());
                } while (message.GetProperty("event").GetString() != "any");

                Assert.Equal($"{start.Epoch}:{start.Seq + i}", message.GetProperty("pos").GetString());
                Assert.Equal(i, message.GetProperty("data").GetProperty("n").GetInt64());
                Assert.Equal(new string('é', lengths[i]), message.GetProperty("data").GetProperty("pad").GetString());
            }
        }
    }

    [Fact]
    public async Task A_subscribe_without_an_ack_reports_gaps_too()
    {
        var start = await PlaceAsync();
        await PublishAsync(1, 101);
        await using var client = await Last.ConnectAsync();
        await client.SendAsync($$$"""{"event":"subscribe","data":{"room":"{{{_room}}}","since":"{{{start}}}"}}""");
        Assert.Equal($$"""{"event":"joined","data":"{{_room}}"}""", await client.ReadAsync());
        Assert.Equal(
            $$$"""{"event":"gap","data":{"room":"{{{_room}}}","lost":1,"why":"trimmed"}}""",
            await client.ReadAsync()
        );
        await GetsAsync(client, Enumerable.Range(2, 100));
    }

    [Fact]
    public async Task A_backends_user_gets_messages_sent_while_it_was_disconnected()
    {
        var registered = await First.Http.PostAsync(
            new Uri(First.Url, "/register/backend"),
            new StringContent("""{"name":"billing"}""")
        );
        var bkid = JsonElement.Parse(await registered.Content.ReadAsStringAsync()).GetProperty("bkid").GetString()!;
        var (users, user) = ($"users {bkid}", $"user {bkid} ann");
        string places;
        await using (var client = await Last.ConnectAsync())
        {
            var answer = JsonElement
                .Parse(await client.AckAsync("dmb:connect", $$"""{"service":"{{bkid}}","user":"ann"}"""))
                .GetProperty("data");
            places = string.Join(
                ',',
                answer
                    .GetProperty("positions")
                    .EnumerateArray()
                    .Select(room =>
                        $"\"{room.GetProperty("room").GetString()}\":\"{room.GetProperty("pos").GetString()}\""
                    )
            );
            Assert.Equal(
                [users, user],
                answer.GetProperty("positions").EnumerateArray().Select(room => room.GetProperty("room").GetString()!)
            );
        }

        await SayAsync("""{"to":"ann","data":1}""");
        await SayAsync("""{"data":2}""");
        await SayAsync("""{"to":"bob","data":3}""");
        await SayAsync("""{"to":"ann","data":4}""");

        await using var again = await First.ConnectAsync();
        var resumed = await again.AckAsync(
            "dmb:connect",
            $$$"""{"service":"{{{bkid}}}","user":"ann","since":{{{{places}}}}}"""
        );
        Assert.Equal(2, resumed.Split("\"recovered\":true").Length - 1);
        await SayAsync("""{"to":"ann","data":5}""");
        var heard = new List<(string, int)>();
        while (heard.Count < 4)
        {
            var message = JsonElement.Parse(await again.ReadAsync());
            if (message.TryGetProperty("event", out var name) && name.GetString() is "dmb:direct" or "dmb:broadcast")
            {
                heard.Add((name.GetString()!, message.GetProperty("data").GetInt32()));
            }
        }

        Assert.Equal([("dmb:broadcast", 2), ("dmb:direct", 1), ("dmb:direct", 4)], heard.Take(3).Order());
        Assert.Equal(("dmb:direct", 5), heard[3]);

        using var stream = await EventReader.OpenAsync(
            First.Http,
            new Uri(First.Url, $"/events?service={bkid}&user=ann"),
            string.Join(
                '&',
                JsonElement
                    .Parse($"{{{places}}}")
                    .EnumerateObject()
                    .Select(place => $"{Uri.EscapeDataString(place.Name)}={place.Value.GetString()}")
            )
        );
        var events = new List<string>();
        while (events.Count < 4)
        {
            var text = await stream.ReadAsync();
            if (
                text.StartsWith("event: dmb:direct", StringComparison.Ordinal)
                || text.StartsWith("event: dmb:broadcast", StringComparison.Ordinal)
            )
            {
                events.Add(text.Split('\n')[1]);
            }
        }

        Assert.Equal(["data: 1", "data: 2", "data: 4", "data: 5"], events.Order());

        async Task SayAsync(string message)
        {
            using var response = await First.Http.PostAsync(
                new Uri(First.Url, $"/backend/{bkid}/messages"),
                new StringContent(message)
            );
            Assert.Equal(200, (int)response.StatusCode);
        }
    }

    private static Task<EventReader> StreamAsync(NodeProcess node, string? lastEventId, params string[] rooms) =>
        EventReader.OpenAsync(
            node.Http,
            new Uri(
                node.Url,
                "/events?" + string.Join('&', rooms.Select(room => "room=" + Uri.EscapeDataString(room)))
            ),
            lastEventId
        );

    /// <summary>
    /// Another room of this one's group, of eight or of one: a message's places are those of one group (protocol.md §7).
    /// </summary>
    private string Beside(string suffix) =>
        Enumerable
            .Range(0, int.MaxValue)
            .Select(i => $"{_room}{suffix}{i}")
            .First(other => HashSlot.Checksum(other) % Groups == HashSlot.Checksum(_room) % Groups);

    private async Task<Place> PlaceAsync(string? room = null)
    {
        await using var client = await Last.ConnectAsync();
        return Place.Of(
            JsonElement
                .Parse(await client.AckAsync("subscribe", JsonSerializer.Serialize(room ?? _room)))
                .GetProperty("data")
        );
    }

    private async Task PublishAsync(int first, int last)
    {
        for (var i = first; i <= last; i++)
        {
            await nodes[i % nodes.Count].NotifyAsync("any", $$"""{"n":{{i}},"_in":"{{_room}}"}""");
        }
    }

    /// <summary>Joins the room with what was seen of it, and gives the data of the answer.</summary>
    private async Task<string> ResumeAsync(TestClient client, Place since)
    {
        var answer = await client.AckAsync("subscribe", $$"""{"room":"{{_room}}","since":"{{since}}"}""");
        return JsonElement.Parse(answer).GetProperty("data").GetRawText();
    }

    /// <summary>Checks that these messages are the next that a client gets, in their order.</summary>
    private static async Task GetsAsync(TestClient client, IEnumerable<int> numbers)
    {
        var expected = numbers.ToArray();
        Assert.Equal(expected, await client.NumbersAsync(expected.Length));
    }
}

internal static class Numbers
{
    /// <summary>The numbers of the next messages that a client gets, besides what it is told.</summary>
    public static async Task<int[]> NumbersAsync(this TestClient client, int count)
    {
        var numbers = new List<int>();
        while (numbers.Count < count)
        {
            var message = JsonElement.Parse(await client.ReadAsync());
            if (message.TryGetProperty("event", out var name) && name.GetString() == "any")
            {
                numbers.Add(message.GetProperty("data").GetProperty("n").GetInt32());
            }
        }

        return [.. numbers];
    }
}

/// <summary>A place as clients see it.</summary>
public sealed record Place(string Epoch, long Seq)
{
    public static Place Of(JsonElement data)
    {
        var parts = data.GetProperty("pos").GetString()!.Split(':');
        return new Place(parts[0], long.Parse(parts[1], System.Globalization.CultureInfo.InvariantCulture));
    }

    public override string ToString() => $"{Epoch}:{Seq}";
}

/// <summary>The promise, kept by a node that runs alone.</summary>
public sealed class EmbeddedHistoryTests(EmbeddedHistoryTests.Alone alone)
    : HistorySpec([alone.Node]),
        IClassFixture<EmbeddedHistoryTests.Alone>
{
    [Fact]
    public async Task The_bytes_of_histories_are_bounded_and_the_oldest_message_is_dropped_first()
    {
        await using var node = await NodeProcess.StartAsync([
            ("REDIS_HOST", "none"),
            .. HistoryCluster.Settings,
            ("DMB_HISTORY_BYTES", "8000"),
        ]);
        await using var client = await node.ConnectAsync();
        var start = Place.Of(JsonElement.Parse(await client.AckAsync("subscribe", "\"bytes:1\"")).GetProperty("data"));
        for (var i = 1; i <= 5; i++)
        {
            await node.NotifyAsync("any", $$"""{"n":{{i}},"_in":"bytes:1","pad":"{{new string('x', 1_000)}}"}""");
        }

        // Each takes 2,400 bytes: three of them have room.
        await using var late = await node.ConnectAsync();
        Assert.Contains(
            "\"lost\":2}",
            await late.AckAsync("subscribe", $$"""{"room":"bytes:1","since":"{{start}}"}"""),
            StringComparison.Ordinal
        );
    }

    public sealed class Alone : IAsyncLifetime
    {
        public NodeProcess Node { get; private set; } = null!;

        public async ValueTask InitializeAsync() =>
            Node = await NodeProcess.StartAsync([("REDIS_HOST", "none"), .. HistoryCluster.Settings]);

        public ValueTask DisposeAsync() => Node.DisposeAsync();
    }
}

/// <summary>The promise, kept by three nodes over Redis.</summary>
[Collection(Redis.RedisLane.Name)]
public sealed class RedisHistoryTests(HistoryCluster shared) : HistorySpec(shared.Nodes), IClassFixture<HistoryCluster>;

/// <summary>Three nodes and a Redis whose rooms keep a history.</summary>
public class HistoryCluster : IAsyncLifetime
{
    public static readonly (string, string)[] Settings =
    [
        ("DMB_HISTORY_SIZE", "100"),
        ("DMB_HISTORY_ROOMS", "none:*=0"),
        ("DMB_EVENTS", "any="),
    ];

    private readonly (string, string)[] _more;
    private Cluster? _cluster;

    public HistoryCluster()
        : this([]) { }

    protected HistoryCluster(params (string, string)[] more) => _more = more;

    public List<NodeProcess> Nodes => _cluster!.Nodes;

    public async ValueTask InitializeAsync() =>
        _cluster = await Cluster.StartAsync([.. NodeProcess.Patient, .. Settings, .. _more]);

    public async ValueTask DisposeAsync()
    {
        await _cluster!.DisposeAsync();
        GC.SuppressFinalize(this);
    }
}
