using System.Text.Json;
using Dmb.Tests.Redis;

namespace Dmb.Tests.Backends;

/// <summary>What is wrong is answered so, by a node that runs alone and by one on Redis, and harms nobody.</summary>
public abstract class BadBackendInputSpec(NodeProcess node) : IAsyncLifetime
{
    private const string NoBkid = "00000000000000000000000000000000";
    private static readonly string Long = new('x', 201);
    private static readonly string Wide = new('é', 101);
    private static readonly string LongId = new('i', 65);
    private static readonly string Deep = new string('[', 65) + new string(']', 65);
    private TestBackend _backend = null!;
    private TestUser _user = null!;

    public static TheoryData<string, string, string, string> Requests =>
        new()
        {
            { "POST /register/backend", "{", "400", "bad_json" },
            { "POST /register/backend", "[]", "400", "bad_json" },
            { "POST /register/backend", "\"x\"", "400", "bad_json" },
            { "POST /register/backend", "{\"name\":\"x\"} {}", "400", "bad_json" },
            { "POST /register/backend", "", "400", "bad_name" },
            { "POST /register/backend", """{"name":null}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":{}}""", "400", "bad_json" },
            { "POST /register/backend", """{"name":["x"]}""", "400", "bad_json" },
            { "POST /register/backend", """{"name":true}""", "400", "bad_json" },
            { "POST /register/backend", """{"name":""}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":"a b"}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":"a\u0007"}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":"a\u00a0"}""", "400", "bad_name" },
            { "POST /register/backend", $$"""{"name":"{{Long}}"}""", "400", "bad_name" },
            { "POST /register/backend", $$"""{"name":"{{Wide}}"}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":"\ud800"}""", "400", "bad_json" },
            { "POST /register/backend", """{"name":"x","name":7,"name":{}}""", "400", "bad_json" },
            { "POST /register/backend", """{"\ud800":"x","nam\udfff":"x"}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":"x","bkid":"x"}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":"x","bkid":""}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":"x","bkid":42}""", "400", "bad_name" },
            { "POST /register/backend", """{"name":"x","bkid":false}""", "400", "bad_json" },
            { "POST /register/backend", """{"name":"x","bkid":{}}""", "400", "bad_json" },
            {
                "POST /register/backend",
                """{"name":"x","bkid":"0123456789ABCDEF0123456789ABCDEF"}""",
                "400",
                "bad_name"
            },
            {
                "POST /register/backend",
                """{"name":"x","bkid":"0123456789abcdef0123456789abcdef0"}""",
                "400",
                "bad_name"
            },
            {
                "POST /register/backend",
                """{"name":"x","bkid":"0123456789abcdef0123456789abcde*"}""",
                "400",
                "bad_name"
            },
            { "POST /register/backend", $$"""{"name":"x","more":{{Deep}}}""", "400", "bad_json" },
            { "POST /register/backend", "BIG", "413", "too_big" },
            { "POST /register", """{"event":"dmb:direct"}""", "400", "bad_name" },
            { "POST /register", """{"event":"dmb:"}""", "400", "bad_name" },
            { "POST /backend/BKID/messages", "", "400", "bad_json" },
            { "POST /backend/BKID/messages", "{", "400", "bad_json" },
            { "POST /backend/BKID/messages", "[1]", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"to":"u"}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"type":"bk_connect","data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"type":{},"data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"id":true,"data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"id":{},"data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"id":"","data":1}""", "400", "bad_name" },
            { "POST /backend/BKID/messages", """{"id":"a\u0000","data":1}""", "400", "bad_name" },
            { "POST /backend/BKID/messages", """{"id":"\udc00","data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", $$"""{"id":"{{LongId}}","data":1}""", "400", "bad_name" },
            { "POST /backend/BKID/messages", """{"to":{"user":"u"},"data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"to":["u"],"data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"to":true,"data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", """{"to":"","data":1}""", "400", "bad_name" },
            { "POST /backend/BKID/messages", """{"to":"u\n","data":1}""", "400", "bad_name" },
            { "POST /backend/BKID/messages", """{"to":"\ud83d","data":1}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", $$"""{"to":"{{Long}}","data":1}""", "400", "bad_name" },
            { "POST /backend/BKID/messages", $$"""{"to":"{{Wide}}","data":1}""", "400", "bad_name" },
            { "POST /backend/BKID/messages", $$"""{"data":{{Deep}}}""", "400", "bad_json" },
            { "POST /backend/BKID/messages", "BIG", "413", "too_big" },
            { $"POST /backend/{NoBkid}/messages", """{"data":1}""", "404", "unknown_backend" },
            { "POST /backend/0123456789ABCDEF0123456789ABCDEF/messages", """{"data":1}""", "404", "unknown_backend" },
            { "POST /backend/x%20y/messages", """{"data":1}""", "404", "unknown_backend" },
            { $"DELETE /register/backend/{NoBkid}", "", "404", "unknown_backend" },
            { "DELETE /register/backend/*", "", "404", "unknown_backend" },
            { $"GET /backend/{NoBkid}/uplink", "", "404", "unknown_backend" },
            { $"GET /backend/{NoBkid}/uplink/stored", "", "404", "unknown_backend" },
            { "GET /backend/BKID/uplink/stored?max=many", "", "400", "bad_json" },
            { "GET /backend/BKID/uplink/stored?max=99999999999", "", "400", "bad_json" },
            { $"GET /events?service={NoBkid}&user=u", "", "404", "unknown_backend" },
            { "GET /events?service=x&user=u", "", "404", "unknown_backend" },
            { "GET /events?service=BKID", "", "400", "bad_name" },
            { "GET /events?service=BKID&user=", "", "400", "bad_name" },
            { $"GET /events?service=BKID&user={Long}", "", "400", "bad_name" },
            { "GET /events?service=BKID&user=a%07", "", "400", "bad_name" },
            { "GET /events?service=BKID&user=u&room=a%20b", "", "400", "bad_name" },
            { "GET /events?user=u", "", "400", "bad_name" },
            { "GET /events?room=users%20BKID", "", "400", "bad_name" },
            { "GET /events?room=user%20BKID%20u", "", "400", "bad_name" },
            { "GET /events?room=uplink%20BKID", "", "400", "bad_name" },
            { "GET /rooms/users%20BKID", "", "400", "bad_name" },
        };

    /// <summary>Who sends, the event, its data, and the code.</summary>
    public static TheoryData<string, string, string, string> Frames =>
        new()
        {
            { "nobody", "dmb:reconnect", "null", "bad_frame" },
            { "nobody", "dmb:reconnect", "\"x\"", "bad_frame" },
            { "nobody", "dmb:reconnect", "[]", "bad_frame" },
            { "nobody", "dmb:reconnect", "{}", "bad_name" },
            { "nobody", "dmb:reconnect", """{"name":{}}""", "bad_frame" },
            { "nobody", "dmb:reconnect", """{"name":"a b"}""", "bad_name" },
            { "nobody", "dmb:reconnect", """{"name":"\ud800"}""", "bad_frame" },
            { "nobody", "dmb:reconnect", """{"\ud800":"x"}""", "bad_name" },
            { "nobody", "dmb:reconnect", """{"name":"x","bkid":"x"}""", "bad_name" },
            { "nobody", "dmb:reconnect", """{"name":"x","bkid":{}}""", "bad_frame" },
            { "nobody", "dmb:reconnect", """{"name":"x","bkid":"0123456789ABCDEF0123456789ABCDEF"}""", "bad_name" },
            { "nobody", "dmb:reconnect", """{"name":"x","bkid":"BKID"}""", "forbidden_publish" },
            { "nobody", "dmb:broadcast", """{"data":1}""", "forbidden_publish" },
            { "nobody", "dmb:broadcast", """{"service":"BKID","bkid":"BKID","data":1}""", "forbidden_publish" },
            { "nobody", "dmb:direct", """{"user":"u","data":1}""", "forbidden_publish" },
            { "nobody", "dmb:message", """{"data":1}""", "bad_frame" },
            { "nobody", "dmb:message", """{"service":"BKID","data":1}""", "forbidden_publish" },
            { "nobody", "dmb:message", "null", "bad_frame" },
            { "nobody", "dmb:connect", "null", "bad_frame" },
            { "nobody", "dmb:connect", "{}", "bad_name" },
            { "nobody", "dmb:connect", """{"service":"BKID"}""", "bad_name" },
            { "nobody", "dmb:connect", """{"service":"BKID","user":null}""", "bad_name" },
            { "nobody", "dmb:connect", """{"service":"BKID","user":""}""", "bad_name" },
            { "nobody", "dmb:connect", """{"service":"BKID","user":{}}""", "bad_frame" },
            { "nobody", "dmb:connect", """{"service":"BKID","user":["u"]}""", "bad_frame" },
            { "nobody", "dmb:connect", """{"service":"BKID","user":"a\u0000"}""", "bad_name" },
            { "nobody", "dmb:connect", """{"service":"BKID","user":"\ud800"}""", "bad_frame" },
            { "nobody", "dmb:connect", $$"""{"service":"BKID","user":"{{Long}}"}""", "bad_name" },
            { "nobody", "dmb:connect", $$"""{"service":"BKID","user":"{{Wide}}"}""", "bad_name" },
            { "nobody", "dmb:connect", """{"user":"u"}""", "bad_frame" },
            { "nobody", "dmb:connect", """{"service":{},"user":"u"}""", "bad_frame" },
            { "nobody", "dmb:connect", """{"service":"","user":"u"}""", "unknown_backend" },
            { "nobody", "dmb:connect", """{"service":"x y","user":"u"}""", "unknown_backend" },
            { "nobody", "dmb:connect", """{"service":"events","user":"u"}""", "unknown_backend" },
            { "nobody", "dmb:connect", $$"""{"service":"{{NoBkid}}","user":"u"}""", "unknown_backend" },
            { "nobody", "dmb:disconnect", """{"service":{}}""", "bad_frame" },
            { "nobody", "dmb:disconnect", """{"service":"\ud800"}""", "bad_frame" },
            { "nobody", "dmb:uplink", """{"data":1}""", "unknown_event" },
            { "nobody", "dmb:disconnected", """{"service":"BKID"}""", "unknown_event" },
            { "nobody", "register", """{"event":"dmb:direct"}""", "bad_name" },
            { "nobody", "subscribe", "\"users BKID\"", "bad_name" },
            { "nobody", "subscribe", "[\"public\",\"user BKID u\"]", "bad_name" },
            { "nobody", "subscribe", """{"room":"uplink BKID"}""", "bad_name" },
            { "user", "dmb:message", "{}", "bad_frame" },
            { "user", "dmb:message", "1", "bad_frame" },
            { "user", "dmb:message", """{"service":{},"data":1}""", "bad_frame" },
            { "user", "dmb:message", $$"""{"service":"{{NoBkid}}","data":1}""", "forbidden_publish" },
            { "user", "dmb:broadcast", """{"data":1}""", "forbidden_publish" },
            { "user", "dmb:direct", """{"user":"u","data":1}""", "forbidden_publish" },
            { "user", "dmb:reconnect", """{"name":"x"}""", "forbidden_publish" },
            { "user", "unsubscribe", "\"users BKID\"", "bad_name" },
            { "backend", "dmb:connect", """{"service":"BKID","user":"u"}""", "bad_frame" },
            { "backend", "dmb:message", """{"service":"BKID","data":1}""", "forbidden_publish" },
            { "backend", "dmb:broadcast", "null", "bad_frame" },
            { "backend", "dmb:broadcast", "{}", "bad_frame" },
            { "backend", "dmb:broadcast", """{"data":1,"id":{}}""", "bad_frame" },
            { "backend", "dmb:broadcast", """{"data":1,"id":""}""", "bad_name" },
            { "backend", "dmb:broadcast", $$"""{"data":1,"id":"{{LongId}}"}""", "bad_name" },
            { "backend", "dmb:direct", """{"data":1}""", "bad_frame" },
            { "backend", "dmb:direct", """{"user":null,"data":1}""", "bad_frame" },
            { "backend", "dmb:direct", """{"user":{},"data":1}""", "bad_frame" },
            { "backend", "dmb:direct", """{"user":"","data":1}""", "bad_name" },
            { "backend", "dmb:direct", $$"""{"user":"{{Long}}","data":1}""", "bad_name" },
            { "backend", "dmb:direct", """{"user":"\ud800","data":1}""", "bad_frame" },
            { "backend", "dmb:direct", """{"user":"u"}""", "bad_frame" },
        };

    public async ValueTask InitializeAsync()
    {
        _backend = await TestBackend.RegisterAsync(By.Socket, node.Url, null, "bad");
        _user = await TestUser.JoinAsync(node.Url, _backend.Bkid, "u");
        await _backend.HearsAsync("connect", _user, 1);
    }

    public async ValueTask DisposeAsync()
    {
        await _user.DisposeAsync();
        await _backend.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task A_bad_request_is_answered_with_a_problem(string request, string body, string status, string code)
    {
        var (method, path) = (request.Split(' ')[0], Filled(request.Split(' ')[1]));
        using var message = new HttpRequestMessage(new HttpMethod(method), new Uri(node.Url, path));
        message.Content =
            method == "POST"
                ? new StringContent(body == "BIG" ? $$"""{"data":"{{new string('x', 262_144)}}"}""" : body)
                : null;
        using var response = await node.Http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal(
            (status, "application/problem+json"),
            ($"{(int)response.StatusCode}", response.Content.Headers.ContentType?.MediaType)
        );
        Assert.Equal(
            code,
            JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("code").GetString()
        );
        await StillWorksAsync();
    }

    [Theory]
    [MemberData(nameof(Frames))]
    public async Task A_bad_frame_is_refused_by_an_ack_or_failed_and_the_session_stays_open(
        string who,
        string @event,
        string data,
        string code
    )
    {
        await using var client = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"));
        await client.ReadAsync();
        var own = "";
        if (who == "user")
        {
            Accepted(await client.AckAsync("dmb:connect", Filled("""{"service":"BKID","user":"v"}""")));
        }
        else if (who == "backend")
        {
            var ack = await client.AckAsync("dmb:reconnect", """{"name":"own"}""");
            own = JsonElement.Parse(ack).GetProperty("data").GetProperty("bkid").GetString()!;
        }

        await client.ReadAllAsync();
        var refusal = JsonElement.Parse(await client.AckAsync(@event, Filled(data)));
        Assert.False(refusal.GetProperty("ok").GetBoolean());
        Assert.Equal(
            (code, false),
            (
                refusal.GetProperty("error").GetProperty("code").GetString(),
                refusal.GetProperty("error").GetProperty("retry").GetBoolean()
            )
        );
        Assert.Empty(await client.ReadAllAsync());

        // Without an ack; who publishes what nobody registered is told nothing then.
        await client.SendAsync($$"""{"event":"{{@event}}","data":{{Filled(data)}}}""");
        if (code != "unknown_event")
        {
            var failed = JsonElement.Parse(await client.ReadAsync());
            Assert.Equal(
                ("failed", code),
                (failed.GetProperty("event").GetString(), failed.GetProperty("data").GetProperty("code").GetString())
            );
        }

        Assert.Empty(await client.ReadAllAsync());
        Accepted(await client.AckAsync("subscribe", "\"support\""));
        if (who == "user")
        {
            Accepted(await client.AckAsync("dmb:message", """{"data":"still"}"""));
            Assert.Contains("\"connect\"", await _backend.ReadAsync(), StringComparison.Ordinal);
            Assert.Equal("\"still\"", TestBackend.DataOf(await _backend.ReadAsync()));
        }
        else if (who == "backend")
        {
            await using var user = await TestUser.JoinAsync(node.Url, own, "w");
            Accepted(await client.AckAsync("dmb:direct", """{"user":"w","data":1}"""));
            await user.GetsAsync("dmb:direct", "1");
        }

        await client.DisposeAsync();
        if (who == "user")
        {
            Assert.Contains("\"disconnect\"", await _backend.ReadAsync(), StringComparison.Ordinal);
        }

        await StillWorksAsync();

        static void Accepted(string ack) => Assert.Contains("\"ok\":true", ack, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("dmb:connect")]
    [InlineData("dmb:message")]
    [InlineData("dmb:direct")]
    public async Task A_frame_too_big_or_too_deep_closes_the_session(string @event)
    {
        foreach (var data in (string[])[$"\"{new string('x', 262_144)}\"", Deep])
        {
            await using var client = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"));
            await client.ReadAsync();
            await client.SendAsync($$$"""{"event":"{{{@event}}}","data":{"data":{{{data}}}},"ack":1}""");
            Assert.Equal(1009, (await client.ReadCloseAsync()).Code);
        }

        await StillWorksAsync();
    }

    [Fact]
    public async Task Clients_cannot_publish_into_a_backends_rooms()
    {
        string[] rooms = [$"users {_backend.Bkid}", $"user {_backend.Bkid} u", $"uplink {_backend.Bkid}"];
        var data = $$"""{"_in":{{JsonSerializer.Serialize(rooms)}},"endpoint":" {{_backend.Bkid}}"}""";
        await using var client = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"));
        await client.ReadAsync();
        await client.AckAsync("call", data);
        foreach (var name in (string[])["call", "dmb:direct", "dmb:broadcast", "dmb:uplink"])
        {
            await client.AckAsync(name, data);
            await node.PushAsync(name, data);
        }

        await StillWorksAsync();
    }

    [Fact]
    public async Task A_session_may_join_services_until_its_rooms_are_full()
    {
        await using var client = await TestClient.ConnectAsync(new Uri(node.Url, "/ws"));
        await client.ReadAsync();
        var bkids = new List<string>();
        for (var i = 0; i < 1_001; i++)
        {
            var (_, body) = await HttpBackend.PostAsync(new Uri(node.Url, "/register/backend"), """{"name":"many"}""");
            bkids.Add(JsonElement.Parse(body).GetProperty("bkid").GetString()!);
            var ack = await client.AckAsync("dmb:connect", $$"""{"service":"{{bkids[i]}}","user":"u"}""");

            // Each takes two rooms, and the session is in `public`.
            Assert.Contains(i < 499 ? "\"ok\":true" : "\"code\":\"too_many_rooms\"", ack, StringComparison.Ordinal);
            if (i >= 505)
            {
                break;
            }
        }

        Assert.Contains(
            "\"ok\":true",
            await client.AckAsync("dmb:disconnect", $$"""{"service":"{{bkids[7]}}"}"""),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "\"ok\":true",
            await client.AckAsync("dmb:connect", $$"""{"service":"{{bkids[500]}}","user":"u"}"""),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "\"ok\":true",
            await client.AckAsync("dmb:message", $$"""{"service":"{{bkids[500]}}","data":1}"""),
            StringComparison.Ordinal
        );
        await StillWorksAsync();
    }

    /// <summary>What is sent next is the next that the user and the backend get.</summary>
    private async Task StillWorksAsync()
    {
        await _backend.TellAsync("u", "\"direct\"");
        await _user.GetsAsync("dmb:direct", "\"direct\"");
        await _backend.TellAsync(null, "\"broadcast\"");
        await _user.GetsAsync("dmb:broadcast", "\"broadcast\"");
        await _user.SayAsync("\"said\"");
        await _backend.HearsAsync(_user, "\"said\"");
    }

    private string Filled(string text) => text.Replace("BKID", _backend.Bkid, StringComparison.Ordinal);
}

/// <summary>By a node that runs alone.</summary>
public sealed class EmbeddedBadBackendInputTests(EmbeddedBackplaneTests.Alone alone)
    : BadBackendInputSpec(alone.Node),
        IClassFixture<EmbeddedBackplaneTests.Alone>;

/// <summary>By one of three nodes.</summary>
[Collection(RedisLane.Name)]
public sealed class ClusterBadBackendInputTests(SharedCluster shared) : BadBackendInputSpec(shared.Nodes[1]);
