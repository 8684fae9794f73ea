namespace Dmb.Tests.Deploy;

/// <summary>deploy/kamailio, with Debian's Kamailio, telephones that speak SIP over UDP, and a broker.</summary>
public sealed class KamailioTests
{
    [Theory]
    [InlineData]
    [InlineData("DMB_SYNC")]
    public async Task Registrations_and_each_state_of_a_call_reach_their_rooms(params string[] defined)
    {
        await using var node = await Node.StartAsync();
        await using var kamailio = await Kamailio.StartAsync(node.Port, defined);
        using var locations = await EventReader.OpenAsync(node, "locations");
        using var calls = await EventReader.OpenAsync(node, "calls");
        using var called = await EventReader.OpenAsync(node, "endpoint:bob");
        using var caller = await EventReader.OpenAsync(node, "endpoint:ann");
        using var number = await EventReader.OpenAsync(node, "number:bob");
        using var ann = new SipPhone("ann", kamailio.Port);
        using var bob = new SipPhone("bob", kamailio.Port);

        await bob.RegisterAsync();
        Assert.Equal("location registered", $"{await SipEvent.NextAsync(locations)}");
        Assert.Equal("location registered", $"{await SipEvent.NextAsync(called)}");

        ann.Send("INVITE", "bob", "a call", 1);
        var invite = await bob.ReceiveAsync();
        Assert.StartsWith("INVITE ", invite, StringComparison.Ordinal);
        var calling = await SipEvent.NextAsync(calls);
        Assert.Equal("call calling", $"{calling}");
        Assert.Equal(("ann", "bob"), (calling.Text("from"), calling.Text("to")));

        bob.Answer(invite, "180 Ringing");
        Assert.StartsWith("SIP/2.0 180", await ann.ReceiveAsync(), StringComparison.Ordinal);
        Assert.Equal("call ringing", $"{await SipEvent.NextAsync(calls)}");

        bob.Answer(invite, "200 OK");
        var answered = await ann.ReceiveAsync();
        Assert.StartsWith("SIP/2.0 200", answered, StringComparison.Ordinal);
        ann.SendWithin(answered, "ACK", "bob", "a call", 1);
        Assert.StartsWith("ACK ", await bob.ReceiveAsync(), StringComparison.Ordinal);
        Assert.Equal("call answered", $"{await SipEvent.NextAsync(calls)}");

        ann.SendWithin(answered, "BYE", "bob", "a call", 2);
        bob.Answer(await bob.ReceiveAsync(), "200 OK");
        var end = await SipEvent.NextAsync(calls);
        var record = await SipEvent.NextAsync(calls);
        if (end.Event == "statistics:add")
        {
            // Records have a queue of their own.
            (end, record) = (record, end);
        }

        Assert.Equal(("call ended", "statistics:add"), ($"{end}", record.Event));
        Assert.Equal(calling.Text("call_id"), record.Text("call_id"));
        Assert.NotEmpty(record.Text("duration"));
        foreach (var room in new[] { called, caller, number })
        {
            Assert.Equal(
                ["calling", "ringing", "answered", "ended"],
                [
                    await SipEvent.StateAsync(room),
                    await SipEvent.StateAsync(room),
                    await SipEvent.StateAsync(room),
                    await SipEvent.StateAsync(room),
                ]
            );
        }

        Assert.Empty(node.Warnings);
    }

    [Fact]
    public async Task A_call_to_a_user_who_is_not_registered_fails_and_its_retransmission_is_no_second_event()
    {
        await using var node = await Node.StartAsync();
        await using var kamailio = await Kamailio.StartAsync(node.Port);
        using var calls = await EventReader.OpenAsync(node, "endpoint:ann");
        using var ann = new SipPhone("ann", kamailio.Port);
        ann.Send("INVITE", "none", "in vain", 1);
        ann.Send("INVITE", "none", "in vain", 1);
        Assert.StartsWith("SIP/2.0 404", await ann.ReceiveAsync(), StringComparison.Ordinal);
        Assert.Equal(["calling", "failed"], [await SipEvent.StateAsync(calls), await SipEvent.StateAsync(calls)]);
        ann.Send("INVITE", "none", "again", 1);
        Assert.Equal("calling", await SipEvent.StateAsync(calls));
    }

