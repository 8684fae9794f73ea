using System.Text.RegularExpressions;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>The console on a node that is killed, drains and loses Redis, and comes back on its port.</summary>
[Collection<Browser>]
public sealed partial class ConsoleFaultTests(Browser browser)
{
    [Fact]
    public async Task On_a_node_that_is_killed_and_restarted_the_console_counts_down_and_gets_what_it_missed()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var other = await StartAsync(redis);
        var port = RedisServer.FreePort();
        var node = await StartAsync(redis, port);
        await using var visit = await browser.OpenAsync(new Uri(node.Url, "/#/watch?room=support"));
        var page = new ConsolePage(visit.Page);
        await page.ConnectedAsync();
        await Expect(page.Room("support")).ToBeVisibleAsync();
        await other.NotifyAsync("report_csr", """{"n":1}""");
        await Expect(page.Message("""{"n":1}""")).ToBeVisibleAsync();

        await node.KillAsync();
        await node.DisposeAsync();
        await Expect(page.State).ToHaveTextAsync(Countdown());
        await other.NotifyAsync("report_csr", """{"n":2}""");
        await other.NotifyAsync("report_csr", """{"n":3}""");

        await using var again = await StartAsync(redis, port);
        await page.ConnectedAsync();
        await Expect(visit.Page.GetByText("support: missed 2, got 2")).ToBeVisibleAsync();
        await Expect(page.Message("""{"n":2}""")).ToHaveCountAsync(1);
        await Expect(page.Message("""{"n":3}""")).ToHaveCountAsync(1);
    }

    [Fact]
    public async Task On_a_node_that_drains_the_console_says_when_it_moves_and_comes_back()
    {
        await using var redis = await RedisServer.StartAsync();
        var port = RedisServer.FreePort();
        var node = await StartAsync(redis, port, ("DMB_DRAIN_WINDOW", "4"));
        await using var visit = await browser.OpenAsync(new Uri(node.Url, "/#/watch?room=support"));
        var page = new ConsolePage(visit.Page);
        var session = await page.ConnectedAsync();

        node.Terminate();
        await Expect(page.State).ToHaveTextAsync(Countdown());
        await Expect(page.Messages.Filter(new() { HasText = "drain" })).ToHaveCountAsync(1);
        await node.EndAsync();
        await node.DisposeAsync();
        await using var again = await StartAsync(redis, port);
        Assert.NotEqual(session, await page.ConnectedAsync());
        await Expect(page.Room("support")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Without_Redis_the_console_says_so_in_each_view_until_it_is_back()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var node = await StartAsync(redis, 0, ("DMB_PROBE_INTERVAL", "1"));
        await using var visit = await browser.OpenAsync(new Uri(node.Url, "/#/watch?room=support"));
        await using var other = await browser.OpenAsync(new Uri(node.Url, "/#/dead"));
        var (page, dead) = (new ConsolePage(visit.Page), new ConsolePage(other.Page));
        await page.ConnectedAsync();
        await Expect(dead.State).ToHaveTextAsync("ready");

        await redis.KillAsync();
        await Expect(page.State).ToContainTextAsync("Redis is away");
        await Expect(dead.State).ToContainTextAsync("degraded");
        await Expect(other.Page.GetByText("The node drains, or Redis is away.")).ToBeVisibleAsync();

        await redis.StartAsync();
        await page.ConnectedAsync();
        await Expect(dead.State).ToHaveTextAsync("ready");
        await Expect(other.Page.GetByText("Nothing is dead")).ToBeVisibleAsync();
    }

    private static Task<NodeProcess> StartAsync(
        RedisServer redis,
        int port = 0,
        params (string Name, string Value)[] settings
    ) =>
        NodeProcess.StartReadyAsync([
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_PORT", $"{port}"),
            ("DMB_HISTORY_SIZE", "100"),
            .. settings,
        ]);

    [GeneratedRegex(@" in \d+\.\d s$")]
    private static partial Regex Countdown();
}
