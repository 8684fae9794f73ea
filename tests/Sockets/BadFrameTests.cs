using System.Text;

namespace Dmb.Tests.Sockets;

/// <summary>docs/protocol.md §4: frames that are not what they should be, and what becomes of who sends them.</summary>
public sealed class BadFrameTests
{
    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("{")]
    [InlineData("x")]
    [InlineData("[]")]
    [InlineData("\"call\"")]
    [InlineData("42")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"data":1}""")]
    [InlineData("""{"event":5,"data":1}""")]
    [InlineData("""{"event":null,"data":1}""")]
    [InlineData("""{"event":{"event":"call"}}""")]
    [InlineData("""{"event":"call","data":1""")]
    [InlineData("""{"event":"call","data":1}}""")]
    [InlineData("""{"event":"call","data":1} {"event":"call"}""")]
    [InlineData("""{"event":"call","data":1,}""")]
    [InlineData("""{"event":"call","data":01}""")]
    [InlineData("""{"event":"call","data":NaN}""")]
    [InlineData("""{"event":"call","data":"\x"}""")]
    [InlineData("""{"event":"call","data":1} // comment""")]
    [InlineData("""{'event':'call'}""")]
    public async Task A_frame_that_is_not_an_object_with_an_event_is_a_bad_frame_and_the_session_stays_open(
        string frame
    )
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        await client.SendAsync(frame);
        Expect.Failed("bad_frame", Assert.Single(await client.ReadAllAsync()));
        await client.SendAsync("""{"event":"call","data":1}""");
        Assert.Equal("1", await client.ReadDataAsync("call"));
    }

    [Theory]
    [InlineData("""{"event":"\ud800","data":1}""")]
    [InlineData("""{"event":"","data":1}""")]
    [InlineData("""{"event":"a b","data":1}""")]
    [InlineData("""{"event":"call\u0000","data":1}""")]
    [InlineData("""{"event":"__proto__","data":1}""")]
    [InlineData("""{"event":"call","data":1,"\ud800":"\udfff"}""")]
    [InlineData("""{"event":"subscribe","data":{"room":"\ud800"}}""")]
    [InlineData("""{"event":"subscribe","data":["\ud800"]}""")]
    [InlineData("""{"event":"register","data":{"event":"\ud800","default_room":"\ud800"}}""")]
    [InlineData("""{"event":"configure","data":{"\ud800":true,"calls":"\ud800"}}""")]
    [InlineData("""{"event":"call","data":1,"ack":"\ud800"}""")]
    public async Task A_hostile_name_does_not_end_the_session(string frame)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        await client.SendAsync(frame);
        Expect.Accepted(await client.AckAsync("call", "1"));
    }

    [Fact]
    public async Task An_event_name_of_any_length_does_not_end_the_session()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        foreach (var length in new[] { 127, 128, 129, 500, 100_000 })
        {
            var answer = await client.AckAsync(new string('e', length), "1");
            Assert.Contains("\"ok\":false", answer, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Failures_are_sent_at_most_once_a_second()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();

        await client.SendAsync("x");
        await client.SendAsync("""{"event":"subscribe","data":"a b"}""");
        Expect.Failed("bad_frame", Assert.Single(await client.ReadAllAsync()));

        node.Time.Advance(TimeSpan.FromMilliseconds(999));
        await client.SendAsync("x");
        Assert.Empty(await client.ReadAllAsync());

        node.Time.Advance(TimeSpan.FromMilliseconds(1));
        await client.SendAsync("""{"event":"subscribe","data":"a b"}""");
        await client.SendAsync("x");
        Expect.Failed("bad_name", Assert.Single(await client.ReadAllAsync()));
    }

    [Fact]
    public async Task The_tenth_bad_frame_within_a_minute_closes_and_the_ninth_does_not()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        for (var i = 1; i <= 9; i++)
        {
            await client.SendAsync("x");
            await client.ReadAllAsync();
            node.Time.Advance(TimeSpan.FromSeconds(6));
        }

        node.Time.Advance(TimeSpan.FromSeconds(5.9));
        await client.SendAsync("x");
        await Expect.ClosedAsync(4002, reconnect: false, client);
    }

    [Fact]
    public async Task Ten_bad_frames_spread_over_more_than_a_minute_do_not_close()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        for (var i = 1; i <= 40; i++)
        {
            await client.SendAsync("x");
            await client.ReadAllAsync();
            node.Time.Advance(TimeSpan.FromSeconds(6.7));
        }
    }

    [Fact]
    public async Task A_binary_frame_closes()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        await client.SendFrameAsync(Frame.Binary, """{"event":"call","data":1}"""u8.ToArray());
        await Expect.ClosedAsync(1003, reconnect: false, client);
        Assert.Empty(await client.ReadAllAsync());
    }

    [Theory]
    [InlineData("")]
    [InlineData("{\"a\":")]
    public async Task Data_nested_to_the_limit_is_accepted_and_deeper_data_is_too_big(string outer)
    {
        await using var node = await Node.StartAsync();
        await using var watching = await node.JoinAsync("calls");
        await using var client = await node.ConnectAsync();

        await client.SendAsync($$"""{"event":"call","data":{{Nested(64)}}}""");
        await client.SendAsync(
            $$"""{"event":"call","data":{{outer}}{{Nested(outer.Length > 0 ? 64 : 65)}}{{(outer.Length > 0 ? "}" : "")}}}"""
        );
        await Expect.ClosedAsync(1009, reconnect: false, client);
        await node.NotifyAsync("call", "1");

        Assert.Equal(Nested(64), await watching.ReadDataAsync("call"));
        Assert.Equal("1", await watching.ReadDataAsync("call"));
    }

    [Theory]
    [InlineData(20_000)]
    [InlineData(200_000)]
    public async Task Nesting_without_end_is_a_bad_frame(int depth)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        await client.SendAsync($$"""{"event":"call","data":{{new string('[', depth)}}""");
        Expect.Failed("bad_frame", Assert.Single(await client.ReadAllAsync()));
    }

    [Theory]
    [InlineData("ff")]
    [InlineData("c0af")]
    [InlineData("eda080")]
    [InlineData("e282")]
    [InlineData("f4908080")]
    public async Task Text_that_is_not_UTF_8_closes_and_is_not_delivered(string bytes)
    {
        await using var node = await Node.StartAsync();
        await using var watching = await node.JoinAsync("calls");
        await using var client = await node.ConnectAsync();
        await client.SendFrameAsync(
            Frame.Text,
            [.. """{"event":"call","data":"""u8, .. "\""u8, .. Convert.FromHexString(bytes), .. "\"}"u8]
        );

        Assert.Equal(1007, (await client.ReadCloseAsync()).Code);
        await node.NotifyAsync("call", "1");
        Assert.Equal("1", await watching.ReadDataAsync("call"));
    }

    private static string Nested(int depth) => new StringBuilder().Insert(0, "[", depth).Append(']', depth).ToString();
}
