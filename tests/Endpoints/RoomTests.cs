using Dmb.Tests.Sockets;

namespace Dmb.Tests.Endpoints;

/// <summary>GET /rooms/{room}: how many sessions are in it.</summary>
public sealed class RoomTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private readonly Node _node = fixture.Node;

    [Fact]
    public async Task The_sessions_of_a_room_are_counted()
    {
        var empty = await RawHttp.AskAsync(_node, "GET /rooms/traces");
        Assert.Equal((200, """{"room":"traces","sessions":0,"pos":null}"""), (empty.Status, empty.Body));

        using var stream = await EventReader.OpenAsync(_node, "traces", "locations");
        await using var first = await _node.JoinAsync("traces");
        await using (var second = await _node.JoinAsync("traces"))
        {
            Assert.Equal(3, await _node.SessionsInAsync("traces"));
            await first.AckAsync("leave", "\"traces\"");
            Assert.Equal(2, await _node.SessionsInAsync("traces"));
            Assert.Equal(1, await _node.SessionsInAsync("locations"));
        }

        await _node.UntilSessionsInAsync("traces", 1);
    }

    [Theory]
    [InlineData("/rooms/endpoint:1234", "endpoint:1234")]
    [InlineData("/rooms/endpoint%3A1234", "endpoint:1234")]
    [InlineData("/rooms/raum:%C3%A9%F0%9F%98%80", "raum:é😀")]
    [InlineData("/rooms/path:a%2Fb", "path:a/b")]
    [InlineData("/rooms/percent:%25", "percent:%")]
    [InlineData("/rooms/percent:%252F", "percent:%2F")]
    [InlineData("/rooms/quote:%22", "quote:\\\"")]
    [InlineData("/rooms/plus:+", "plus:+")]
    public async Task A_room_is_found_by_its_escaped_name(string path, string quoted)
    {
        await using var client = await _node.ConnectAsync();
        Assert.Contains("\"ok\":true", await client.AckAsync("join", $"\"{quoted}\""), StringComparison.Ordinal);
        var answer = (await RawHttp.AskAsync(_node, "GET " + path)).Json;
        Assert.Equal(System.Text.RegularExpressions.Regex.Unescape(quoted), answer.GetProperty("room").GetString());
        Assert.Equal(1, answer.GetProperty("sessions").GetInt32());
    }

    [Theory]
    [InlineData("a%20b")]
    [InlineData("a%0A")]
    [InlineData("%C2%85")]
    [InlineData("%E3%80%80")]
    public async Task A_name_that_is_not_a_room_s_is_refused(string name)
    {
        (await RawHttp.AskAsync(_node, "GET /rooms/" + name)).IsProblem(400, "bad_name");
    }

    [Fact]
    public async Task A_name_may_have_200_bytes_and_no_more()
    {
        var longest = string.Concat(Enumerable.Repeat("%C3%A9", 100));
        Assert.Equal(200, (await RawHttp.AskAsync(_node, "GET /rooms/" + longest)).Status);
        (await RawHttp.AskAsync(_node, $"GET /rooms/{longest}a")).IsProblem(400, "bad_name");
    }
}