    [Theory]
    [InlineData("o'ann;x=1", "\"Ann \\\"the \\\\ Ö\\\"; <b>\"")]
    [InlineData("100%25", "\"{\\\"_in\\\":[\\\"endpoint:eve\\\"]}\"")]
    [InlineData("$var(x)", "安娜")]
    public async Task Names_with_quotes_semicolons_and_letters_beyond_ascii_are_valid_json(string user, string name)
    {
        await using var node = await Node.StartAsync();
        await using var kamailio = await Kamailio.StartAsync(node.Port);
        using var calls = await EventReader.OpenAsync(node, "endpoint:bob");
        using var ann = new SipPhone(user, kamailio.Port, name + " ");
        ann.Send("INVITE", "bob", "odd names", 1);
        var calling = await SipEvent.NextAsync(calls);
        Assert.Equal((user, name), (calling.Text("from"), calling.Text("from_name")));
        Assert.Equal("number:bob", calling.Data.GetProperty("_in")[0].GetString());
        Assert.Equal($"endpoint:{user}", calling.Data.GetProperty("_in")[1].GetString());
    }

    [Fact]
    public async Task Events_are_kept_in_order_while_the_broker_is_away_and_published_once()
    {
        var port = RedisServer.FreePort();
        await using var kamailio = await Kamailio.StartAsync(port);
        using var bob = new SipPhone("bob", kamailio.Port);
        using var ann = new SipPhone("ann", kamailio.Port);
        await bob.RegisterAsync();
        ann.Send("INVITE", "bob", "a call", 1);
        bob.Answer(await bob.ReceiveAsync(), "486 Busy Here");
        Assert.StartsWith("SIP/2.0 486", await ann.ReceiveAsync(), StringComparison.Ordinal);
        await using var node = await NodeProcess.StartAsync(
            ("DMB_PORT", $"{port}"),
            ("REDIS_HOST", "none"),
            ("DMB_HISTORY_SIZE", "100")
        );
        string[] states;
        do
        {
            var history = await node.GetAsync("/rooms/endpoint:bob/history");
            states =
            [
                .. history
                    .GetProperty("items")
                    .EnumerateArray()
                    .Select(item => item.GetProperty("data"))
                    .Select(data => data.GetProperty(data.TryGetProperty("state", out _) ? "state" : "duration"))
                    .Select(text => text.GetString()!),
            ];
        } while (states.Length < 4);

        // Two workers handle the registration and the call: each queues its events in order.
        Assert.Equal(["calling", "failed", "0"], states.Where(state => state != "registered"));
    }

    [Fact]
    public async Task A_contact_that_is_removed_or_expires_is_an_event()
    {
        await using var node = await Node.StartAsync();
        await using var kamailio = await Kamailio.StartAsync(node.Port);
        using var bobs = await EventReader.OpenAsync(node, "endpoint:bob");
        using var bob = new SipPhone("bob", kamailio.Port);
        await bob.RegisterAsync();
        Assert.Equal("registered", await SipEvent.StateAsync(bobs));
        await bob.RegisterAsync(0);
        Assert.Equal("removed", await SipEvent.StateAsync(bobs));
        await bob.RegisterAsync(1);
        var registered = await SipEvent.NextAsync(bobs);
        var expired = await SipEvent.NextAsync(bobs);
        Assert.Equal(("location registered", "location expired"), ($"{registered}", $"{expired}"));
        Assert.Equal(registered.Text("contact"), expired.Text("contact"));
    }

    [Fact]
    public async Task Presence_that_is_published_or_watched_is_an_event()
    {
        await using var node = await Node.StartAsync();
        await using var kamailio = await Kamailio.StartAsync(node.Port);
        using var bobs = await EventReader.OpenAsync(node, "endpoint:bob");
        using var ann = new SipPhone("ann", kamailio.Port);
        ann.Send("PUBLISH", "bob", "a state", 1, "Event: presence", "Expires: 600");
        ann.Send("SUBSCRIBE", "bob", "a watcher", 1, "Event: presence;id=\"a\"", "Expires: 300");
        (string Event, string Package, string Expires)[] two = [await PresenceAsync(bobs), await PresenceAsync(bobs)];
        Assert.Equal(
            [("active_watchers", "presence;id=\"a\"", "300"), ("presentities", "presence", "600")],
            two.Order()
        );
    }

