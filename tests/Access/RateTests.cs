using System.Text.Json;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Access;

/// <summary>docs/protocol.md §1: how much one caller may do in a second, and how many sessions an address may have.</summary>
public sealed class RateTests
{
    private const int Rate = 5;

    [Fact]
    public async Task A_push_past_the_rate_is_429_on_a_connection_that_goes_on_and_passes_later()
    {
        await using var node = await Node.StartAsync(("PublishRate", $"{Rate}"));
        await using var client = await node.JoinAsync("calls");
        using var http = await RawHttp.ConnectAsync(node);
        var (taken, answer) = await PushUntilRefusedAsync(http);
        Assert.True(taken >= Rate, $"{taken}");
        answer.IsProblem(429, "rate_limited");
        Assert.InRange(int.Parse(answer.Headers["Retry-After"], System.Globalization.CultureInfo.InvariantCulture), 1, 2);
        Assert.False(answer.SaysClose);

        using var patience = new CancellationTokenSource(Node.Patience);
        while ((await http.AskAsync("POST /_notify/call", "\"later\"")).Status != 200)
        {
            patience.Token.ThrowIfCancellationRequested();
        }

        for (var i = 0; i < taken; i++)
        {
            Assert.Equal("1", await client.ReadDataAsync("call"));
        }

        Assert.Equal("\"later\"", await client.ReadDataAsync("call"));
    }

    [Fact]
    public async Task Each_key_and_each_user_has_a_rate_of_its_own()
    {
        await using var node = await GuardedNode.StartAsync(("PublishRate", "1"));
        using var http = await RawHttp.ConnectAsync(node);
        await PushUntilRefusedAsync(http, "X-Api-Key: " + GuardedNode.SecretOf("publish"));
        (await http.AskAsync("POST /_notify/call", "1", "X-Api-Key: " + GuardedNode.SecretOf("admin"))).TakenId();
        var admin = Token.Of("root", node.Time.GetUtcNow().AddHours(1), "\"admin\":true");
        (await http.AskAsync("POST /_notify/call", "1", "Authorization: Bearer " + admin)).TakenId();
    }

