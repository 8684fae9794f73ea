using System.Text;

namespace Dmb.Tests.Sockets;

/// <summary>RFC 6455 seen from a client: fragments, control frames, and what breaks the protocol.</summary>
public sealed class FramingTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(20)]
    public async Task Fragments_are_put_together_wherever_they_were_cut(int size)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        var data = """{"name":"é€😀","more":[1,2,3]}""";
        var parts = Encoding.UTF8.GetBytes($$"""{"event":"call","data":{{data}}}""").Chunk(size).ToArray();
        for (var i = 0; i < parts.Length; i++)
        {
            await client.SendFrameAsync(i == 0 ? Frame.Text : Frame.Continuation, parts[i], fin: i == parts.Length - 1);
        }

        Assert.Equal(data, await client.ReadDataAsync("call"));
    }

    [Fact]
    public async Task Control_frames_may_come_between_fragments()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        await client.SendFrameAsync(Frame.Text, """{"event":"call","""u8.ToArray(), fin: false);
        await client.SendFrameAsync(Frame.Ping, "one"u8.ToArray());
        await client.SendFrameAsync(Frame.Pong, "unasked"u8.ToArray());
        await client.SendFrameAsync(Frame.Continuation, "\"data\""u8.ToArray(), fin: false);
        await client.SendFrameAsync(Frame.Ping, "two"u8.ToArray());
        await client.SendFrameAsync(Frame.Continuation, ":1}"u8.ToArray());

        Assert.Equal("one", await ReadPongAsync(client));
        Assert.Equal("two", await ReadPongAsync(client));
        Assert.Equal("1", await client.ReadDataAsync("call"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(124)]
    [InlineData(125)]
    public async Task A_ping_is_answered_by_a_pong_with_its_payload(int length)
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        var payload = new string('p', length);
        await client.SendFrameAsync(Frame.Ping, Encoding.UTF8.GetBytes(payload));
        Assert.Equal(payload, await ReadPongAsync(client));
    }

    [Fact]
    public async Task Many_frames_in_one_segment_and_one_frame_in_many_segments_are_all_read()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        var frame = TestClient.Encode(Frame.Text, """{"event":"call","data":1}"""u8.ToArray());
        await client.SendBytesAsync([.. frame, .. frame, .. frame]);
        foreach (var part in frame.Chunk(1))
        {
            await client.SendBytesAsync(part);
        }

        for (var i = 0; i < 4; i++)
        {
            Assert.Equal("1", await client.ReadDataAsync("call"));
        }
    }

    /// <summary>The head of a frame; a mask of zeros follows, if masked, and as many zeros as the head says.</summary>
    [Theory]
    [InlineData("8105", false)] // without a mask
    [InlineData("8385", true)] // opcodes that nobody has defined
    [InlineData("8b85", true)]
    [InlineData("c185", true)] // reserved bits
    [InlineData("a185", true)]
    [InlineData("9185", true)]
    [InlineData("8085", true)] // nothing to continue
    [InlineData("0985", true)] // a control frame in fragments
    [InlineData("89fe0080", true)] // and a long one
    [InlineData("018501000000002020202020" + "8185", true)] // a message inside a message
    [InlineData("8881", true)] // half a close code
    public async Task A_protocol_error_closes_with_1002_without_effect_on_other_sessions(string head, bool masked)
    {
        await using var node = await Node.StartAsync();
        await using var other = await node.JoinAsync("calls");
        await using var client = await node.JoinAsync("calls");
        var bytes = Convert.FromHexString(head);
        await client.SendBytesAsync([.. bytes, .. new byte[(masked ? 4 : 0) + (bytes[^1] & 127)]]);

        Assert.Equal(1002, (await client.ReadCloseAsync()).Code);
        await other.AckAsync("call", "1");
        Assert.Equal("1", await other.ReadDataAsync("call"));
    }

    private static async Task<string> ReadPongAsync(TestClient client)
    {
        var frame = await client.ReadFrameAsync();
        Assert.Equal((Frame.Pong, true, 0), (frame.Opcode, frame.Fin, frame.Rsv));
        return Encoding.UTF8.GetString(frame.Payload);
    }
}
