using System.Text.Json;
using Dmb.Tests.Access;

namespace Dmb.Tests.SocketIo;

/// <summary>A client that comes back is where it was (docs/protocol.md §5, "Recovery").</summary>
public sealed class SocketIoRecoveryTests
{
    private const string Asked = """40{"recovery":true}""";

    [Fact]
    public async Task Every_event_has_the_offset_and_it_advances()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        await using var client = await ConnectAsync(node, Asked);
        Assert.Matches(@"^1\?public=\w+:0$", client.Offset);

        await client.SendAsync("""421["subscribe","a:1"]""");
        Assert.Equal(("joined", "\"a:1\""), await client.NextAsync());
        Assert.Matches(@"^1\?public=\w+:0&a:1=\w+:0$", client.Offset);
        Assert.Equal("431[true]", await client.Socket.ReadAsync());

        for (var i = 1; i <= 3; i++)
        {
            await node.NotifyAsync("call", "{\"_in\":[\"a:1\"],\"n\":" + i + "}");
            Assert.Equal("call", (await client.NextAsync()).Event);
            Assert.EndsWith(":" + i, client.Offset, StringComparison.Ordinal);
        }

        await client.SendAsync("""42["leave","a:1"]""");
        Assert.Equal(("left", "\"a:1\""), await client.NextAsync());
        Assert.Matches(@"^1\?public=\w+:0$", client.Offset);
    }

    [Fact]
    public async Task A_session_in_a_pattern_gets_its_messages_and_is_not_recovered_while_it_is()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        await using var client = await ConnectAsync(node, Asked);
        await client.SendAsync("""42["subscribe",["a:*","a:1"]]""");
        Assert.Equal(("joined", "\"a:*\""), await client.NextAsync());
        Assert.Equal("1", client.Offset);
        await client.NextAsync();
        foreach (var room in (string[])["a:1", "a:2"])
        {
            await node.NotifyAsync("call", $$"""{"_in":["{{room}}"]}""");
            Assert.Equal(("call", $$"""{"_in":["{{room}}"]}"""), await client.NextAsync());
            Assert.Equal("1", client.Offset);
        }

        await client.SendAsync("""42["leave","a:*"]""");
        Assert.Equal(("left", "\"a:*\""), await client.NextAsync());
        Assert.Matches(@"^1\?public=\w+:0&a:1=\w+:1$", client.Offset);
    }

    [Fact]
    public async Task A_client_comes_back_with_its_pid_and_gets_what_it_missed_once()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        string pid,
            offset;
        await using (var client = await ConnectAsync(node, Asked))
        {
            await client.SendAsync("""42["subscribe",["a:1","a:2"]]""");
            await client.NextAsync();
            await client.NextAsync();
            await node.NotifyAsync("call", """{"_in":["a:1"],"n":1}""");
            await client.NextAsync();
            (pid, offset) = (client.Pid, client.Offset);
            client.Socket.Socket.Reset();
        }

        for (var i = 2; i <= 5; i++)
        {
            await node.NotifyAsync("call", "{\"_in\":[\"a:" + (i % 2 + 1) + "\"],\"n\":" + i + "}");
        }

        await node.NotifyAsync("call", """{"_in":["a:1","a:2"],"n":6}""");

        await using var back = await ConnectAsync(node, Again(pid, offset));
        Assert.Equal(pid, back.Pid);
        Assert.Equal(offset, back.Offset);
        for (var i = 2; i <= 6; i++)
        {
            var before = back.Offset;
            Assert.Contains("\"n\":" + i + "}", (await back.NextAsync()).Data, StringComparison.Ordinal);
            Assert.NotEqual(before, back.Offset);
        }

        await node.NotifyAsync("call", """{"_in":["a:2"],"n":7}""");
        Assert.Contains("\"n\":7}", (await back.NextAsync()).Data, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_comes_back_in_the_middle_of_its_replay_misses_nothing()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        string pid,
            offset;
        await using (var client = await ConnectAsync(node, Asked))
        {
            await client.SendAsync("""42["subscribe","a:1"]""");
            await client.NextAsync();
            (pid, offset) = (client.Pid, client.Offset);
        }

        for (var i = 1; i <= 20; i++)
        {
            await node.NotifyAsync("call", "{\"_in\":[\"a:1\"],\"n\":" + i + "}");
        }

        var next = 1;
        foreach (var reads in (int[])[0, 1, 5, 14])
        {
            await using var back = await ConnectAsync(node, Again(pid, offset));
            Assert.Equal(pid, back.Pid);
            offset = back.Offset;
            for (var i = 0; i < reads; i++, next++)
            {
                Assert.Contains("\"n\":" + next + "}", (await back.NextAsync()).Data, StringComparison.Ordinal);
                offset = back.Offset;
            }
        }
    }

    [Fact]
    public async Task The_offset_of_a_join_with_since_is_what_the_client_has_and_not_what_it_joins_at()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        await using var client = await ConnectAsync(node, Asked);
        await using var other = await node.JoinAsync("a:1");
        for (var i = 1; i <= 4; i++)
        {
            await node.NotifyAsync("call", "{\"_in\":[\"a:1\"],\"n\":" + i + "}");
        }

        var first = JsonElement.Parse(await other.ReadAsync()).GetProperty("pos").GetString()!;
        await client.SendAsync("42[\"subscribe\",{\"room\":\"a:1\",\"since\":\"" + first + "\"}]");
        Assert.Equal("joined", (await client.NextAsync()).Event);
        Assert.EndsWith("a:1=" + first, client.Offset, StringComparison.Ordinal);
        for (var i = 2; i <= 4; i++)
        {
            await client.NextAsync();
            Assert.EndsWith(":" + i, client.Offset, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task What_is_lost_is_told_and_the_client_has_another_pid()
    {
        await using var node = await Node.StartAsync(("HistorySize", "2"));
        string pid,
            offset;
        await using (var client = await ConnectAsync(node, Asked))
        {
            await client.SendAsync("""42["subscribe","a:1"]""");
            await client.NextAsync();
            (pid, offset) = (client.Pid, client.Offset);
        }

        for (var i = 1; i <= 5; i++)
        {
            await node.NotifyAsync("call", "{\"_in\":[\"a:1\"],\"n\":" + i + "}");
        }

        await using var back = await ConnectAsync(node, Again(pid, offset));
        Assert.NotEqual(pid, back.Pid);
        var (name, data) = await back.NextAsync();
        Assert.Equal(("gap", 3), (name, JsonElement.Parse(data).GetProperty("lost").GetInt32()));
        Assert.Contains("\"n\":4}", (await back.NextAsync()).Data, StringComparison.Ordinal);
        Assert.Contains("\"n\":5}", (await back.NextAsync()).Data, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Rights_are_asked_again()
    {
        await using var node = await GuardedNode.StartAsync(("HistorySize", "100"));
        string TokenOf(string roles) => Token.Of("ann", node.Time.GetUtcNow().AddHours(1), "\"roles\":[" + roles + "]");

        string pid,
            offset;
        await using (
            var client = await ConnectAsync(
                node,
                "40{\"recovery\":true,\"token\":\"" + TokenOf("\"endpoint:1\",\"endpoint:2\"") + "\"}"
            )
        )
        {
            await client.SendAsync("""42["subscribe",["endpoint:1","endpoint:2"]]""");
            await client.NextAsync();
            await client.NextAsync();
            (pid, offset) = (client.Pid, client.Offset);
        }

        await using var back = await ConnectAsync(
            node,
            Again(pid, offset)[..^1] + ",\"token\":\"" + TokenOf("\"endpoint:1\"") + "\"}"
        );
        Assert.NotEqual(pid, back.Pid);
        Assert.Contains("&endpoint:1=", back.Offset, StringComparison.Ordinal);
        Assert.DoesNotContain("endpoint:2", back.Offset, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_session_of_more_than_32_rooms_is_not_recovered()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        string pid,
            offset;
        await using (var client = await ConnectAsync(node, Asked))
        {
            for (var i = 1; i <= 32; i++)
            {
                await client.SendAsync($"42[\"subscribe\",\"a:{i}\"]");
                await client.NextAsync();
                Assert.Equal(i == 32, client.Offset == "1");
            }

            (pid, offset) = (client.Pid, client.Offset);
        }

        await using var back = await ConnectAsync(node, Again(pid, offset));
        Assert.NotEqual(pid, back.Pid);
    }

    [Fact]
    public async Task A_session_whose_offset_is_over_2_KB_is_not_recovered()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        await using var client = await ConnectAsync(node, Asked);
        for (var i = 0; i < 12; i++)
        {
            await client.SendAsync($"42[\"subscribe\",\"{i}{new string('x', 190)}\"]");
            await client.NextAsync();
            Assert.True(client.Offset.Length <= 2_048);
        }

        Assert.Equal("1", client.Offset);
    }

    [Theory]
    [InlineData("")]
    [InlineData("1")]
    [InlineData("1?")]
    [InlineData("2?public=x:1")]
    [InlineData("1?no%20room=x:1")]
    [InlineData("1?a:1=x:99999")]
    [InlineData("1?a:1=nonsense")]
    [InlineData("1?a:1=")]
    [InlineData("1?a:1=x:1&a:1=x:2")]
    public async Task An_offset_that_is_none_or_of_another_life_recovers_nothing(string offset)
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        await using var client = await ConnectAsync(node, Again("abc", offset));
        Assert.NotEqual("abc", client.Pid);
        Assert.Matches(@"^1\?.*public=\w+:0$", client.Offset);
    }

    [Theory]
    [InlineData("off", """40{"recovery":true}""", "&recovery=1", false)]
    [InlineData("asked", "40", "", false)]
    [InlineData("asked", """40{"recovery":false}""", "", false)]
    [InlineData("asked", """40{"recovery":true}""", "", true)]
    [InlineData("asked", "40", "&recovery=1", true)]
    [InlineData("asked", "40", "&recovery=true", true)]
    [InlineData("on", "40", "", true)]
    public async Task Recovery_is_off_asked_for_or_on(string setting, string connect, string query, bool isOn)
    {
        await using var node = await Node.StartAsync(("SocketioRecovery", setting), ("HistorySize", "100"));
        await using var client = await SocketIoSocket.OpenAsync(node, 4, query);
        await client.SendAsync(connect);
        Assert.Equal(isOn, (await client.ReadAsync()).Contains("\"pid\"", StringComparison.Ordinal));
        Assert.Equal(isOn ? 3 : 2, JsonElement.Parse((await client.ReadAsync())[2..]).GetArrayLength());
    }

    [Fact]
    public async Task A_session_that_polls_and_upgrades_is_recovered_too()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        string pid,
            offset;
        await using (var client = await ConnectAsync(node, Asked))
        {
            await client.SendAsync("""42["subscribe","a:1"]""");
            await client.NextAsync();
            (pid, offset) = (client.Pid, client.Offset);
        }

        await node.NotifyAsync("call", """{"_in":["a:1"],"n":1}""");
        await using var back = await PollingClient.OpenAsync(node, 4);
        await back.SendAsync(Again(pid, offset));
        Assert.EndsWith("\"pid\":\"" + pid + "\"}", await back.ReadAsync(), StringComparison.Ordinal);
        Assert.StartsWith("42[\"welcome\",", await back.ReadAsync(), StringComparison.Ordinal);
        Assert.StartsWith("""42["call",{"_in":["a:1"],"n":1},"1?""", await back.ReadAsync(), StringComparison.Ordinal);
    }

    private static string Again(string pid, string offset) =>
        "40{\"recovery\":true,\"pid\":\"" + pid + "\",\"offset\":\"" + offset + "\"}";

    /// <summary>Connects, and reads the welcome.</summary>
    private static async Task<RecoveringClient> ConnectAsync(Node node, string connect)
    {
        var socket = await SocketIoSocket.OpenAsync(node, 4);
        await socket.SendAsync(connect);
        var connected = JsonElement.Parse((await socket.ReadAsync())[2..]);
        var client = new RecoveringClient(socket, connected.GetProperty("pid").GetString()!);
        Assert.Equal("welcome", (await client.NextAsync()).Event);
        return client;
    }

    private sealed class RecoveringClient(SocketIoSocket socket, string pid) : IAsyncDisposable
    {
        public SocketIoSocket Socket => socket;

        public string Pid => pid;

        /// <summary>The last argument of the last event.</summary>
        public string Offset { get; private set; } = "";

        public Task SendAsync(string packet) => socket.SendAsync(packet);

        /// <summary>The next event; answers are skipped, except right behind one that was asked for.</summary>
        public async Task<(string Event, string Data)> NextAsync()
        {
            string packet;
            while ((packet = await socket.ReadAsync()).StartsWith("43", StringComparison.Ordinal)) { }

            Assert.StartsWith("42", packet, StringComparison.Ordinal);
            var array = JsonElement.Parse(packet[2..]);
            Assert.Equal(3, array.GetArrayLength());
            Offset = array[2].GetString()!;
            return (array[0].GetString()!, array[1].GetRawText());
        }

        public ValueTask DisposeAsync() => socket.DisposeAsync();
    }
}
