using System.Text;

namespace Dmb.Tests.Endpoints;

/// <summary>What SIP servers really send, byte by byte, and that it arrives as it was sent.</summary>
public sealed class NotifyBodyTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private const string Push = "POST /_notify/call HTTP/1.1\nHost: localhost";
    private const string RefusedUpgrade = """
        POST /_notify/call HTTP/1.1
        Host: localhost
        Connection: Upgrade, HTTP2-Settings
        Upgrade: h2c
        HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA
        """;

    private readonly Node _node = fixture.Node;

    [Theory]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("\"\"")]
    [InlineData("\"INVITE sip:1@example.com\"")]
    [InlineData("42")]
    [InlineData("null")]
    [InlineData("true")]
    [InlineData("false")]
    [InlineData("[{\"a\":[]},[[]],0]")]
    public async Task Any_JSON_value_is_delivered(string json)
    {
        await DeliversAsync(json, json);
    }

    [Theory]
    [InlineData("-0.0e-0")]
    [InlineData("1e400")]
    [InlineData("12345678901234567890.00")]
    [InlineData("{\"a\":1,\"a\":2,\"a\":{\"a\":1,\"a\":1}}")]
    [InlineData("{\"z\":1,\"a\":2,\"10\":3,\"9\":4}")]
    [InlineData("\"\\u00e9\\/\\b\\u0022\\ud83d\\ude00\"")]
    [InlineData("\"\\ud800\"")]
    [InlineData("{\"\\ud800\":\"\\udc00\"}")]
    [InlineData("\"é😀\u2028</script>&+'\u007f\"")]
    [InlineData("{ \"a\" :\t1 ,\r\n \"b\":[ 1,\n2 ] }")]
    public async Task The_data_arrives_as_it_was_sent(string json)
    {
        await DeliversAsync(json, json);
    }

    [Theory]
    [InlineData("X-Content-Type: none")]
    [InlineData("Content-Type:")]
    [InlineData("Content-Type: $avp(ctype)")]
    [InlineData("Content-Type: application/json")]
    [InlineData("Content-Type: application/json; charset=ISO-8859-1")]
    [InlineData("Content-Type: application/json\nContent-Type: text/xml")]
    [InlineData("Content-Type: application/x-www-form-urlencoded")]
    [InlineData("Content-Type: multipart/form-data")]
    [InlineData("Content-Type: text/plain")]
    [InlineData("Content-Type: ;;;")]
    public async Task Any_content_type_is_accepted(string header)
    {
        await DeliversAsync("""{"a":1}""", """{"a":1}""", header);
    }

    [Theory]
    [InlineData("HTTP/1.1", "Content-Length: 0")]
    [InlineData("HTTP/1.1", "Content-Type: application/json")]
    [InlineData("HTTP/1.0", "Content-Length: 0")]
    public async Task An_empty_body_is_an_empty_object(string version, string header)
    {
        await DeliversRawAsync($"POST /_notify/call {version}\nHost: localhost\n{header}", [], "{}");
    }

    [Fact]
    public async Task An_empty_body_in_chunks_is_an_empty_object()
    {
        await DeliversRawAsync(Push + "\nTransfer-Encoding: chunked", "0\r\n\r\n"u8.ToArray(), "{}");
    }

    [Fact]
    public async Task A_byte_order_mark_is_skipped()
    {
        await DeliversAsync("\uFEFF{\"a\":1}", """{"a":1}""");
    }

    [Fact]
    public async Task Space_around_the_value_is_left_out()
    {
        await DeliversAsync(" \r\n\t{\"a\":1}\r\n", """{"a":1}""");
    }

    [Fact]
    public async Task A_sender_that_expects_100_Continue_gets_it_before_it_sends_the_body()
    {
        await using var client = await _node.JoinAsync("calls");
        using var http = await RawHttp.ConnectAsync(_node);

        await http.SendAsync(Push + "\nContent-Length: 7\nExpect: 100-continue");
        Assert.Equal(100, (await http.ReadAsync()).Status);

        await http.SendAsync("""{"a":1}"""u8.ToArray());
        await client.GetsAsync("call", """{"a":1}""", (await http.ReadAsync()).TakenId());
    }

    [Fact]
    public async Task A_sender_that_expects_100_Continue_need_not_wait_for_it()
    {
        await using var client = await _node.JoinAsync("calls");
        using var http = await RawHttp.ConnectAsync(_node);

        await http.SendAsync(Push + "\nContent-Length: 7\nExpect: 100-continue", """{"a":1}"""u8.ToArray());
        var answer = await http.ReadAsync();
        if (answer.Status == 100)
        {
            answer = await http.ReadAsync();
        }

        await client.GetsAsync("call", """{"a":1}""", answer.TakenId());
    }

    [Fact]
    public async Task A_body_may_come_in_chunks()
    {
        await DeliversRawAsync(
            Push + "\nTransfer-Encoding: chunked",
            "3\r\n{\"a\r\n2;note=x\r\n\":\r\n00B\r\n1234567890}\r\n0\r\nTrailer: x\r\n\r\n"u8.ToArray(),
            """{"a":1234567890}"""
        );
    }

    [Fact]
    public async Task A_body_may_come_byte_by_byte()
    {
        const string Json = """{"a":"é😀","_in":"endpoint:1"}""";
        await using var client = await _node.JoinAsync("calls");
        using var http = await RawHttp.ConnectAsync(_node);

        await http.SendAsync(Push + "\nTransfer-Encoding: chunked");
        foreach (var value in Encoding.UTF8.GetBytes(Json))
        {
            await http.SendAsync([(byte)'1', (byte)'\r', (byte)'\n', value, (byte)'\r', (byte)'\n']);
        }

        await http.SendAsync("0\r\n\r\n"u8.ToArray());
        await client.GetsAsync("call", Json, (await http.ReadAsync()).TakenId());
    }

    [Theory]
    [InlineData("")]
    [InlineData("\nHost: localhost")]
    public async Task HTTP_1_0_is_spoken(string host)
    {
        await DeliversRawAsync($"POST /_notify/call HTTP/1.0{host}\nContent-Length: 2", "42"u8.ToArray(), "42");
    }

    [Theory]
    [InlineData("Content-Length: 7", "{\"a\":1}", "{\"a\":1}")]
    [InlineData("Content-Length: 0", "", "{}")]
    [InlineData("Content-Type: text/plain", "", "{}")]
    [InlineData("Transfer-Encoding: chunked", "7\r\n{\"a\":1}\r\n0\r\n\r\n", "{\"a\":1}")]
    public async Task An_upgrade_to_HTTP_2_is_refused_by_answering_in_HTTP_1(string header, string body, string data)
    {
        await using var client = await _node.JoinAsync("calls");
        using var http = await RawHttp.ConnectAsync(_node);

        await http.SendAsync(RefusedUpgrade + "\n" + header, Encoding.UTF8.GetBytes(body));
        var answer = await http.ReadAsync();
        await client.GetsAsync("call", data, answer.TakenId());

        if (!answer.SaysClose)
        {
            answer = await http.AskAsync("POST /_notify/call", "2");
            await client.GetsAsync("call", "2", answer.TakenId());
        }
    }

    [Theory]
    [InlineData("gzip")]
    [InlineData("GZIP")]
    public async Task A_body_may_be_compressed(string encoding)
    {
        var body = RawHttp.Gzip("""{"a":1}"""u8.ToArray());
        await DeliversRawAsync(
            $"{Push}\nContent-Encoding: {encoding}\nContent-Length: {body.Length}",
            body,
            """{"a":1}"""
        );
    }

    [Fact]
    public async Task A_body_may_be_encoded_as_it_is()
    {
        await DeliversAsync("""{"a":1}""", """{"a":1}""", "Content-Encoding: identity");
    }

    [Theory]
    [InlineData("x-rot13")]
    [InlineData("gzip")]
    public async Task A_body_that_cannot_be_decoded_is_refused(string encoding)
    {
        var answer = await RawHttp.AskAsync(_node, "POST /_notify/call", "{}", "Content-Encoding: " + encoding);
        answer.IsProblem(400, "bad_json");
    }

    [Theory]
    [InlineData("/_notify/statistics:add")]
    [InlineData("/_notify/statistics%3Aadd")]
    [InlineData("/_notify/statistics%3aadd")]
    [InlineData("//_notify/statistics:add")]
    [InlineData("//_notify/statistics%3Aadd")]
    [InlineData("/_notify/statistics:add?from=opensips")]
    public async Task An_address_may_be_written_in_these_ways(string path)
    {
        await using var client = await _node.JoinAsync("calls");
        var answer = await RawHttp.AskAsync(_node, "POST " + path, "[1]");
        await client.GetsAsync("statistics:add", "[1]", answer.TakenId());
    }

    [Theory]
    [InlineData("//_notify/call%2500")]
    [InlineData("//_notify/c%2561ll")]
    public async Task A_path_behind_two_slashes_is_decoded_once(string path) =>
        (await RawHttp.AskAsync(_node, "POST " + path, "[1]")).IsProblem(400, "bad_name");

    // The bytes are the text in Latin-1, as an old SIP phone sends a name.
    [Theory]
    [InlineData("\"Andr\u00e9\"")]
    [InlineData("\"\u00e9\"")]
    [InlineData("{\"from\":\"Andr\u00e9 \\\"K\u00f6nig\\\"\",\"n\":[\"\u00fc\",1e400]}")]
    [InlineData("{\"\u00e9\":1,\"\u00e9\":2}")]
    [InlineData("\"\u00e9\u00a0\"")]
    [InlineData("\"\u00c0\u0080 \u00ed\u00a0\u0080 \u00f8 \u00ff\"")]
    [InlineData("\"\u00c3\u00a9 \u00e9\"")]
    public async Task A_byte_in_a_string_that_is_not_UTF_8_is_delivered_as_U_FFFD(string latin1)
    {
        var body = Encoding.Latin1.GetBytes(latin1);
        var repaired = Encoding.UTF8.GetString(body);
        Assert.Contains('\uFFFD', repaired);
        await DeliversRawAsync($"{Push}\nContent-Length: {body.Length}", body, repaired);
    }

    [Fact]
    public async Task Rooms_named_beside_a_byte_that_is_not_UTF_8_get_the_message()
    {
        var body = Encoding.Latin1.GetBytes("""{"from":"é","_in":["endpoint:latin"]}""");
        await DeliversRawAsync(
            $"{Push}\nContent-Length: {body.Length}",
            body,
            Encoding.UTF8.GetString(body),
            "endpoint:latin"
        );
    }

    private async Task DeliversAsync(string body, string data, params string[] headers)
    {
        await using var client = await _node.JoinAsync("calls");
        var answer = await RawHttp.AskAsync(_node, "POST /_notify/call", body, headers);
        await client.GetsAsync("call", data, answer.TakenId());
    }

    private async Task DeliversRawAsync(string head, byte[] body, string data, string room = "calls")
    {
        await using var client = await _node.JoinAsync(room);
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync(head, body);
        await client.GetsAsync("call", data, (await http.ReadAsync()).TakenId());
    }
}
