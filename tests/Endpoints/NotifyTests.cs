using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Endpoints;

/// <summary>POST /_notify/{event}: whom a push reaches, and what its sender is told.</summary>
public sealed class NotifyTests(NodeFixture fixture) : IClassFixture<NodeFixture>, IAsyncLifetime
{
    private const string NextOne = "\"the next one\"";

    private readonly Node _node = fixture.Node;

    // An event without a default bus, to see the other ways alone.
    public async ValueTask InitializeAsync()
    {
        var answer = await RawHttp.AskAsync(_node, "POST /register", """{"event":"homeless"}""");
        Assert.InRange(answer.Status, 200, 201);
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Theory]
    [InlineData("support", "report_dev report_ops report_csr script_register pipe_blocked")]
    [InlineData("calls", "call reference statistics:add")]
    [InlineData("traces", "trace")]
    [InlineData("internal", "pong trace_started trace_completed trace_error location:update location:response")]
    [InlineData("internal", "locations:response presentities:response active_watchers:response registrants:response")]
    [InlineData("locations", "location locations registrants presentities active_watchers")]
    public async Task An_event_goes_to_its_default_bus(string bus, string events)
    {
        await using var client = await _node.JoinAsync(bus);
        foreach (var name in events.Split(' '))
        {
            await _node.ReachesAsync(client, name, "{}");
        }
    }

    [Theory]
    [InlineData("""{"_in":"endpoint:1"}""", "endpoint:1")]
    [InlineData("""{"_in":["number:1"]}""", "number:1")]
    [InlineData("""{"_in":["a:1","b:2"]}""", "a:1")]
    [InlineData("""{"_in":["a:1","b:2"]}""", "b:2")]
    [InlineData("""{"_in":[1,null,true,{"_in":"c:3"},["c:3"],"","a b","calls",":1","a-b:1","a:\n","a:1"]}""", "a:1")]
    [InlineData("""{"\u005fin":"\u0061:1"}""", "a:1")]
    [InlineData("""{"_in":"x:1","_in":["a:1"]}""", "a:1")]
    [InlineData("""{"_in":"raum:é😀"}""", "raum:é😀")]
    [InlineData("""{"_in":"domain:example.com:5060"}""", "domain:example.com:5060")]
    [InlineData("""{"endpoint":"1234"}""", "endpoint:1234")]
    [InlineData("""{"endpoint":1234}""", "endpoint:1234")]
    [InlineData("""{"endpoint":15005551234567890123}""", "endpoint:15005551234567890123")]
    [InlineData("""{"endpoint":true}""", "endpoint:true")]
    [InlineData("""{"endpoint":"\u0031@example.com"}""", "endpoint:1@example.com")]
    [InlineData("""{"endpoint":1,"endpoint":2}""", "endpoint:2")]
    [InlineData("""{"endpoint":1,"_in":["a:1"]}""", "endpoint:1")]
    [InlineData("""{"endpoint":1,"_in":["a:1"]}""", "a:1")]
    public async Task A_message_goes_to_the_rooms_that_its_data_names(string data, string room)
    {
        await using var client = await _node.JoinAsync(room);
        await _node.ReachesAsync(client, "homeless", data);
    }

    [Theory]
    [InlineData("""{"_in":"support"}""")]
    [InlineData("""{"_in":["support","calls","public"]}""")]
    [InlineData("""{"_in":["c:3"],"_in":[]}""")]
    [InlineData("""{"_in":{"0":"c:3"}}""")]
    [InlineData("""{"_in":[["c:3"]]}""")]
    [InlineData("""{"_In":"c:3"}""")]
    [InlineData("""{"a":{"_in":"c:3","endpoint":1}}""")]
    [InlineData("""[{"_in":"c:3","endpoint":1}]""")]
    [InlineData("\"c:3\"")]
    [InlineData("""{"endpoint":null}""")]
    [InlineData("""{"endpoint":[1]}""")]
    [InlineData("""{"endpoint":{"endpoint":1}}""")]
    [InlineData("""{"endpoint":"1 "}""")]
    [InlineData("""{"endpoint":1,"endpoint":null}""")]
    [InlineData("""{"\ud800":1,"_in":"\ud800:1","endpoint":"\udc00"}""")]
    public async Task Data_without_a_notification_room_is_not_delivered(string data)
    {
        await using var client = await _node.JoinAsync("support", "calls", "c:3", "endpoint:1", "endpoint:null");
        await _node.NotifyAsync("homeless", data);
        await _node.ReachesAsync(client, "call", NextOne);
    }

