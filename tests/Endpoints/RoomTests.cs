using System.Text.RegularExpressions;

namespace Dmb.Tests.Endpoints;

/// <summary>GET /rooms/{room}: how many sessions are in it.</summary>
public sealed class RoomTests(AlbaFixture fixture) : IClassFixture<AlbaFixture>
{
    private readonly AlbaNode _node = fixture.Node;

    [Fact]
    public async Task The_sessions_of_a_room_are_counted()
    {
        await _node.Scenario(scenario =>
        {
            scenario.Get.Url("/rooms/traces");
            scenario.ShouldBeJson("""{"room":"traces","sessions":0,"pos":null}""");
        });

        using var first = await _node.JoinAsync("traces", "locations");
        using (var second = await _node.JoinAsync("traces"))
        {
            Assert.Equal(2, await SessionsInAsync("traces"));
            Assert.Equal(1, await SessionsInAsync("locations"));
        }

        using var patience = new CancellationTokenSource(Node.Patience);
        while (await SessionsInAsync("traces") != 1)
        {
            patience.Token.ThrowIfCancellationRequested();
        }
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
        var room = Regex.Unescape(quoted);
        using var stream = await _node.JoinAsync(room);
        var answer = (await _node.AskAsync("GET " + path)).Json;
        Assert.Equal(room, answer.GetProperty("room").GetString());
        Assert.Equal(1, answer.GetProperty("sessions").GetInt32());
    }

    [Theory]
    [InlineData("a%20b")]
    [InlineData("a%0A")]
    [InlineData("%C2%85")]
    [InlineData("%E3%80%80")]
    public async Task A_name_that_is_not_a_room_s_is_refused(string name)
    {
        (await _node.AskAsync("GET /rooms/" + name)).IsProblem(400, "bad_name");
    }

    [Fact]
    public async Task A_name_may_have_200_bytes_and_no_more()
    {
        var longest = string.Concat(Enumerable.Repeat("%C3%A9", 100));
        Assert.Equal(200, (await _node.AskAsync("GET /rooms/" + longest)).Status);
        (await _node.AskAsync($"GET /rooms/{longest}a")).IsProblem(400, "bad_name");
    }

    private async Task<int> SessionsInAsync(string room) =>
        (await _node.AskAsync("GET /rooms/" + room)).Json.GetProperty("sessions").GetInt32();
}
