using System.Text.RegularExpressions;
using Dmb.Tests.Access;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>The pages of a broker that asks who is there.</summary>
[Collection<Browser>]
public sealed partial class AccessPagesTests(Browser browser, GuardedNode guarded) : IClassFixture<GuardedNode>
{
    [Fact]
    public async Task The_console_requests_a_key_and_accepts_a_valid_one()
    {
        await using var visit = await browser.OpenAsync(guarded.Node, "/");
        var page = new ConsolePage(visit.Page);
        await page.ConnectedAsync();
        await page.AskToJoinAsync("support");
        await Expect(page.Refusal).ToContainTextAsync("unauthenticated");
        await page.PublishAsync("report_csr", "1");
        await Expect(page.Answer).ToContainTextAsync("401");

        await page.EnterAsync(GuardedNode.SecretOf("admin"));
        await page.ConnectedAsync();
        await Expect(page.Key).ToBeHiddenAsync();
        await page.JoinAsync("support");
        await page.PublishAsync("report_csr", """{"text":"let in"}""");
        await Expect(page.Answer).ToHaveTextAsync(Accepted());
        await Expect(page.Message("""{"text":"let in"}""")).ToContainTextAsync("report_csr");
        Assert.DoesNotContain(GuardedNode.SecretOf("admin"), visit.Page.Url, StringComparison.Ordinal);
        Assert.DoesNotContain(GuardedNode.SecretOf("admin"), await visit.Page.ContentAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("watch")]
    [InlineData("overview")]
    public async Task Nothing_is_green_before_a_key_is_given_where_one_is_needed(string view)
    {
        await using var visit = await browser.OpenAsync(guarded.Node, "/healthz");
        await visit.Page.AddInitScriptAsync(
            """
            window.kinds = [];
            const noted = new MutationObserver(() => window.kinds.push(document.getElementById('state')?.className));
            noted.observe(document, { subtree: true, childList: true, attributes: true });
            """
        );
        await visit.Page.GotoAsync(new Uri(guarded.Node.Url, "/#/" + view).ToString());
        var page = new ConsolePage(visit.Page);
        await Expect(page.Key).ToBeVisibleAsync();
        await Expect(page.State).ToHaveTextAsync(new Regex(view == "watch" ? "^connected" : "^ready"));
        await Expect(page.State).ToHaveClassAsync("wait");
        Assert.DoesNotContain(
            "good",
            await visit.Page.EvaluateAsync<string>("window.kinds.join()"),
            StringComparison.Ordinal
        );

        await page.EnterAsync(GuardedNode.SecretOf("admin"));
        await Expect(page.State).ToHaveClassAsync("good");
    }

    [Fact]
    public async Task The_console_discards_a_refused_key_and_requests_another()
    {
        await using var visit = await browser.OpenAsync(guarded.Node, "/");
        var page = new ConsolePage(visit.Page);
        await page.ConnectedAsync();
        await page.EnterAsync("some other secret");
        await Expect(page.State).ToHaveTextAsync("closed 4000, the key or token is not accepted");
        await page.PressAsync("Connect");
        await page.ConnectedAsync();
        await Expect(page.Key).ToBeVisibleAsync();
        await page.EnterAsync(GuardedNode.SecretOf("read"));
        await page.JoinAsync("support");
    }

    [Fact]
    public async Task A_key_that_only_publishes_learns_what_would_show_how_many_got_it()
    {
        await using var visit = await browser.OpenAsync(guarded.Node, "/");
        var page = new ConsolePage(visit.Page);
        await page.ConnectedAsync();
        await page.EnterAsync(GuardedNode.SecretOf("publish"));
        await page.ConnectedAsync();
        await page.PublishAsync("report_csr", "1");
        await Expect(page.Answer).ToHaveTextAsync(Accepted());
        await Expect(page.Reached).ToContainTextAsync("A key with the scope admin also shows how many got it.");
    }

    [GeneratedRegex("^200 \\{\"ok\":true,")]
    private static partial Regex Accepted();
}
