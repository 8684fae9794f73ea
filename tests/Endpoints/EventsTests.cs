using Dmb.Tests.Sockets;

namespace Dmb.Tests.Endpoints;

/// <summary>GET /events: messages as server-sent events.</summary>
public sealed class EventsTests : IAsyncLifetime
{
    private Node _node = null!;

    public async ValueTask InitializeAsync() => _node = await Node.StartAsync();

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task A_stream_declares_its_type_and_disables_proxy_buffering()
    {
        using var stream = await EventReader.OpenAsync(_node, "calls");
        Assert.Equal("text/event-stream", stream.Headers["Content-Type"]);
        Assert.Equal("no-store", stream.Headers["Cache-Control"]);
        Assert.Equal("no", stream.Headers["X-Accel-Buffering"]);
    }

    [Theory]
    [InlineData("{}", "data: {}")]
    [InlineData("null", "data: null")]
    [InlineData("\"\\n\u2028é😀\"", "data: \"\\n\u2028é😀\"")]
    [InlineData("{\"b\":1e400,\"a\":1,\"a\":2}", "data: {\"b\":1e400,\"a\":1,\"a\":2}")]
    [InlineData("[1,\n2]", "data: [1, 2]")]
    [InlineData("[1,\r\n2]", "data: [1,  2]")]
    [InlineData("[1,\n\n\r\r\n 2]", "data: [1,      2]")]
    public async Task Data_arrives_as_it_was_sent_on_one_line(string data, string lines)
    {
        using var stream = await EventReader.OpenAsync(_node, "calls");
        var id = await _node.NotifyAsync("call", data);
        Assert.Equal($"event: call\n{lines}\nid: {id}", await stream.ReadAsync());
    }

