namespace Dmb.Tests.Endpoints;

/// <summary>What pages of other origins are answered, and what lets them read it (CORS).</summary>
public sealed class CrossOriginTests(AlbaFixture fixture) : IClassFixture<AlbaFixture>
{
    private const string Desk = "https://desk.example.com";

    [Theory]
    [InlineData("POST /_notify")]
    [InlineData("POST //_notify/call")]
    [InlineData("POST /register")]
    [InlineData("GET /register")]
    [InlineData("DELETE /register/call")]
    [InlineData("GET /rooms/calls")]
    [InlineData("GET /events?room=calls")]
    [InlineData("OPTIONS /_notify/call")]
    public async Task A_foreign_origin_is_refused_on_every_route(string request)
    {
        (await fixture.Node.AskAsync(request, "", "Origin: https://evil.example")).IsProblem(403, "forbidden_origin");
    }

    [Fact]
    public async Task A_page_of_an_allowed_origin_may_use_it_and_read_the_answers()
    {
        await using var node = await AlbaNode.StartAsync(("AllowedOrigins:0", Desk));
        var asked = await node.AskAsync(
            "OPTIONS /_notify/call",
            "",
            "Origin: " + Desk,
            "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: content-type,idempotency-key"
        );
        Assert.InRange(asked.Status, 200, 204);
        Assert.Equal(Desk, asked.Headers["Access-Control-Allow-Origin"]);
        Assert.Contains("POST", asked.Headers["Access-Control-Allow-Methods"], StringComparison.OrdinalIgnoreCase);
        Assert.Contains(
            "idempotency-key",
            asked.Headers["Access-Control-Allow-Headers"],
            StringComparison.OrdinalIgnoreCase
        );

        var pushed = await node.AskAsync("POST /_notify/call", "1", "Origin: " + Desk);
        pushed.TakenId();
        Assert.Equal(Desk, pushed.Headers["Access-Control-Allow-Origin"]);

        var refused = await node.AskAsync("POST /_notify/call", "{", "Origin: " + Desk);
        refused.IsProblem(400, "bad_json");
        Assert.Equal(Desk, refused.Headers["Access-Control-Allow-Origin"]);

        var foreign = "Origin: https://desk.example.com.evil.example";
        (await node.AskAsync("POST /_notify/call", "1", foreign)).IsProblem(403, "forbidden_origin");
    }
}
