namespace Dmb.Tests.Endpoints;

public sealed class HealthTests(AlbaFixture fixture) : IClassFixture<AlbaFixture>
{
    [Theory]
    [InlineData("GET /healthz", """{"status":"alive"}""")]
    [InlineData("GET //healthz", """{"status":"alive"}""")]
    [InlineData("GET /readyz", """{"status":"ready"}""")]
    [InlineData("GET /readyz?strict=1", """{"status":"ready"}""")]
    public Task A_running_node_reports_its_health(string request, string body) =>
        fixture.Node.Scenario(scenario =>
        {
            scenario.Send(request);
            scenario.ShouldBeJson(body);
        });
}