    [Fact]
    public async Task A_stream_of_several_rooms_gets_one_copy_of_their_messages_only()
    {
        using var stream = await EventReader.OpenAsync(_node, "calls", "endpoint:1", "calls");
        await RawHttp.AskAsync(_node, "POST /register", """{"event":"news","default_room":"public"}""");

        await _node.NotifyAsync("news", "0");
        await _node.NotifyAsync("trace", "1");
        var second = await _node.NotifyAsync("call", """{"endpoint":1,"_in":["endpoint:1"]}""");
        var third = await _node.NotifyAsync("trace", """{"endpoint":1}""");
        Assert.EndsWith("id: " + second, await stream.ReadAsync(), StringComparison.Ordinal);
        Assert.EndsWith("id: " + third, await stream.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Line_breaks_in_data_do_not_grow_on_the_stream()
    {
        using var stream = await EventReader.OpenAsync(_node, "calls");
        for (var i = 0; i < 5; i++)
        {
            await _node.NotifyAsync("call", $"[{new string('\n', 200_000)}{i}]");
            Assert.Contains($"{new string(' ', 200_000)}{i}]", await stream.ReadAsync(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_stream_receives_messages_of_sockets()
    {
        using var stream = await EventReader.OpenAsync(_node, "calls");
        await using var client = await _node.ConnectAsync();
        await client.SendAsync("""{"event":"call","data":{ "a":1}}""");
        Assert.StartsWith("event: call\ndata: { \"a\":1}\nid: ", await stream.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_comment_is_sent_every_15_seconds_and_not_before()
    {
        using var stream = await EventReader.OpenAsync(_node, "calls");
        for (var i = 0; i < 3; i++)
        {
            _node.Time.Advance(TimeSpan.FromMilliseconds(14_999));
            var id = await _node.NotifyAsync("call", "1");
            Assert.EndsWith("id: " + id, await stream.ReadAsync(), StringComparison.Ordinal);

            _node.Time.Advance(TimeSpan.FromMilliseconds(1));
            Assert.StartsWith(":", await stream.ReadAsync(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_stream_is_not_closed_for_being_silent()
    {
        using var stream = await EventReader.OpenAsync(_node, "calls");
        for (var i = 0; i < 20; i++)
        {
            _node.Time.Advance(TimeSpan.FromSeconds(15));
            Assert.StartsWith(":", await stream.ReadAsync(), StringComparison.Ordinal);
        }

        var id = await _node.NotifyAsync("call", "1");
        Assert.EndsWith("id: " + id, await stream.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_disconnected_client_leaves_its_rooms()
    {
        using (await EventReader.OpenAsync(_node, "calls", "traces"))
        {
            Assert.Equal(1, await _node.SessionsInAsync("calls"));
            Assert.Equal(0, await _node.SessionsInAsync("public"));
        }

        await _node.UntilSessionsInAsync("calls", 0, () => _node.Time.Advance(TimeSpan.FromSeconds(1)));
        Assert.Equal(0, await _node.SessionsInAsync("traces"));
    }

    [Fact]
    public async Task A_client_that_never_reads_is_closed_without_effect_on_others()
    {
        using var stuck = await RawHttp.ConnectAsync(_node);
        await stuck.SendAsync("GET /events?room=calls HTTP/1.1\nHost: localhost");
        await _node.UntilSessionsInAsync("calls", 1);
        using var stream = await EventReader.OpenAsync(_node, "calls");

        // More than both ends' socket buffers and the queue can hold.
        var data = $"\"{new string('x', 250_000)}\"";
        for (var i = 0; i < 80; i++)
        {
            var id = await _node.NotifyAsync("call", data);
            Assert.EndsWith("id: " + id, await stream.ReadAsync(), StringComparison.Ordinal);
        }

        _node.Time.Advance(TimeSpan.FromSeconds(6));
        await _node.UntilSessionsInAsync("calls", 1);
    }

    [Fact]
    public async Task A_stream_begins_with_the_time_after_which_to_come_back()
    {
        using var stream = await EventReader.OpenAsync(_node.Http, new Uri(_node.Url, "/events?room=calls"));
        Assert.Null(stream.RetryMs);
        Assert.Equal(": connected", await stream.ReadAsync());
        Assert.InRange(stream.RetryMs!.Value, 1_000, 3_000);
    }

    [Fact]
    public async Task A_requested_heartbeat_is_sent_every_25_seconds_and_not_before()
    {
        using var stream = await EventReader.OpenAsync(
            _node.Http,
            new Uri(_node.Url, "/events?room=calls&heartbeat=1")
        );
        Assert.Equal(": connected", await stream.ReadAsync());
        for (var i = 0; i < 3; i++)
        {
            _node.Time.Advance(TimeSpan.FromMilliseconds(24_999));
            var id = await _node.NotifyAsync("call", "1");
            Assert.EndsWith("id: " + id, await stream.ReadAsync(), StringComparison.Ordinal);

            _node.Time.Advance(TimeSpan.FromMilliseconds(1));
            Assert.Equal("event: ping\ndata: {}", await stream.ReadAsync());
        }
    }

    [Theory]
    [InlineData(null, 0, "12")]
    [InlineData(null, 1, "2")]
    [InlineData(0, 1, "12")]
    [InlineData(1, 0, "2")]
    public async Task The_last_event_id_may_be_in_the_query_where_the_header_wins(int? header, int query, string missed)
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        string start;
        using (var first = await EventReader.OpenAsync(node, "support"))
        {
            start = (await first.ReadAsync())["id: ".Length..^1];
        }

        await node.NotifyAsync("report_csr", "1");
        await node.NotifyAsync("report_csr", "2");
        var url = new Uri(node.Url, "/events?room=support&lastEventId=" + Uri.EscapeDataString($"{start}{query}"));
        using var again = await EventReader.OpenAsync(node.Http, url, header is null ? null : $"{start}{header}");
        Assert.Equal(": connected", await again.ReadAsync());
        Assert.Equal($"id: {start}2", await again.ReadAsync());
        foreach (var data in missed)
        {
            Assert.StartsWith($"event: report_csr\ndata: {data}\n", await again.ReadAsync(), StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("/events?room=calls", 200)]
    [InlineData("/events?room=", 400)]
    [InlineData("/events?service=0123456789abcdef0123456789abcdef&user=ann", 404)]
    [InlineData("/backend/0123456789abcdef0123456789abcdef/uplink", 404)]
    public async Task HEAD_is_answered_as_GET_would_be_and_opens_no_stream(string path, int status)
    {
        using var request = new HttpRequestMessage(HttpMethod.Head, new Uri(_node.Url, path));
        using var answer = await _node.Http.SendAsync(request);
        Assert.Equal(status, (int)answer.StatusCode);
        Assert.Equal(
            status == 200 ? "text/event-stream" : "application/problem+json",
            $"{answer.Content.Headers.ContentType}"
        );
        Assert.Equal(0, await _node.SessionsInAsync("calls"));
    }

    [Fact]
    public async Task A_browser_that_cannot_be_served_now_gets_a_retry_and_other_clients_are_refused()
    {
        const string Full = "GET /events?room=calls";
        await using var node = await Node.StartAsync(("MaxSessions", "1"));
        using var only = await EventReader.OpenAsync(node, "calls");

        var browser = await RawHttp.AskAsync(node, Full, "", "Accept: text/event-stream");
        Assert.Equal(200, browser.Status);
        Assert.Equal("text/event-stream", browser.Headers["Content-Type"]);
        Assert.Equal("no-store", browser.Headers["Cache-Control"]);
        Assert.Matches(@"^retry: [1-3]\d{3}\n\n$", browser.Body);

        (await RawHttp.AskAsync(node, Full, "", "Accept: */*")).IsProblem(503, "rate_limited");
        (await RawHttp.AskAsync(node, Full, "", "Accept: text/event-stream", "X-Api-Key: any")).IsProblem(
            503,
            "rate_limited"
        );

        // What would be refused the next time too is said at once.
        (await RawHttp.AskAsync(node, "GET /events", "", "Accept: text/event-stream")).IsProblem(400, "bad_name");
    }

    [Theory]
    [InlineData("")]
    [InlineData("?room=")]
    [InlineData("?room=calls&room=a%20b")]
    [InlineData("?room=endpoint:*:1")]
    [InlineData("?rooms=calls")]
    public async Task A_stream_of_no_room_or_of_a_bad_one_is_refused(string query)
    {
        (await RawHttp.AskAsync(_node, "GET /events" + query)).IsProblem(400, "bad_name");
    }

    [Fact]
    public async Task A_stream_may_have_100_rooms_and_no_more()
    {
        using var stream = await EventReader.OpenAsync(_node, [.. Enumerable.Range(0, 100).Select(i => $"room:{i}")]);
        var id = await _node.NotifyAsync("call", """{"_in":"room:99"}""");
        Assert.EndsWith("id: " + id, await stream.ReadAsync(), StringComparison.Ordinal);

        var query = string.Join('&', Enumerable.Range(0, 101).Select(i => $"room=room:{i}"));
        (await RawHttp.AskAsync(_node, "GET /events?" + query)).IsProblem(400, "too_many_rooms");
    }

    [Fact]
    public async Task One_session_too_many_is_refused_and_may_try_again()
    {
        await using var node = await Node.StartAsync(("MaxSessions", "1"));
        using (await EventReader.OpenAsync(node, "calls"))
        {
            var refused = await RawHttp.AskAsync(node, "GET /events?room=calls");
            refused.IsProblem(503, "rate_limited");
            Assert.Matches("^[0-9]+$", refused.Headers["Retry-After"]);
        }

        await node.UntilSessionsInAsync("calls", 0, () => node.Time.Advance(TimeSpan.FromSeconds(1)));
        using var next = await EventReader.OpenAsync(node, "calls");
    }
}
