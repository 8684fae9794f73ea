using System.Net;
using System.Text;
using System.Xml.Linq;

namespace Dmb.Tests.Deploy;

/// <summary>deploy/freeswitch/bridge.py, between an event socket and a broker.</summary>
public sealed class FreeSwitchTests
{
    [Fact]
    public async Task States_of_a_call_reach_both_users_once_and_the_called_leg_is_not_told_again()
    {
        await using var node = await Node.StartAsync();
        using var switching = new FreeSwitch();
        await using var bridge = Start(switching, node.Url);
        using var client = await switching.AcceptAsync();
        using var called = await EventReader.OpenAsync(node, "endpoint:1234");
        using var caller = await EventReader.OpenAsync(node, "endpoint:ann");
        const string Name = "Ann \"the Ö\"; <b>";
        client.Event(Call("CHANNEL_CREATE", ("Caller-Caller-ID-Name", Name)));
        client.Event(Call("CHANNEL_CREATE", ("Unique-ID", "b"), ("Other-Type", "originator")));
        client.Event(Call("CHANNEL_PROGRESS"));
        client.Event(Call("CHANNEL_PROGRESS_MEDIA"));
        client.Event(Call("CHANNEL_ANSWER"));
        client.Event(
            Call("CHANNEL_HANGUP_COMPLETE", ("Caller-Channel-Answered-Time", "1"), ("Hangup-Cause", "NORMAL_CLEARING"))
        );
        var calling = await SipEvent.NextAsync(called);
        Assert.Equal(("calling", Name), (calling.Text("state"), calling.Text("from_name")));
        Assert.Equal("ringing", await SipEvent.StateAsync(called));
        Assert.Equal("answered", await SipEvent.StateAsync(called));
        var ended = await SipEvent.NextAsync(called);
        Assert.Equal(("ended", "NORMAL_CLEARING"), (ended.Text("state"), ended.Text("cause")));
        Assert.Equal("calling", await SipEvent.StateAsync(caller));

        client.Event(Call("CHANNEL_HANGUP_COMPLETE", ("variable_sip_call_id", "c2"), ("Hangup-Cause", "USER_BUSY")));
        Assert.Equal("failed", await SipEvent.StateAsync(called));
        await bridge.TerminateAsync();
        Assert.Equal(0, await bridge.EndAsync());
    }

    [Fact]
    public async Task Registrations_are_published_and_bytes_that_are_no_utf8_lose_no_event()
    {
        await using var node = await Node.StartAsync();
        using var switching = new FreeSwitch();
        await using var bridge = Start(switching, node.Url);
        using var client = await switching.AcceptAsync();
        using var bobs = await EventReader.OpenAsync(node, "endpoint:bob");
        client.Event(("Event-Name", "CUSTOM"), ("Event-Subclass", "sofia::register"), ("from-user", "bob"));
        client.Event(("Event-Name", "CUSTOM"), ("Event-Subclass", "sofia::unregister"), ("from-user", "bob"));
        client.Event(("Event-Name", "CUSTOM"), ("Event-Subclass", "sofia::expire"), ("user", "bob"));
        Assert.Equal("location registered", $"{await SipEvent.NextAsync(bobs)}");
        Assert.Equal("location removed", $"{await SipEvent.NextAsync(bobs)}");
        Assert.Equal("location expired", $"{await SipEvent.NextAsync(bobs)}");

        client.Event(
            Encoding.Latin1.GetBytes(
                """
                {"Event-Name":"CHANNEL_CREATE","Caller-Caller-ID-Name":"Jürgen","Caller-Destination-Number":"bob"}
                """
            )
        );
        Assert.Equal("J\uFFFDrgen", (await SipEvent.NextAsync(bobs)).Text("from_name"));
    }

    [Fact]
    public async Task Events_are_kept_while_the_broker_is_away_and_the_bridge_comes_back_to_its_server()
    {
        using var switching = new FreeSwitch();
        var port = RedisServer.FreePort();
        await using var bridge = Start(switching, new Uri($"http://127.0.0.1:{port}"));
        using (var first = await switching.AcceptAsync())
        {
            first.Event(Call("CHANNEL_CREATE"));
            await bridge.LineAsync("The broker at");
        }

        using var second = await switching.AcceptAsync();
        second.Event(Call("CHANNEL_ANSWER"));
        await using var node = await NodeProcess.StartAsync(
            ("DMB_PORT", $"{port}"),
            ("REDIS_HOST", "none"),
            ("DMB_HISTORY_SIZE", "10")
        );
        second.Event(Call("CHANNEL_HANGUP_COMPLETE", ("Caller-Channel-Answered-Time", "1")));
        string[] states;
        do
        {
            var history = await node.GetAsync("/rooms/endpoint:1234/history");
            states =
            [
                .. history
                    .GetProperty("items")
                    .EnumerateArray()
                    .Select(item => item.GetProperty("data").GetProperty("state").GetString()!),
            ];
        } while (states.Length < 3);

        Assert.Equal(["calling", "answered", "ended"], states);
    }