    [Fact]
    public async Task A_session_in_several_of_the_rooms_gets_one_copy()
    {
        await using var client = await _node.JoinAsync("calls", "endpoint:1", "number:2", "domain:x");
        await using var other = await _node.JoinAsync("domain:x");
        const string Data = """{"endpoint":1,"_in":["number:2","domain:x","number:2","endpoint:1"]}""";

        await _node.ReachesAsync(client, "call", Data);
        Assert.Contains(Data, await other.ReadAsync(), StringComparison.Ordinal);
        await _node.ReachesAsync(client, "call", NextOne);
    }

    [Fact]
    public async Task Up_to_100_rooms_may_be_named_and_no_more()
    {
        await using var client = await _node.JoinAsync("room:99", "room:0");
        string Data(int rooms)
        {
            var names = Enumerable.Range(0, rooms).Select(i => $"\"room:{i}\"");
            return $$"""{"_in":[{{string.Join(',', names)}}]}""";
        }

        await _node.ReachesAsync(client, "homeless", Data(100));
        (await RawHttp.AskAsync(_node, "POST /_notify/homeless", Data(101))).IsProblem(400, "too_many_rooms");
        await _node.ReachesAsync(client, "homeless", """{"_in":"room:0"}""");
    }

    [Fact]
    public async Task The_messages_of_one_publisher_arrive_in_order()
    {
        await using var client = await _node.JoinAsync("calls");
        using var http = await RawHttp.ConnectAsync(_node);
        var ids = new List<string>();
        for (var i = 0; i < 200; i++)
        {
            ids.Add((await http.AskAsync("POST /_notify/call", $"{i}")).TakenId());
        }

        for (var i = 0; i < 200; i++)
        {
            await client.GetsAsync("call", $"{i}", ids[i]);
        }
    }

    [Fact]
    public async Task Ids_are_unique_and_sort_by_time()
    {
        var first = await _node.NotifyAsync("call", "1");
        _node.Time.Advance(TimeSpan.FromMilliseconds(1));
        var second = await _node.NotifyAsync("call", "1");

        Assert.Equal(7, Guid.ParseExact(first, "D").Version);
        Assert.True(string.CompareOrdinal(first, second) < 0, $"{first} {second}");
    }

    [Theory]
    [InlineData("Prefer: handling=lenient")]
    [InlineData("Prefer: respond-async")]
    [InlineData("X-Prefer: handling=strict")]
    public async Task An_unregistered_event_is_ignored(string header)
    {
        await using var client = await _node.JoinAsync("calls", "endpoint:1");
        var answer = await RawHttp.AskAsync(_node, "POST /_notify/unheard", """{"_in":"endpoint:1"}""", header);
        Assert.Equal((200, """{"ok":false,"ignore":true}"""), (answer.Status, answer.Body));
        await _node.ReachesAsync(client, "call", NextOne);
    }

    [Theory]
    [InlineData("Prefer: handling=strict")]
    [InlineData("prefer: respond-async, Handling=strict; x=1")]
    [InlineData("Prefer: wait=1\nPrefer: handling=strict")]
    public async Task An_unregistered_event_is_an_error_for_a_strict_publisher(string header)
    {
        (await RawHttp.AskAsync(_node, "POST /_notify/unheard", "{}", header)).IsProblem(404, "unknown_event");
        (await RawHttp.AskAsync(_node, "POST /_notify/call", "{}", header)).TakenId();
    }

    [Fact]
    public async Task Ignored_events_left_out_rooms_and_repaired_bodies_are_counted()
    {
        var meters = _node.Services.GetRequiredService<IMeterFactory>();
        var counts = new ConcurrentDictionary<string, long>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter.Scope == meters)
                {
                    self.EnableMeasurementEvents(instrument);
                }
            },
        };

        // Counters say all that was counted by now; here it is what came on top.
        listener.SetMeasurementEventCallback<long>(
            (instrument, value, _, _) => counts.AddOrUpdate(instrument.Name, -value, (_, before) => before + value)
        );
        listener.Start();
        listener.RecordObservableInstruments();

        await RawHttp.AskAsync(_node, "POST /_notify/unheard", "{}");
        await _node.NotifyAsync("call", """{"_in":["a:1","calls",2],"endpoint":"a b"}""");
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync(
            "POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: 3",
            [(byte)'"', 0xE9, (byte)'"']
        );
        (await http.ReadAsync()).TakenId();
        listener.RecordObservableInstruments();

        Assert.Equal(1, counts["dmb.messages.ignored"]);
        Assert.Equal(2, counts["dmb.messages.published"]);
        Assert.Equal(3, counts["dmb.rooms.left_out"]);
        Assert.Equal(1, counts["dmb.messages.repaired"]);
    }
}
