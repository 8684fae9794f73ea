using Microsoft.Playwright;
using YamlDotNet.RepresentationModel;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>Swagger UI at /swagger, over openapi.yaml.</summary>
[Collection<Browser>]
public sealed class SwaggerPageTests(Browser browser, NodeFixture fixture) : IClassFixture<NodeFixture>, IAsyncLifetime
{
    private readonly Node _node = fixture.Node;
    private Visit _visit = null!;

    private ILocator Routes => _visit.Page.Locator(".opblock-summary-control");

    public async ValueTask InitializeAsync() => _visit = await browser.OpenAsync(_node, "/swagger");

    public ValueTask DisposeAsync() => _visit.DisposeAsync();

    [Fact]
    public async Task The_page_lists_each_route_of_the_contract()
    {
        var contract = Contract();
        await Expect(Routes).ToHaveCountAsync(contract.Length);
        Assert.Equal(contract, (await Routes.AllInnerTextsAsync()).Select(MethodAndPath).Order());
        _visit.IsQuietAndAtHome(_node);
    }

    [Fact]
    public async Task An_event_published_from_the_page_arrives()
    {
        await using var client = await _node.JoinAsync("support");
        var route = _visit.Page.Locator("#operations-Publish-notify");
        await route.Locator(".opblock-summary-control").ClickAsync();
        await PressAsync(route, "Try it out");
        var body = await route.Locator(".body-param__text").InputValueAsync();
        await PressAsync(route, "Execute");

        Assert.Equal(body, await client.ReadDataAsync("report_csr"));
        var answer = route.Locator(".live-responses-table .response");
        await Expect(answer.Locator(".response-col_status")).ToHaveTextAsync("200");
        await Expect(answer).ToContainTextAsync("\"ok\": true");
        _visit.IsQuietAndAtHome(_node);
    }

    private static Task PressAsync(ILocator route, string button) =>
        route.GetByRole(AriaRole.Button, new() { Name = button, Exact = true }).ClickAsync();

    private static string[] Contract()
    {
        using var text = File.OpenText(Path.Combine(Repository.Root, "openapi.yaml"));
        var yaml = new YamlStream();
        yaml.Load(text);
        var paths = (YamlMappingNode)yaml.Documents[0].RootNode["paths"];
        var routes =
            from path in paths
            from method in (YamlMappingNode)path.Value
            select $"{method.Key} {path.Key}".ToUpperInvariant();
        return [.. routes.Order()];
    }

    // The page breaks a long path into pieces, with invisible spaces between them.
    private static string MethodAndPath(string text)
    {
        var words = text.Replace("\u200b", "", StringComparison.Ordinal).Split();
        return string.Join(' ', words.Where(word => word != "").Take(2)).ToUpperInvariant();
    }
}
