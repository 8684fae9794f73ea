namespace Dmb.Tests.Endpoints;

public sealed class HealthTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    [Theory]
    [InlineData("GET /healthz", """{"status":"alive"}""")]
    [InlineData("GET //healthz", """{"status":"alive"}""")]
    [InlineData("GET /readyz", """{"status":"ready"}""")]
    [InlineData("GET /readyz?strict=1", """{"status":"ready"}""")]
    public async Task A_running_node_reports_its_health(string request, string body)
    {
        var answer = await RawHttp.AskAsync(fixture.Node, request);
        Assert.Equal((200, body), (answer.Status, answer.Body));
        Assert.Equal("application/json", answer.Headers["Content-Type"].Split(';')[0]);
    }
}
