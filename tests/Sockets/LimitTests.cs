using System.Text;

namespace Dmb.Tests.Sockets;

/// <summary>docs/protocol.md §1: the limits of sockets, from both sides.</summary>
public sealed class LimitTests
{
    private const int MaxBytes = 1024;

    /// <summary>Sizes of the fragments that a message is cut into; the last one takes the rest.</summary>
    public static TheoryData<int[]> Cuts => new((int[])[], [1], [500], [125, 126, 127], [0, 0, 1023]);

    [Theory]
    [MemberData(nameof(Cuts))]
    public async Task A_message_of_exactly_the_limit_is_delivered(int[] cuts)
    {
        await using var node = await Node.StartAsync(("MaxMessageBytes", $"{MaxBytes}"));
        await using var watching = await node.JoinAsync("calls");
        await using var client = await node.ConnectAsync();
        var message = MessageOf(MaxBytes);
        await client.SendBytesAsync(Fragments(message, cuts));
        Assert.Equal(message[23..^1], Encoding.UTF8.GetBytes(await watching.ReadDataAsync("call")));
    }

    [Theory]
    [MemberData(nameof(Cuts))]
    public async Task A_message_of_one_byte_more_closes_and_is_not_delivered(int[] cuts)
    {
        await using var node = await Node.StartAsync(("MaxMessageBytes", $"{MaxBytes}"));
        await using var watching = await node.JoinAsync("calls");
        await using var client = await node.ConnectAsync();
        await client.SendBytesAsync(Fragments(MessageOf(MaxBytes + 1), cuts));

        await Expect.ClosedAsync(1009, reconnect: false, client);
        await node.NotifyAsync("call", "1");
        Assert.Equal("1", await watching.ReadDataAsync("call"));
    }

    [Fact]
    public async Task A_burst_to_a_large_room_closes_no_reading_client_even_with_a_small_queue()
    {
        await using var node = await Node.StartAsync(("MaxPendingMessages", "8"));
        var clients = new List<TestClient>();
        for (var i = 0; i < 40; i++)
        {
            clients.Add(await node.JoinAsync("calls"));
        }

        var reading = clients
            .Select(async client =>
            {
                for (var i = 0; i < 64; i++)
                {
                    Assert.Equal(
                        i.ToString(System.Globalization.CultureInfo.InvariantCulture),
                        await client.ReadDataAsync("call")
                    );
                }
            })
            .ToArray();
        await using var publisher = await node.ConnectAsync();
        await publisher.SendBytesAsync([
            .. Enumerable
                .Range(0, 64)
                .SelectMany(i =>
                    TestClient.Encode(
                        Frame.Text,
                        System.Text.Encoding.UTF8.GetBytes($$"""{"event":"call","data":{{i}}}""")
                    )
                ),
        ]);

        await Task.WhenAll(reading);
        foreach (var client in clients)
        {
            await client.DisposeAsync();
        }
    }

    [Fact]
    public async Task The_limit_is_256_KiB_by_default()
    {
        await using var node = await Node.StartAsync();
        await using var watching = await node.JoinAsync("calls");
        await using var client = await node.ConnectAsync();
        var message = MessageOf(256 * 1024);
        await client.SendFrameAsync(Frame.Text, message);
        Assert.Equal(message[23..^1], Encoding.UTF8.GetBytes(await watching.ReadDataAsync("call")));

        await client.SendFrameAsync(Frame.Text, MessageOf((256 * 1024) + 1));
        await Expect.ClosedAsync(1009, reconnect: false, client);
    }

    [Fact]
    public async Task Fragments_without_end_close_once_they_pass_the_limit()
    {
        await using var node = await Node.StartAsync(("MaxMessageBytes", $"{MaxBytes}"));
        await using var client = await node.ConnectAsync();
        await client.SendFrameAsync(Frame.Text, new byte[100], fin: false);
        for (var sent = 100; sent <= MaxBytes; sent += 100)
        {
            await client.SendFrameAsync(Frame.Continuation, [], fin: false);
            await client.SendFrameAsync(Frame.Continuation, Enumerable.Repeat((byte)' ', 100).ToArray(), fin: false);
        }

        await Expect.ClosedAsync(1009, reconnect: false, client);
    }

