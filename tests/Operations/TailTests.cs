using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Dmb.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Operations;

/// <summary>GET /tail on a node that runs alone: what became of each publish, and why.</summary>
public sealed class TailTests : IAsyncLifetime
{
    private Node _node = null!;

    public async ValueTask InitializeAsync() => _node = await Node.StartAsync(("MaxMessageBytes", "2000"));

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task A_trace_has_the_messages_origin_rooms_and_reach()
    {
        await using var one = await _node.JoinAsync("support", "endpoint:1");
        await using var two = await _node.JoinAsync("endpoint:1");
        using var tail = await TailReader.OpenAsync(_node.Http, _node.Url);
        var id = await _node.NotifyAsync("report_csr", """{"endpoint":1,"_in":["call s","<b>"]}""");

        var trace = await tail.ReadAsync();
        Assert.Equal(
            ["time", "event", "id", "from", "caller", "rooms", "left_out", "nodes", "sessions", "why"],
            trace.EnumerateObject().Select(member => member.Name)
        );
        Assert.Equal(
            ("report_csr", id, "http", null, 1, 2, null),
            (
                Text(trace, "event"),
                Text(trace, "id"),
                Text(trace, "from"),
                Text(trace, "caller"),
                trace.GetProperty("nodes").GetInt32(),
                trace.GetProperty("sessions").GetInt32(),
                Text(trace, "why")
            )
        );
        Assert.Equal(["support", "endpoint:1"], Texts(trace, "rooms"));
        Assert.Equal(["call s", "<b>"], Texts(trace, "left_out"));
        Assert.Equal(_node.Time.GetUtcNow(), trace.GetProperty("time").GetDateTimeOffset());
    }

    [Fact]
    public async Task Each_reason_of_a_push_is_read()
    {
        using var tail = await TailReader.OpenAsync(_node.Http, _node.Url);
        await using var client = await _node.JoinAsync("support");

        using var unknown = await PostAsync("never_registered", "{}");
        await IsNextAsync(tail, "never_registered", "http", "unknown_event");

        using var strict = await PostAsync("never_registered", "{}", ("Prefer", "handling=strict"));
        Assert.Equal(HttpStatusCode.NotFound, strict.StatusCode);
        await IsNextAsync(tail, "never_registered", "http", "unknown_event");

        using var registered = await _node.Http.PostAsJsonAsync(
            new Uri(_node.Url, "/register"),
            new { @event = "lost" }
        );
        await _node.NotifyAsync("lost", """{"_in":"no such room"}""");
        await IsNextAsync(tail, "lost", "http", "no_room");

        await _node.NotifyAsync("call", """{"_in":"endpoint:7"}""");
        await IsNextAsync(tail, "call", "http", "no_subscriber");

        using var first = await PostAsync("report_csr", "1", ("Idempotency-Key", "k"));
        await IsNextAsync(tail, "report_csr", "http", null);
        using var again = await PostAsync("report_csr", "1", ("Idempotency-Key", "k"));
        await IsNextAsync(tail, "report_csr", "http", "duplicate");

        using var broken = await PostAsync("report_csr", "{");
        await IsNextAsync(tail, "report_csr", "http", "refused:bad_json");

        using var chunked = await PostAsync("report_csr", "{", ("Transfer-Encoding", "chunked"));
        await IsNextAsync(tail, "report_csr", "http", "refused:bad_json");

        using var large = await PostAsync("report_csr", $"\"{new string('x', 3_000)}\"");
        await IsNextAsync(tail, "report_csr", "http", "refused:too_big");

        using var batch = await _node.Http.PostAsync(
            new Uri(_node.Url, "/_notify"),
            new StringContent("""[{"event":"report_csr","data":1},{"event":"a b","data":1},{"event":"nope"}]""")
        );
        await IsNextAsync(tail, "report_csr", "http", null);
        await IsNextAsync(tail, "a b", "http", "refused:bad_name");
        await IsNextAsync(tail, "nope", "http", "unknown_event");
    }