    [Fact]
    public async Task Of_a_batch_each_item_counts()
    {
        await using var node = await Node.StartAsync(("PublishRate", $"{Rate}"));
        var items = string.Join(',', Enumerable.Repeat("""{"event":"call","data":1}""", 3 * Rate));
        var answer = (await RawHttp.AskAsync(node, "POST /_notify", $"[{items}]")).Json;
        Assert.False(answer.GetProperty("ok").GetBoolean());
        var codes = answer.GetProperty("results").EnumerateArray().Select(result => result.GetProperty("ok").GetBoolean() ? "" : $"{result.GetProperty("error")}").ToArray();
        Assert.Equal("", codes[Rate - 1]);
        Assert.Contains(codes, code => code.Contains("rate_limited", StringComparison.Ordinal) && code.Contains("\"retry\":true", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_socket_past_the_rate_is_told_to_retry_and_one_that_does_not_listen_is_closed()
    {
        await using var node = await Node.StartAsync(("PublishRate", $"{Rate}"));
        await using var client = await node.ConnectAsync();
        string answer;
        do
        {
            answer = await client.AckAsync("call", "1");
        }
        while (answer.Contains("\"ok\":true", StringComparison.Ordinal));
        var error = JsonElement.Parse(answer).GetProperty("error");
        Assert.Equal(("rate_limited", true), (error.GetProperty("code").GetString(), error.GetProperty("retry").GetBoolean()));

        var closing = Expect.ClosedAsync(4102, reconnect: true, client);
        for (var i = 0; i < 1_000 && !closing.IsCompleted; i++)
        {
            try
            {
                await client.SendAsync("""{"event":"call","data":1}""");
            }
            catch (IOException)
            {
                break;
            }
        }

        await closing;
    }

    [Fact]
    public async Task Joins_count_rooms_whichever_way_they_are_joined()
    {
        await using var node = await Node.StartAsync(("JoinRate", $"{Rate}"));
        await using var client = await node.ConnectAsync();
        Expect.Accepted(await client.AckAsync("subscribe", """["a:1","a:2","a:3","a:4","a:5"]"""));
        await RefusedAsync("subscribe", """["b:1","b:2","b:3","b:4","b:5"]""");
        await RefusedAsync("configure", """{"calls":true,"support":true,"internal":true,"traces":true,"locations":true}""");
        for (var i = 0; i < 1_000; i++)
        {
            using var http = await RawHttp.ConnectAsync(node);
            await http.SendAsync("GET /events?room=c:1&room=c:2&room=c:3&room=c:4&room=c:5 HTTP/1.1\nHost: localhost");
            if ((await http.ReadLineAsync()).StartsWith("HTTP/1.1 429 ", StringComparison.Ordinal))
            {
                return;
            }
        }

        Assert.Fail("No stream was refused.");

        async Task RefusedAsync(string @event, string data)
        {
            string answer;
            do
            {
                answer = await client.AckAsync(@event, data);
            }
            while (answer.Contains("\"ok\":true", StringComparison.Ordinal));

            Assert.Contains("\"rate_limited\"", answer, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Sockets_without_credentials_are_counted_and_those_with_are_not()
    {
        await using var node = await GuardedNode.StartAsync(("HandshakeRate", "2"));
        var clients = new List<TestClient>();
        var refused = await Assert.ThrowsAsync<IOException>(async () =>
        {
            while (clients.Count < 1_000)
            {
                clients.Add(await node.ConnectAsync());
            }
        });
        Assert.Equal("HTTP/1.1 429 Too Many Requests", refused.Message);
        for (var i = 0; i < 5; i++)
        {
            clients.Add(await node.ConnectAsync(("X-Api-Key", GuardedNode.SecretOf("read"))));
        }

        clients.ForEach(client => client.Reset());
    }

    [Fact]
    public async Task An_address_has_so_many_sessions_and_gets_a_place_back_however_one_ended()
    {
        await using var node = await Node.StartAsync(("MaxSessionsPerAddress", "2"), ("TrustedProxies", "127.0.0.1"));
        await using var first = await node.ConnectAsync();
        var second = await node.ConnectAsync();
        var full = await RawHttp.AskAsync(node, "GET /events?room=calls");
        full.IsProblem(503, "rate_limited");
        Assert.Equal("1", full.Headers["Retry-After"]);
        await using var elsewhere = await node.ConnectAsync(("X-Forwarded-For", "192.0.2.7"));
        await using var neighbour = await node.ConnectAsync(("X-Forwarded-For", "2001:db8::1"));
        await using var same = await node.ConnectAsync(("X-Forwarded-For", "2001:db8:0:0:ffff::2"));
        await Assert.ThrowsAsync<IOException>(() => node.ConnectAsync(("X-Forwarded-For", "2001:db8::3")));
        await using var other = await node.ConnectAsync(("X-Forwarded-For", "2001:db8:0:1::1"));

        second.Reset();
        await node.UntilSessionsInAsync("public", 5);

        // Refused in their handshake, and in what they ask for: neither keeps a place.
        for (var i = 0; i < 5; i++)
        {
            await using var foreign = await ConnectWhenFreeAsync(node, ("Origin", "https://elsewhere.example"));
            await Expect.ClosedAsync(4003, reconnect: false, foreign);
            await foreign.SendFrameAsync(Frame.Close, []);
            await foreign.ReadEndAsync();
            Assert.True((await RawHttp.AskAsync(node, "GET /events?room=a%20b")).Status is 400 or 503);
        }

        await using var third = await ConnectWhenFreeAsync(node);
    }

    [Fact]
    public async Task On_loopback_nothing_of_it_is_limited_by_default()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        for (var i = 0; i < 3_000; i++)
        {
            Assert.Equal(200, (await http.AskAsync("POST /_notify/call", "1")).Status);
        }
    }

    private static async Task<(int Taken, RawAnswer Refused)> PushUntilRefusedAsync(RawHttp http, params string[] headers)
    {
        for (var i = 0; i < 1_000; i++)
        {
            var answer = await http.AskAsync("POST /_notify/call", "1", headers);
            if (answer.Status != 200)
            {
                return (i, answer);
            }
        }

        throw new InvalidOperationException("Nothing was refused.");
    }

    /// <summary>A place is given back when the server has seen its session's end, which is told to nobody.</summary>
    private static async Task<TestClient> ConnectWhenFreeAsync(Node node, params (string, string)[] headers)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (true)
        {
            try
            {
                return await TestClient.ConnectAsync(new Uri(node.Url, "/ws"), headers);
            }
            catch (IOException full) when (full.Message.Contains("503", StringComparison.Ordinal))
            {
                patience.Token.ThrowIfCancellationRequested();
            }
        }
    }
}
