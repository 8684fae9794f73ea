using System.Text;

namespace Dmb.Tests.Endpoints;

/// <summary>Pushes that are refused: with what, and that nothing of them is delivered.</summary>
public sealed class BadBodyTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private const int MaxBytes = 262_144;
    private const string NextOne = "\"the next one\"";
    private const string Push = "POST /_notify/call HTTP/1.1\nHost: localhost";

    private readonly Node _node = fixture.Node;

    [Theory]
    [InlineData("{")]
    [InlineData("{\"a\"")]
    [InlineData("{\"a\":")]
    [InlineData("{\"a\":1,}")]
    [InlineData("{\"a\":1 \"b\":2}")]
    [InlineData("{a:1}")]
    [InlineData("{'a':1}")]
    [InlineData("[1,]")]
    [InlineData("[1")]
    [InlineData("[1}")]
    [InlineData("\"abc")]
    [InlineData("\"\\x\"")]
    [InlineData("\"\\u12\"")]
    [InlineData("\"a\nb\"")]
    [InlineData("\"a\0b\"")]
    [InlineData("nul")]
    [InlineData("NaN")]
    [InlineData("01")]
    [InlineData("1.")]
    [InlineData("+1")]
    [InlineData("1e")]
    [InlineData("/* */{}")]
    [InlineData("{}//")]
    [InlineData("{} {}")]
    [InlineData("{}x")]
    [InlineData("{}\0")]
    [InlineData("{\"_in\":[\"endpoint:1\"],\"a\":}")]
    [InlineData("a=1&b=2")]
    [InlineData("<xml/>")]
    public async Task A_body_that_is_not_one_JSON_value_is_refused_and_not_delivered(string body)
    {
        await IsRefusedAsync(Encoding.UTF8.GetBytes(body), 400, "bad_json");
    }

    // The bytes are the text in Latin-1.
    [Theory]
    [InlineData("\u00e9{}")]
    [InlineData("{}\u00e9")]
    [InlineData("{\u00e9:1}")]
    [InlineData("{\"a\":\u00ff}")]
    [InlineData("\"\\\u00e9\"")]
    [InlineData("\"\u00e9")]
    [InlineData("\u00ff\u00fe{\0}\0")]
    [InlineData("\u00fe\u00ff\0{\0}")]
    public async Task A_byte_that_is_not_UTF_8_outside_of_a_string_is_refused(string latin1)
    {
        await IsRefusedAsync(Encoding.Latin1.GetBytes(latin1), 400, "bad_json");
    }

    [Theory]
    [InlineData("[", "]")]
    [InlineData("{\"a\":[", "]}")]
    [InlineData("{\"endpoint\":[", "]}")]
    [InlineData("{\"_in\":[", "]}")]
    public async Task JSON_may_be_64_deep_and_no_deeper(string open, string close)
    {
        var depth = open.Count(c => c is '[' or '{');
        string Nested(int levels) => open + new string('[', levels - depth) + new string(']', levels - depth) + close;

        await using var client = await _node.JoinAsync("calls");
        await _node.ReachesAsync(client, "call", Nested(64));
        await IsRefusedAsync(Encoding.UTF8.GetBytes(Nested(65)), 400, "bad_json");
        await IsRefusedAsync(Encoding.UTF8.GetBytes(new string('[', MaxBytes)), 400, "bad_json");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_body_of_256_KiB_is_accepted_and_one_byte_more_is_too_big(bool chunked)
    {
        await using var client = await _node.JoinAsync("calls");
        var (head, body) = Request(Text(MaxBytes), chunked);
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync(head, body);
        var id = (await http.ReadAsync()).TakenId();
        await client.GetsAsync("call", Encoding.UTF8.GetString(Text(MaxBytes)), id);

        (head, body) = Request(Text(MaxBytes + 1), chunked);
        await IsRefusedAsync(head, body, 413, "too_big");
    }

    [Theory]
    [InlineData("")]
    [InlineData("\nExpect: 100-continue")]
    public async Task A_body_whose_length_is_too_big_is_refused_before_it_is_sent(string expect)
    {
        await IsRefusedAsync($"{Push}\nContent-Length: {MaxBytes + 1}{expect}", [], 413, "too_big");
        await IsRefusedAsync($"{Push}\nContent-Length: 9223372036854775807{expect}", [], 413, "too_big");
    }

    [Fact]
    public async Task A_small_body_that_unpacks_to_a_big_one_is_too_big()
    {
        await IsRefusedAsync(RawHttp.Gzip(Text(MaxBytes + 1)), 413, "too_big", "\nContent-Encoding: gzip");
    }

    [Fact]
    public async Task A_compressed_body_that_is_cut_off_is_refused()
    {
        var packed = RawHttp.Gzip("""{"a":1}"""u8.ToArray());
        await IsRefusedAsync(packed[..(packed.Length / 2)], 400, "bad_json", "\nContent-Encoding: gzip");
        await IsRefusedAsync([.. Enumerable.Repeat((byte)0xFF, 100)], 400, "bad_json", "\nContent-Encoding: br");
    }

    // The longer sizes are past what the server counts in.
    [Theory]
    [InlineData("none")]
    [InlineData("-1\r\n{}\r\n0\r\n\r\n")]
    [InlineData("80000000\r\n{}\r\n0\r\n\r\n")]
    [InlineData("fffffffffffffffff\r\n{}\r\n0\r\n\r\n")]
    public async Task A_body_in_chunks_that_are_none_is_refused(string chunk)
    {
        var chunks = Encoding.ASCII.GetBytes("7\r\n{\"a\":1}\r\n" + chunk);
        await IsRefusedAsync(Push + "\nTransfer-Encoding: chunked", chunks, 400, "bad_json");
    }

    [Theory]
    [InlineData("Content-Length: 100")]
    [InlineData("Transfer-Encoding: chunked")]
    public async Task A_push_whose_sender_disconnects_within_the_body_is_not_delivered(string framing)
    {
        await using var client = await _node.JoinAsync("calls");
        using (var http = await RawHttp.ConnectAsync(_node))
        {
            await http.SendAsync($"{Push}\n{framing}", "7\r\n{\"a\":1}\r\n"u8[(framing[0] == 'C' ? 3 : 0)..].ToArray());
            http.EndSending();
            Assert.DoesNotContain("\"ok\":true", await http.ReadToEndAsync(), StringComparison.Ordinal);
        }

        await _node.ReachesAsync(client, "call", NextOne);
    }

    [Fact]
    public async Task A_connection_reset_within_a_body_does_not_affect_other_clients()
    {
        await using var client = await _node.JoinAsync("calls");
        for (var i = 0; i < 20; i++)
        {
            using var http = await RawHttp.ConnectAsync(_node);
            await http.SendAsync($"{Push}\nContent-Length: 100", """{"a":1}"""u8.ToArray());
            http.Abort();
        }

        await _node.ReachesAsync(client, "call", NextOne);
    }

    [Theory]
    [InlineData("a%2Fb")]
    [InlineData("a%20b")]
    [InlineData("a%0D%0Ab")]
    [InlineData("a,b")]
    [InlineData("a%22b")]
    [InlineData("caf%C3%A9")]
    [InlineData("caf%E9")]
    [InlineData("%F0%9F%98%80")]
    [InlineData("-call")]
    [InlineData(".call")]
    [InlineData(":call")]
    [InlineData("...")]
    [InlineData("$avp(event)")]
    [InlineData("%25call")]
    public async Task A_name_that_is_not_an_event_s_is_refused(string name)
    {
        (await RawHttp.AskAsync(_node, "POST /_notify/" + name, "{}")).IsProblem(400, "bad_name");
    }

    [Theory]
    [InlineData("POST /_notify/.. HTTP/1.1")]
    [InlineData("POST /_notify/%2e%2e HTTP/1.1")]
    [InlineData("POST /_notify/../register HTTP/1.1")]
    [InlineData("POST /_notify/call/more HTTP/1.1")]
    [InlineData("POST /_notify/call%00 HTTP/1.1")]
    [InlineData("POST /_notify/ca ll HTTP/1.1")]
    [InlineData("POST /_notify/call% HTTP/1.1")]
    [InlineData("POST _notify/call HTTP/1.1")]
    [InlineData("POST /_notify/\u00e9 HTTP/1.1")]
    public async Task A_push_to_an_invalid_path_is_not_delivered(string line)
    {
        await using var client = await _node.JoinAsync("calls");
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync(line + "\nHost: localhost\nContent-Length: 2", "{}"u8.ToArray());
        Assert.InRange((await http.ReadAsync()).Status, 400, 499);
        await _node.ReachesAsync(client, "call", NextOne);
    }

    [Fact]
    public async Task An_event_s_name_may_have_128_characters_and_no_more()
    {
        var answer = await RawHttp.AskAsync(_node, "POST /_notify/" + new string('a', 128), "{}");
        Assert.Equal((200, """{"ok":false,"ignore":true}"""), (answer.Status, answer.Body));
        (await RawHttp.AskAsync(_node, "POST /_notify/" + new string('a', 129), "{}")).IsProblem(400, "bad_name");
    }

    /// <summary>A JSON string of so many bytes.</summary>
    private static byte[] Text(int bytes) => [(byte)'"', .. Enumerable.Repeat((byte)'x', bytes - 2), (byte)'"'];

    private static (string Head, byte[] Body) Request(byte[] body, bool chunked)
    {
        return !chunked
            ? ($"{Push}\nContent-Length: {body.Length}", body)
            : (Push + "\nTransfer-Encoding: chunked", [.. body.Chunk(10_000).SelectMany(Chunk), .. Chunk([])]);
    }

    private static byte[] Chunk(byte[] bytes)
    {
        return [.. Encoding.ASCII.GetBytes($"{bytes.Length:x}\r\n"), .. bytes, .. "\r\n"u8];
    }

    private Task IsRefusedAsync(byte[] body, int status, string code, string header = "")
    {
        return IsRefusedAsync($"{Push}\nContent-Length: {body.Length}{header}", body, status, code);
    }

    private async Task IsRefusedAsync(string head, byte[] body, int status, string code)
    {
        await using var client = await _node.JoinAsync("calls", "endpoint:1");
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync(head, body);
        (await http.ReadAsync()).IsProblem(status, code);
        await _node.ReachesAsync(client, "call", NextOne);
    }
}
