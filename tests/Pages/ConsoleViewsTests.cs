using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>The console's views of the cluster, as an operator uses them.</summary>
[Collection<Browser>]
public sealed class ConsoleViewsTests(Browser browser, NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private readonly Node _node = fixture.Node;

    [Fact]
    public async Task The_overview_shows_the_node_and_what_it_does()
    {
        await using var visit = await browser.OpenAsync(_node, "/#/overview");
        await Expect(Rows(visit).First).ToContainTextAsync("ready");
        await Expect(visit.Page.GetByRole(AriaRole.Figure)).ToHaveCountAsync(4);
        await Expect(visit.Page.GetByRole(AriaRole.Banner).GetByRole(AriaRole.Status)).ToHaveTextAsync("ready");
        visit.IsQuietAndAtHome(_node);
    }

    [Fact]
    public async Task A_room_is_found_by_its_prefix_and_shows_who_is_in_it_and_what_it_keeps()
    {
        const string Room = "endpoint:<img/src=x:/onerror=document.title='run'>";
        await using var node = await Node.StartAsync(("HistorySize", "10"));
        await using var client = await node.JoinAsync(Room);
        await node.NotifyAsync("call", $$"""{"_in":"{{Room}}","text":"kept"}""");
        await using var visit = await browser.OpenAsync(node, "/#/rooms");
        await visit.Page.GetByLabel("Rooms that begin with").FillAsync("endpoint:");
        await visit.Page.GetByRole(AriaRole.Button, new() { Name = "Search" }).ClickAsync();
        await Expect(Rows(visit)).ToHaveCountAsync(1);
        await visit.Page.GetByRole(AriaRole.Link, new() { Name = Room }).ClickAsync();

        await Expect(visit.Page.GetByText("Who is in it (1)")).ToBeVisibleAsync();
        await Expect(visit.Page.GetByText("\"text\":\"kept\"")).ToBeVisibleAsync();
        await Expect(visit.Page).ToHaveTitleAsync("Rooms · DMB console");
        visit.IsQuietAndAtHome(node);
    }

    [Fact]
    public async Task A_session_that_is_kicked_is_closed_and_told_not_to_come_back()
    {
        await using var node = await Node.StartAsync();
        var client = await node.JoinAsync("support");
        await using var visit = await browser.OpenAsync(node, "/#/sessions");
        visit.Page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        await visit.Page.GetByRole(AriaRole.Button, new() { Name = "Kick session" }).ClickAsync();

        await Sockets.Expect.ClosedAsync(4001, reconnect: false, client);
        await client.DisposeAsync();
        await Expect(visit.Page.GetByText("No session is open")).ToBeVisibleAsync();
    }

    private static ILocator Rows(Visit visit) => visit.Page.Locator("tbody").GetByRole(AriaRole.Row);
}
