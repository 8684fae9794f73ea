using Dmb.Tests.Sockets;

namespace Dmb.Tests.SocketIo;

/// <summary>GETs and POSTs of a session that polls (docs/protocol.md §5).</summary>
public sealed class EngineIoPollingTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private const string UnknownSession = """{"code":1,"message":"Session ID unknown"}""";
    private const string BadRequest = """{"code":3,"message":"Bad request"}""";
    private readonly Node _node = fixture.Node;

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_packet_is_posted_and_its_answer_polled(int version)
    {
        await using var client = await PollingClient.ConnectAsync(_node, version);
        var posted = await client.PostAsync(client.Encode("""421["dmb:ping"]"""));
        Assert.Equal((200, "ok", "text/html"), (posted.Status, posted.Body, posted.Headers["Content-Type"]));

        var polled = await client.GetAsync();
        Assert.Equal((200, client.Encode("431[true,{}]")), (polled.Status, polled.Body));
        Assert.Equal("text/plain; charset=UTF-8", polled.Headers["Content-Type"]);
        Assert.Equal("no-store", polled.Headers["Cache-Control"]);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task Packets_of_one_POST_are_answered_in_their_order(int version)
    {
        await using var client = await PollingClient.ConnectAsync(_node, version);
        await client.SendAsync("""421["dmb:ping"]""", """422["dmb:ping"]""", """423["dmb:ping"]""");

        Assert.Equal("431[true,{}]", await client.ReadAsync());
        Assert.Equal("432[true,{}]", await client.ReadAsync());
        Assert.Equal("433[true,{}]", await client.ReadAsync());
    }

    [Fact]
    public async Task A_pending_GET_gets_what_comes()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        using var pending = await client.BeginGetAsync();
        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", (await pending.ReadAsync()).Body);
    }

    [Theory]
    [InlineData(3, "abc")]
    [InlineData(3, "9:4a")]
    [InlineData(3, "")]
    [InlineData(4, "abc")]
    [InlineData(4, "4a\x1e")]
    [InlineData(4, "")]
    [InlineData(4, "0")]
    [InlineData(4, "2")]
    public async Task A_malformed_body_closes_the_session(int version, string body)
    {
        await using var client = await PollingClient.ConnectAsync(_node, version);
        var posted = await client.PostAsync(body);
        Assert.Equal((400, BadRequest), (posted.Status, posted.Body));
        await IsClosedAsync(client);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_second_GET_closes_the_session_and_the_first_one_is_told(int version)
    {
        await using var client = await PollingClient.ConnectAsync(_node, version);
        using var first = await client.BeginGetAsync();
        using var second = await client.BeginGetAsync();
        RawAnswer[] answers = [await first.ReadAsync(), await second.ReadAsync()];

        // Either may be the first to arrive.
        Assert.Equal([200, 400], answers.Select(answer => answer.Status).Order());
        Assert.Equal(client.Encode("1"), answers.Single(answer => answer.Status == 200).Body);
        Assert.Equal(UnknownSession, (await client.GetAsync()).Body);
    }

    [Fact]
    public async Task Overlapping_POSTs_close_the_session()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        using var first = await client.BeginPostAsync("42[\"a");
        var refused = await client.PostAsync("""42["call",1]""");

        Assert.Equal((400, BadRequest), (refused.Status, refused.Body));
        await IsClosedAsync(client);
    }

    [Fact]
    public async Task A_GET_that_is_cut_closes_the_session()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await client.SendAsync("""42["subscribe","gets:1"]""");
        Assert.Equal("""42["joined","gets:1"]""", await client.ReadAsync());
        for (var i = 0; await _node.SessionsInAsync("gets:1") > 0; i++)
        {
            // One that is cut before the node has read it is no GET.
            if (i % 100 == 0)
            {
                (await client.BeginGetAsync()).Abort();
            }
        }

        Assert.Equal(UnknownSession, (await client.GetAsync()).Body);
    }

    [Fact]
    public async Task A_POST_that_is_cut_closes_the_session()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await client.SendAsync("""42["subscribe","posts:1"]""");
        Assert.Equal("""42["joined","posts:1"]""", await client.ReadAsync());
        var pending = await client.BeginPostAsync("42[\"a");
        pending.Abort();
        await _node.UntilSessionsInAsync("posts:1", 0);
        Assert.Equal(UnknownSession, (await client.GetAsync()).Body);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_client_closes_and_its_pending_GET_gets_an_empty_packet(int version)
    {
        await using var client = await PollingClient.ConnectAsync(_node, version);
        using var pending = await client.BeginGetAsync();
        await client.SendAsync("1");

        Assert.Equal(
            (200, client.Encode("6")),
            await pending.ReadAsync() is var got ? (got.Status, got.Body) : default
        );
        await IsClosedAsync(client);
    }

    [Fact]
    public async Task Other_methods_of_a_session_are_bad_requests_and_harmless()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        var answer = await RawHttp.AskAsync(_node, "PUT " + client.Target);
        Assert.Equal((400, BadRequest), (answer.Status, answer.Body));

        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    [Fact]
    public async Task A_response_has_at_most_16_packets()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await client.SendAsync([.. Enumerable.Range(0, 40).Select(i => $"42{i}[\"dmb:ping\"]")]);

        int[] sizes = [Count(await client.GetAsync()), Count(await client.GetAsync()), Count(await client.GetAsync())];
        Assert.Equal([16, 16, 8], sizes);

        int Count(RawAnswer answer) => client.Decode(answer.Body).Count();
    }

    [Fact]
    public async Task A_response_has_at_most_64_KiB_and_a_larger_packet_goes_alone()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 4);
        await client.SendAsync("""42["subscribe","sizes:1"]""");
        Assert.Equal("""42["joined","sizes:1"]""", await client.ReadAsync());
        foreach (var size in (int[])[30_000, 30_000, 30_000, 100_000, 10])
        {
            await _node.NotifyAsync("call", $$"""{"_in":["sizes:1"],"text":"{{new string('x', size)}}"}""");
        }

        var sizes = new List<int>();
        for (var packets = 0; packets < 5; )
        {
            var answer = await client.GetAsync();
            var count = client.Decode(answer.Body).Count();
            Assert.True(count == 1 || answer.Body.Length <= 65_536);
            packets += count;
            sizes.Add(count);
        }

        Assert.Equal([2, 1, 1, 1], sizes);
    }

    [Fact]
    public async Task Clients_of_protocol_3_are_polled_ASCII_and_what_they_encode_twice_is_decoded()
    {
        await using var client = await PollingClient.ConnectAsync(_node, 3);
        await using var other = await _node.JoinAsync("twice:1");
        var text = "Zoë \U0001F4DE";
        foreach (var sent in (string[])[text, Latin1(text)])
        {
            await client.SendAsync($$"""421["call",{"_in":["twice:1"],"text":"{{sent}}"}]""");
            Assert.Equal($$"""{"_in":["twice:1"],"text":"{{text}}"}""", await other.ReadDataAsync("call"));
            Assert.StartsWith("""431[true,{"id":""", await client.ReadAsync(), StringComparison.Ordinal);
        }

        await client.SendAsync($"42[\"shout\",\"{text}\"]", """42["subscribe","internal"]""");
        await client.SendAsync($"42[\"shout\",\"{text}\"]");
        Assert.Equal("""42["joined","internal"]""", await client.ReadAsync());
        Assert.Equal(
            $$"""42["shouted",{"id":"{{client.Sid}}","data":"Zo\u00eb \ud83d\udcde"}]""",
            await client.ReadAsync()
        );

        static string Latin1(string text) =>
            System.Text.Encoding.Latin1.GetString(System.Text.Encoding.UTF8.GetBytes(text));
    }

    [Fact]
    public async Task A_body_over_the_limit_is_too_large_and_one_at_it_is_taken()
    {
        await using var node = await Node.StartAsync(("MaxMessageBytes", "1024"));
        await using var client = await PollingClient.ConnectAsync(node, 4);
        Assert.Equal(1024, client.Open.GetProperty("maxPayload").GetInt32());
        var packet = """421["dmb:ping",""" + '"';

        var refused = await client.PostAsync(packet + new string('x', 1024) + "\"]");
        Assert.True(refused.Status == 413, refused.Body);

        await client.SendAsync(packet + new string('x', 1024 - packet.Length - 2) + "\"]");
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }

    [Fact]
    public async Task A_body_of_unknown_length_over_the_limit_is_too_large()
    {
        await using var node = await Node.StartAsync(("MaxMessageBytes", "1024"));
        await using var client = await PollingClient.ConnectAsync(node, 4);
        using var http = await RawHttp.ConnectAsync(node);
        await http.SendAsync(
            $"POST {client.Target} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked",
            System.Text.Encoding.ASCII.GetBytes("800\r\n4" + new string('x', 0x7FF) + "\r\n0\r\n\r\n")
        );
        Assert.Equal(413, (await http.ReadAsync()).Status);
    }

    /// <summary>Polls what is left; then the session is unknown.</summary>
    private static async Task IsClosedAsync(PollingClient client)
    {
        RawAnswer answer;
        do
        {
            answer = await client.GetAsync();
        } while (answer.Status == 200);

        Assert.Equal((400, UnknownSession), (answer.Status, answer.Body));
    }
}