    [Fact]
    public async Task Frames_of_sockets_and_messages_of_backends_are_traced()
    {
        using var tail = await TailReader.OpenAsync(_node.Http, _node.Url);
        await using var client = await _node.JoinAsync("support");
        await client.SendAsync("""{"event":"report_csr","data":1}""");
        await IsNextAsync(tail, "report_csr", "ws", null);
        await client.SendAsync("""{"event":"nothing_of_this","data":1}""");
        await IsNextAsync(tail, "nothing_of_this", "ws", "unknown_event");
        await client.AckAsync("nothing_of_this", "1");
        await IsNextAsync(tail, "nothing_of_this", "ws", "unknown_event");
        await client.SendAsync("""{"event":"subscribe","data":"a b"}""");
        await client.SendAsync("""{"event":"shout","data":1}""");
        await IsNextAsync(tail, "shouted", "ws", "no_subscriber");

        using var registered = await _node.Http.PostAsJsonAsync(
            new Uri(_node.Url, "/register/backend"),
            new { name = "billing" }
        );
        var bkid = (await registered.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("bkid").GetString();
        using var sent = await _node.Http.PostAsJsonAsync(
            new Uri(_node.Url, $"/backend/{bkid}/messages"),
            new { to = "ann", data = 1 }
        );
        var trace = await IsNextAsync(tail, "dmb:direct", "backend", "no_subscriber");
        Assert.Equal([$"user {bkid} ann"], Texts(trace, "rooms"));
    }

    [Fact]
    public async Task A_tail_shows_only_the_requested_event_and_room()
    {
        await using var client = await _node.JoinAsync("support");
        using var byEvent = await TailReader.OpenAsync(_node.Http, _node.Url, "?event=call");
        using var byRoom = await TailReader.OpenAsync(_node.Http, _node.Url, "?room=endpoint:2");
        await _node.NotifyAsync("report_csr", "1");
        await _node.NotifyAsync("call", """{"_in":"endpoint:1"}""");
        await _node.NotifyAsync("report_csr", """{"endpoint":"2"}""");
        await IsNextAsync(byEvent, "call", "http", "no_subscriber");
        Assert.Equal(["support", "endpoint:2"], Texts(await byRoom.ReadAsync(), "rooms"));

        foreach (var bad in (string[])["?event=a%20b", "?room=a%20b", "?event=" + new string('x', 500)])
        {
            using var refused = await _node.Http.GetAsync(new Uri(_node.Url, "/tail" + bad));
            Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        }
    }

    [Fact]
    public async Task A_tail_with_data_has_data_and_positions()
    {
        await using var node = await Node.StartAsync(("HistorySize", "10"));
        using var tail = await TailReader.OpenAsync(node.Http, node.Url, "?data=1");
        using var plain = await TailReader.OpenAsync(node.Http, node.Url);
        await node.NotifyAsync("report_csr", """{"a": 1}""");
        var trace = await tail.ReadAsync();
        Assert.Equal("""{"a": 1}""", trace.GetProperty("data").GetRawText());
        Assert.EndsWith(":1", Assert.Single(Texts(trace, "pos")), StringComparison.Ordinal);
        Assert.False((await plain.ReadAsync()).TryGetProperty("data", out _));

        await node.NotifyAsync("report_csr", $"\"{new string('x', 4_097)}\"");
        Assert.Equal(JsonValueKind.Null, (await tail.ReadAsync()).GetProperty("data").ValueKind);
    }

    [Fact]
    public async Task HEAD_opens_no_tail()
    {
        using var request = new HttpRequestMessage(HttpMethod.Head, "/tail");
        using var head = await _node.Http.SendAsync(request);
        Assert.Equal(
            (HttpStatusCode.OK, "text/event-stream"),
            (head.StatusCode, head.Content.Headers.ContentType?.MediaType)
        );
        Assert.False(_node.Services.GetRequiredService<Tail>().IsOpen);
    }

    [Fact]
    public async Task A_message_to_a_large_room_is_traced_with_all_its_sessions()
    {
        var clients = new List<TestClient>();
        for (var i = 0; i < 40; i++)
        {
            clients.Add(await _node.JoinAsync("support"));
        }

        using var tail = await TailReader.OpenAsync(_node.Http, _node.Url);
        await _node.NotifyAsync("report_csr", "1");
        Assert.Equal(40, (await tail.ReadAsync()).GetProperty("sessions").GetInt32());
        foreach (var client in clients)
        {
            await client.DisposeAsync();
        }
    }

    [Fact]
    public async Task Nothing_is_recorded_after_the_last_tail_has_closed()
    {
        var recorder = _node.Services.GetRequiredService<Tail>();
        Assert.False(recorder.IsOpen);
        using (await TailReader.OpenAsync(_node.Http, _node.Url))
        {
            Assert.True(recorder.IsOpen);
        }

        // A half-closed client is found gone by a failed ping.
        await UntilAsync(() =>
        {
            _node.Time.Advance(TimeSpan.FromSeconds(1));
            return !recorder.IsOpen;
        });
        await _node.NotifyAsync("report_csr", "1");
        Assert.Empty(recorder.Take("").Traces);
    }

    [Fact]
    public async Task More_than_a_thousand_a_second_are_counted()
    {
        using var tail = await TailReader.OpenAsync(_node.Http, _node.Url, "?event=call");
        const int Messages = 4_000;
        for (var batch = 0; batch < Messages / 100; batch++)
        {
            var items = string.Join(',', Enumerable.Repeat("""{"event":"call","data":{"_in":"calls"}}""", 100));
            using var sent = await _node.Http.PostAsync(
                new Uri(_node.Url, "/_notify"),
                new StringContent($"[{items}]", Encoding.UTF8)
            );
            sent.EnsureSuccessStatusCode();
        }

        var (traces, leftOut) = (0, 0);
        while (traces + leftOut < Messages)
        {
            var (name, data) = await tail.ReadAnyAsync();
            traces += name == "trace" ? 1 : 0;
            leftOut += name == "left_out" ? data.GetProperty("count").GetInt32() : 0;
        }

        Assert.Equal(Messages, traces + leftOut);
        Assert.True(traces >= Tail.TracesMax);
    }

    [Fact]
    public async Task A_tail_that_does_not_read_delays_no_other_tail()
    {
        using var silent = await RawHttp.ConnectAsync(_node);
        await silent.SendAsync($"GET /tail?event=call&data=1 HTTP/1.1\r\nHost: 127.0.0.1:{_node.Port}\r\n\r\n");
        while (await silent.ReadLineAsync() is not "") { }

        using var tail = await TailReader.OpenAsync(_node.Http, _node.Url, "?event=report_csr");
        var data = $$"""{"_in":"calls","pad":"{{new string('x', 1_500)}}"}""";
        for (var i = 0; i < 5_000; i++)
        {
            await _node.NotifyAsync("call", data);
        }

        await _node.NotifyAsync("report_csr", "1");
        await IsNextAsync(tail, "report_csr", "http", "no_subscriber");
    }

    [Fact]
    public async Task There_are_a_hundred_tails_on_a_node_and_no_more()
    {
        var tails = new List<TailReader>();
        try
        {
            for (var i = 0; i < 100; i++)
            {
                tails.Add(await TailReader.OpenAsync(_node.Http, _node.Url));
            }

            for (var i = 0; i < 900; i++)
            {
                using var refused = await _node.Http.GetAsync(
                    new Uri(_node.Url, "/tail"),
                    HttpCompletionOption.ResponseHeadersRead
                );
                Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
            }

            await _node.NotifyAsync("report_csr", "1");
            foreach (var tail in tails)
            {
                await IsNextAsync(tail, "report_csr", "http", "no_subscriber");
            }
        }
        finally
        {
            tails.ForEach(tail => tail.Dispose());
        }
    }

    private static async Task<JsonElement> IsNextAsync(TailReader tail, string @event, string from, string? why)
    {
        var trace = await tail.ReadAsync();
        Assert.Equal((@event, from, why), (Text(trace, "event"), Text(trace, "from"), Text(trace, "why")));
        return trace;
    }

    private async Task<HttpResponseMessage> PostAsync(
        string @event,
        string body,
        params (string Name, string Value)[] headers
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_node.Url, "/_notify/" + @event));
        request.Content = new StringContent(body, Encoding.UTF8);
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return await _node.Http.SendAsync(request);
    }

    private static async Task UntilAsync(Func<bool> isTrue)
    {
        using var timeout = new CancellationTokenSource(Node.Patience);
        while (!isTrue())
        {
            timeout.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }

    private static string? Text(JsonElement item, string member) => item.GetProperty(member).GetString();

    private static string[] Texts(JsonElement item, string member) =>
        [.. item.GetProperty(member).EnumerateArray().Select(text => text.GetString()!)];
}
