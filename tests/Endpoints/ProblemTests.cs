namespace Dmb.Tests.Endpoints;

/// <summary>Errors, of whatever kind, are problem documents (RFC 9457) with a code.</summary>
public sealed class ProblemTests(AlbaFixture fixture) : IClassFixture<AlbaFixture>
{
    private readonly AlbaNode _node = fixture.Node;

    [Theory]
    [InlineData("POST /_notify/call", 400, "bad_json")]
    [InlineData("POST /_notify/a,b", 400, "bad_name")]
    [InlineData("POST /_notify", 400, "bad_json")]
    [InlineData("POST /register", 400, "bad_json")]
    [InlineData("DELETE /register/unheard", 404, "unknown_event")]
    [InlineData("DELETE /register/a,b", 404, "unknown_event")]
    [InlineData("GET /rooms/a%20b", 400, "bad_name")]
    [InlineData("GET /events", 400, "bad_name")]
    [InlineData("GET /events?room=a%20b", 400, "bad_name")]
    [InlineData("GET /ws", 426, "bad_frame")]
    [InlineData("GET /nowhere", 404, "not_found")]
    [InlineData("GET /_notify/", 405, "bad_method")]
    [InlineData("GET /_notify/call", 405, "bad_method")]
    [InlineData("PUT /register", 405, "bad_method")]
    [InlineData("POST /healthz", 405, "bad_method")]
    [InlineData("DELETE /rooms/calls", 405, "bad_method")]
    [InlineData("BREW /register", 405, "bad_method")]
    public async Task Each_error_has_its_status_and_code(string request, int status, string code)
    {
        var answer = await _node.AskAsync(request, "{");
        answer.IsProblem(status, code);
        if (status == 405)
        {
            Assert.NotEqual("", answer.Headers["Allow"]);
        }
    }

    [Fact]
    public async Task A_problem_has_these_members_in_this_order()
    {
        var answer = await _node.AskAsync("GET /nowhere");
        var members = answer.Json.EnumerateObject().Select(member => member.Name);
        Assert.Equal(["type", "title", "status", "detail", "code"], members);
    }
}