    [Fact]
    public async Task A_presence_server_tells_watchers_and_the_broker_of_a_state()
    {
        const string Away = """
            <?xml version="1.0" encoding="UTF-8"?>
            <presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@127.0.0.1"><tuple id="a"><status>
            <basic>open</basic></status><note>"fort; zurück um 3"</note></tuple></presence>
            """;
        await using var node = await Node.StartAsync();
        await using var kamailio = await Kamailio.StartAsync(node.Port, "DMB_PRESENTITIES");
        using var bobs = await EventReader.OpenAsync(node, "endpoint:bob");
        using var ann = new SipPhone("ann", kamailio.Port);
        using var bob = new SipPhone("bob", kamailio.Port);
        ann.Send("SUBSCRIBE", "bob", "watching", 1, "Event: presence", "Expires: 300");
        var subscribed = await ann.ReceiveAsync();
        Assert.StartsWith("SIP/2.0 200", subscribed, StringComparison.Ordinal);
        await AnswerNotifyAsync(ann);
        var watched = await SipEvent.NextAsync(bobs);
        Assert.Equal(("active_watchers", "ann"), (watched.Event, watched.Text("watcher")));

        bob.Publish(Away, "a state");
        Assert.StartsWith("SIP/2.0 200", await bob.ReceiveAsync(), StringComparison.Ordinal);
        Assert.Contains("zurück um 3", await AnswerNotifyAsync(ann), StringComparison.Ordinal);
        var published = await SipEvent.NextAsync(bobs);
        Assert.Equal(("presentities", Away), (published.Event, published.Text("body")));

        ann.SubscribeAgain(subscribed, "bob", "watching", 2, expires: 0);
        Assert.StartsWith("SIP/2.0 200", await ann.ReceiveAsync(), StringComparison.Ordinal);
        Assert.Equal("0", (await SipEvent.NextAsync(bobs)).Text("expires"));
        Assert.Empty(node.Warnings);
    }

    [Fact]
    public async Task A_flood_of_one_address_is_dropped_and_causes_no_events_while_others_are_served()
    {
        await using var node = await Node.StartAsync();
        await using var kamailio = await Kamailio.StartAsync(node.Port);
        using var bobs = await EventReader.OpenAsync(node, "endpoint:bob");
        using var flooding = new SipPhone("bob", kamailio.Port);
        for (var i = 0; i < 1000 && !IsBlocked(kamailio); i++)
        {
            flooding.Send("OPTIONS", "bob", $"flood {i}", 1);
            Assert.StartsWith("SIP/2.0 ", await AnswerOrBlockAsync(flooding, kamailio), StringComparison.Ordinal);
        }

        flooding.Send("REGISTER", "bob", "dropped", 1, "Expires: 77");
        using var other = new SipPhone("bob", kamailio.Port, address: "127.0.0.2");
        await other.RegisterAsync();
        Assert.Contains("@127.0.0.2:", (await SipEvent.NextAsync(bobs)).Text("contact"), StringComparison.Ordinal);
    }

    private static async Task<string> AnswerNotifyAsync(SipPhone phone)
    {
        var notify = await phone.ReceiveAsync();
        Assert.StartsWith("NOTIFY ", notify, StringComparison.Ordinal);
        phone.Answer(notify, "200 OK");
        return notify;
    }

    private static bool IsBlocked(Kamailio kamailio) =>
        kamailio.Log.Any(line => line.Contains("BLOCKing", StringComparison.Ordinal));

    private static async Task<string> AnswerOrBlockAsync(SipPhone phone, Kamailio kamailio)
    {
        var answer = phone.ReceiveAsync();
        while (!answer.IsCompleted && !IsBlocked(kamailio))
        {
            await Task.Yield();
        }

        return answer.IsCompleted ? await answer : "SIP/2.0 none";
    }

    private static async Task<(string Event, string Package, string Expires)> PresenceAsync(EventReader events)
    {
        var next = await SipEvent.NextAsync(events);
        return (next.Event, next.Text("package"), next.Text("expires"));
    }
}