    [Fact]
    public async Task A_frame_that_announces_more_than_anyone_has_closes_once_it_passes_the_limit()
    {
        await using var node = await Node.StartAsync(("MaxMessageBytes", $"{MaxBytes}"));
        await using var client = await node.ConnectAsync();
        await client.SendBytesAsync([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        await client.SendBytesAsync(Enumerable.Repeat((byte)' ', MaxBytes + 1).ToArray());
        await Expect.ClosedAsync(1009, reconnect: false, client);
    }

    [Fact]
    public async Task A_subscribe_may_name_as_many_rooms_as_its_limit_and_is_done_whole_or_not_at_all()
    {
        await using var node = await Node.StartAsync(("MaxRoomsPerSubscribe", "5"));
        await using var client = await node.ConnectAsync();
        Expect.Refused("too_many_rooms", await client.AckAsync("subscribe", RoomNames(6)));
        Assert.Empty(await client.ReadAllAsync());
        Assert.Equal(0, await node.SessionsInAsync("a:0"));

        Expect.Accepted(await client.AckAsync("subscribe", RoomNames(5)));
        Assert.Equal(5, (await client.ReadAllAsync()).Length);

        await client.SendAsync($$"""{"event":"subscribe","data":{{RoomNames(6)}}}""");
        Expect.Failed("too_many_rooms", Assert.Single(await client.ReadAllAsync()));
    }

    [Fact]
    public async Task A_session_may_be_in_as_many_rooms_as_its_limit_public_included()
    {
        await using var node = await Node.StartAsync(("MaxRoomsPerSession", "10"));
        await using var client = await node.ConnectAsync();
        Expect.Refused("too_many_rooms", await client.AckAsync("subscribe", RoomNames(10)));
        Expect.Accepted(await client.AckAsync("subscribe", RoomNames(9)));

        Expect.Refused("too_many_rooms", await client.AckAsync("subscribe", "\"b:1\""));
        Assert.Equal(0, await node.SessionsInAsync("b:1"));
        await client.AckAsync("configure", """{"calls":true}""");
        Assert.Equal(0, await node.SessionsInAsync("calls"));
        Expect.Accepted(await client.AckAsync("subscribe", "\"a:1\""));

        await client.AckAsync("unsubscribe", "\"a:1\"");
        Expect.Accepted(await client.AckAsync("subscribe", "\"b:1\""));
    }

    [Fact]
    public async Task A_session_may_join_and_leave_a_thousand_rooms_again_and_again()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        for (var round = 0; round < 3; round++)
        {
            for (var i = 0; i < 999; i++)
            {
                await client.SendAsync($$"""{"event":"join","data":"r{{round}}:{{i}}"}""");
                Assert.Equal($$"""{"event":"joined","data":"r{{round}}:{{i}}"}""", await client.ReadAsync());
            }

            Expect.Refused("too_many_rooms", await client.AckAsync("join", "\"more\""));
            var data = $$"""{"_in":["r{{round}}:0","r{{round}}:500","r{{round}}:998"]}""";
            await node.NotifyAsync("call", data);
            Assert.Equal(data, await client.ReadDataAsync("call"));

            for (var i = 0; i < 999; i++)
            {
                await client.SendAsync($$"""{"event":"leave","data":"r{{round}}:{{i}}"}""");
                Assert.Equal($$"""{"event":"left","data":"r{{round}}:{{i}}"}""", await client.ReadAsync());
            }

            Assert.Equal(0, await node.SessionsInAsync($"r{round}:500"));
        }
    }

    private static string RoomNames(int count) =>
        $"[{string.Join(',', Enumerable.Range(0, count).Select(i => $"\"a:{i}\""))}]";

    private static byte[] MessageOf(int bytes) =>
        Encoding.UTF8.GetBytes($$"""{"event":"call","data":"{{new string('x', bytes - 26)}}"}""");

    private static byte[] Fragments(byte[] message, int[] cuts)
    {
        var bytes = new List<byte>();
        var opcode = Frame.Text;
        var at = 0;
        foreach (var cut in cuts)
        {
            bytes.AddRange(TestClient.Encode(opcode, message[at..(at + cut)], fin: false));
            opcode = Frame.Continuation;
            at += cut;
        }

        return [.. bytes, .. TestClient.Encode(opcode, message[at..])];
    }
}
