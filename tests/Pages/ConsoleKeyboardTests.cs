using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>The console without a mouse, and as a screen reader tells it.</summary>
[Collection<Browser>]
public sealed class ConsoleKeyboardTests(Browser browser, NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private const string Focused =
        "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).trim()";

    private readonly Node _node = fixture.Node;

    [Fact]
    public async Task Tab_goes_through_the_page_in_its_order_and_shows_where_it_is()
    {
        await using var visit = await browser.OpenAsync(_node, "/#/rooms");
        await Expect(visit.Page.GetByText("Loading")).ToHaveCountAsync(0);
        var order = new List<string>();
        for (var i = 0; i < 11; i++)
        {
            await visit.Page.Keyboard.PressAsync("Tab");
            order.Add(await visit.Page.EvaluateAsync<string>(Focused));
            Assert.Equal(
                "solid",
                await visit.Page.EvaluateAsync<string>("getComputedStyle(document.activeElement).outlineStyle")
            );
        }

        Assert.Equal(
            [
                "Skip to the content",
                "DMB",
                "Overview",
                "Rooms",
                "Sessions",
                "Tail",
                "Watch and publish",
                "Backends",
                "Webhooks",
                "Dead letters",
                "Dark",
            ],
            order
        );
        await visit.Page.Keyboard.PressAsync("Tab");
        await Expect(visit.Page.GetByLabel("Rooms that begin with")).ToBeFocusedAsync();
    }

    [Fact]
    public async Task The_link_to_the_content_skips_the_links_to_the_views_and_stays_on_this_one()
    {
        await using var visit = await browser.OpenAsync(_node, "/#/rooms");
        await Expect(visit.Page.GetByText("Loading")).ToHaveCountAsync(0);
        await visit.Page.Keyboard.PressAsync("Tab");
        await visit.Page.Keyboard.PressAsync("Enter");
        await Expect(visit.Page.Locator("#view")).ToBeFocusedAsync();
        await visit.Page.Keyboard.PressAsync("Tab");
        await Expect(visit.Page.GetByLabel("Rooms that begin with")).ToBeFocusedAsync();
        Assert.EndsWith("#/rooms", visit.Page.Url, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(ConsolePage.Views), MemberType = typeof(ConsolePage))]
    public async Task All_that_can_be_used_has_a_name_and_each_table_a_caption(string view)
    {
        await using var client = await _node.JoinAsync("support");
        await using var visit = await browser.OpenAsync(_node, "/#/" + view);
        await Expect(visit.Page.GetByText("Loading")).ToHaveCountAsync(0);
        Assert.Empty(
            await visit.Page.EvaluateAsync<string[]>(
                """
                [...document.querySelectorAll('button, a, summary, input, select, textarea, svg[role], table, th')]
                  .filter(element => !(element.ariaLabel || element.title || element.labels?.length
                    || (element.localName === 'table' ? element.caption : element.textContent.trim())
                    || (element.localName === 'th' && element.scope === 'col')))
                  .map(element => element.outerHTML)
                """
            )
        );
        Assert.Equal(1, await visit.Page.Locator("h1").CountAsync());
        Assert.Equal(1, await visit.Page.Locator($"nav a[aria-current=page][href='#/{view}']").CountAsync());
    }
}