    [Fact]
    public async Task A_signal_that_interrupts_no_call_of_the_bridge_ends_it_too()
    {
        using var switching = new FreeSwitch();
        await using var bridge = Start(switching, new Uri("http://127.0.0.1:1"));
        using var client = await switching.AcceptAsync();
        await bridge.LineAsync("Following FreeSWITCH");
        bridge.TerminateLastThread();
        Assert.Equal(0, await bridge.EndAsync());
    }

    [Fact]
    public async Task A_wrong_password_ends_the_bridge_with_a_line_that_says_so()
    {
        using var switching = new FreeSwitch();
        await using var bridge = Start(switching, new Uri("http://127.0.0.1:1"), "wrong");
        using var client = await switching.AcceptAsync();
        await bridge.LineAsync("ESL_PASSWORD");
        Assert.Equal(1, await bridge.EndAsync());
    }

    [Fact]
    public async Task An_address_of_the_broker_that_is_no_URL_ends_the_bridge()
    {
        using var switching = new FreeSwitch();
        await using var bridge = Start(switching, new Uri("localhost:8082"));
        Assert.Equal(1, await bridge.EndAsync());
        Assert.Equal(["DMB_URL: 'localhost:8082' is no URL such as http://127.0.0.1:8082."], bridge.Lines);
    }

    [Fact]
    public async Task The_record_of_a_call_is_taken_as_the_file_of_mod_json_cdr_has_it_posted()
    {
        const string Secret = "0123456789abcdef0123";
        var file = Path.Combine(Repository.Root, "deploy", "freeswitch", "json_cdr.conf.xml");
        var settings = XDocument
            .Load(file)
            .Descendants("param")
            .ToDictionary(param => (string)param.Attribute("name")!, param => (string)param.Attribute("value")!);
        Assert.Equal(
            ("false", "false", "basic"),
            (settings["encode"], settings["encode-values"], settings["auth-scheme"])
        );
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_HOST", "none"),
            ("DMB_KEYS", $"freeswitch:{Secret}:admin"),
            ("DMB_HISTORY_SIZE", "10")
        );

        const string Record =
            """{"variables":{"sip_from_display":"Ann \"the Ö\"; <b>","duration":"3"},"callflow":[{}]}""";
        var credentials = settings["cred"].Replace("<secret>", Secret, StringComparison.Ordinal);
        using var request = new HttpRequestMessage(
            HttpMethod.Post,
            new Uri(node.Url, new Uri(settings["url"]).PathAndQuery)
        );
        request.Content = new StringContent(Record, Encoding.UTF8, "application/json");
        request.Headers.Authorization = new("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(credentials)));
        using var answer = await node.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);

        using var asked = new HttpRequestMessage(HttpMethod.Get, new Uri(node.Url, "/rooms/calls/history"));
        asked.Headers.Add("X-Api-Key", Secret);
        using var history = await node.Http.SendAsync(asked);
        Assert.Contains(
            "\"event\":\"statistics:add\"",
            await history.Content.ReadAsStringAsync(),
            StringComparison.Ordinal
        );
    }

    private static ChildProcess Start(FreeSwitch switching, Uri broker, string password = "ClueCon") =>
        ChildProcess.Start(
            "/usr/bin/python3",
            ["-B", Path.Combine(Repository.Root, "deploy", "freeswitch", "bridge.py")],
            Repository.Root,
            ("DMB_URL", $"{broker}"),
            ("ESL_ADDRESS", switching.Address),
            ("ESL_PASSWORD", password)
        );

    private static (string, string)[] Call(string name, params (string Name, string Value)[] more) =>
        [
            .. new Dictionary<string, string>(more.Select(one => KeyValuePair.Create(one.Name, one.Value)))
                .Concat(
                    new Dictionary<string, string>
                    {
                        ["Event-Name"] = name,
                        ["Unique-ID"] = "a",
                        ["variable_sip_call_id"] = "c1",
                        ["Caller-Caller-ID-Number"] = "ann",
                        ["Caller-Destination-Number"] = "1234",
                    }
                )
                .DistinctBy(one => one.Key)
                .Select(one => (one.Key, one.Value)),
        ];
}
