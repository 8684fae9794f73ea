using System.Text;
using Dmb.Tests.Access;
using Dmb.Tests.Webhooks;
using Dmb.Webhooks;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>The console's views of webhooks and of dead letters, and what strangers can write into views.</summary>
[Collection<Browser>]
public sealed class ConsoleDeliveryTests(Browser browser)
{
    private const string Markup = "<img/src=x:/onerror=document.title='run'>";

    [Fact]
    public async Task A_webhook_shows_what_waits_and_fails_until_its_breaker_opens_and_is_removed()
    {
        await using var node = await Node.StartAsync();
        await using var receiver = await Receiver.StartAsync(
            (context, _) =>
            {
                context.Response.StatusCode = 503;
                return Task.CompletedTask;
            }
        );
        await using var visit = await browser.OpenAsync(node, "/#/webhooks");
        await Expect(visit.Page.GetByText("No webhook is registered")).ToBeVisibleAsync();
        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, """ "events":["call"],"rooms":["support"] """);
        await visit.Page.ReloadAsync();
        await Expect(Rows(visit).First).ToContainTextAsync("nothing delivered yet");
        await Expect(Rows(visit).First).ToContainTextAsync(receiver.Url.ToString());

        await node.NotifyAsync("call", "1");
        await receiver.NextAsync();
        await UntilAsync(node, hook, "\"attempts\":1");
        await visit.Page.ReloadAsync();
        await Expect(Rows(visit).First).ToContainTextAsync("failing");
        await Expect(Rows(visit).First).ToContainTextAsync("status: 503 ServiceUnavailable, attempt 1");

        await UntilAsync(node, hook, "\"breaker\":\"open\"", TimeSpan.FromSeconds(2));
        await visit.Page.ReloadAsync();
        await Expect(Rows(visit).First).ToContainTextAsync("breaker open");

        visit.Page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        await PressAsync(visit, $"Remove webhook {hook.Id}");
        await Expect(visit.Page.GetByText("No webhook is registered")).ToBeVisibleAsync();
        await Expect(visit.Page.GetByText("Removed.", new() { Exact = true })).ToBeVisibleAsync();
        visit.IsQuietAndAtHome(node);
    }

    [Fact]
    public async Task Dead_letters_are_filtered_read_replayed_and_dropped()
    {
        await using var node = await Node.StartAsync();
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, "\"events\":[\"call\"]");
        await using var visit = await browser.OpenAsync(node, "/#/dead");
        await Expect(visit.Page.GetByText("Nothing is dead")).ToBeVisibleAsync();
        for (var i = 0; i < 4; i++)
        {
            await DieAsync(node, hook.Id, "status", $$"""{"n":{{i}},"id":98765432109876543210}""");
        }

        await DieAsync(node, null, "refused_input", "{broken");
        await visit.Page.ReloadAsync();
        await Expect(Rows(visit)).ToHaveCountAsync(5);
        await visit.Page.GetByLabel("Reason").SelectOptionAsync("status");
        await PressAsync(visit, "Filter");
        await Expect(Rows(visit)).ToHaveCountAsync(4);

        var oldest = Rows(visit).Last;
        await oldest.Locator("summary").ClickAsync();
        await Expect(oldest.Locator("pre")).ToContainTextAsync("\"id\": 98765432109876543210");
        await oldest.GetByRole(AriaRole.Button, new() { NameString = "Replay" }).ClickAsync();
        await Expect(Rows(visit)).ToHaveCountAsync(3);
        Assert.Equal(["""{"n":0,"id":98765432109876543210}"""], await receiver.NextAsync(1));

        visit.Page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        await Rows(visit).Last.GetByRole(AriaRole.Button, new() { NameString = "Drop" }).ClickAsync();
        await Expect(Rows(visit)).ToHaveCountAsync(2);
        await PressAsync(visit, "Replay all that fit the filter");
        await Expect(visit.Page.GetByText("Replayed 2.")).ToBeVisibleAsync();
        Assert.Equal(2, (await receiver.NextAsync(2)).Length);
        await Expect(visit.Page.GetByText("No dead letter fits")).ToBeVisibleAsync();

        await visit.Page.GetByLabel("Reason").SelectOptionAsync("");
        await PressAsync(visit, "Filter");
        await Expect(Rows(visit).First).ToContainTextAsync("{broken");
        await PressAsync(visit, "Drop all");
        await Expect(visit.Page.GetByText("Dropped 1.")).ToBeVisibleAsync();
        await Expect(visit.Page.GetByText("Nothing is dead")).ToBeVisibleAsync();
        visit.IsQuietAndAtHome(node);
    }

    [Fact]
    public async Task A_dead_letter_is_opened_and_replayed_by_the_keyboard_while_the_list_is_loaded_anew()
    {
        await using var node = await Node.StartAsync();
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, "\"events\":[\"call\"]");
        await DieAsync(node, hook.Id, "status", """{"n":1}""");
        await using var visit = await browser.OpenAsync(node, "/");
        await visit.Page.Clock.InstallAsync();
        await visit.Page.GotoAsync(new Uri(node.Url, "/#/dead").ToString());
        await visit.Page.ReloadAsync();
        await Rows(visit).First.Locator("summary").FocusAsync();
        await visit.Page.Keyboard.PressAsync("Enter");
        await Expect(Rows(visit).First.Locator("pre")).ToBeVisibleAsync();
        await DieAsync(node, hook.Id, "timeout", """{"n":2}""");
        await visit.Page.Clock.RunForAsync(6_000);
        await Expect(Rows(visit)).ToHaveCountAsync(2);

        await Expect(Rows(visit).Last.Locator("pre")).ToBeVisibleAsync();
        await Expect(Rows(visit).First.Locator("pre")).ToBeHiddenAsync();
        await Expect(Rows(visit).Last.Locator("summary")).ToBeFocusedAsync();
        await visit.Page.Keyboard.PressAsync("Tab");
        await visit.Page.Keyboard.PressAsync("Enter");
        await Expect(Rows(visit)).ToHaveCountAsync(1);
        Assert.Equal(["""{"n":1}"""], await receiver.NextAsync(1));
    }

    [Fact]
    public async Task A_change_that_is_refused_says_why()
    {
        await using var node = await Node.StartAsync();
        await DieAsync(node, "0123456789abcdef0123456789abcdef", "gone", "1");
        await using var visit = await browser.OpenAsync(node, "/#/dead");
        await Rows(visit).First.GetByRole(AriaRole.Button, new() { NameString = "Replay" }).ClickAsync();
        await Expect(visit.Page.GetByText("There is no webhook 0123456789abcdef0123456789abcdef")).ToBeVisibleAsync();
    }

    [Theory]
    [InlineData("webhooks")]
    [InlineData("dead")]
    public async Task A_view_without_the_scope_says_what_to_do(string view)
    {
        await using var node = await Node.StartAsync(("Keys", GuardedNode.Keys));
        await using var visit = await browser.OpenAsync(node, "/#/" + view);
        await Expect(visit.Page.GetByText("Enter a key with the scope admin")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Markup_in_a_session_is_text()
    {
        await using var node = await GuardedNode.StartAsync();
        var token = Token.Of(Markup, node.Time.GetUtcNow().AddHours(1), $"\"roles\":[\"endpoint:{Markup}\"]");
        await using var client = await TestClient.ConnectAsync(
            new Uri(node.Url, "/ws"),
            ("Authorization", "Bearer " + token),
            ("User-Agent", Markup)
        );
        await client.AckAsync("subscribe", System.Text.Json.JsonSerializer.Serialize("endpoint:" + Markup));
        await using var visit = await browser.OpenAsync(node, "/#/sessions");
        await visit.Page.GetByLabel("This broker asks who is there").FillAsync(GuardedNode.SecretOf("admin"));
        await PressAsync(visit, "Enter");
        await Expect(visit.Page.GetByRole(AriaRole.Cell, new() { Name = Markup, Exact = true })).ToBeVisibleAsync();
        await Rows(visit).First.Locator("summary").ClickAsync();
        await Expect(visit.Page.GetByRole(AriaRole.Link, new() { Name = "endpoint:" + Markup })).ToBeVisibleAsync();
        await IsTextAsync(visit);
    }

    [Theory]
    [InlineData("webhooks")]
    [InlineData("dead")]
    public async Task Markup_in_webhooks_and_dead_letters_is_text(string view)
    {
        await using var node = await Node.StartAsync();
        await using var receiver = await Receiver.StartAsync(
            (context, _) =>
            {
                context.Response.StatusCode = 503;
                return Task.CompletedTask;
            }
        );
        var room = "endpoint:" + Markup;
        var hook = await TestHook.RegisterAsync(
            node.Http,
            new Uri(receiver.Url, "?'><b>" + Markup),
            $"\"rooms\":[\"{room}\"]"
        );
        await node.NotifyAsync("call", $$"""{"_in":["{{room}}"],"{{Markup}}":"{{Markup}}"}""");
        await receiver.NextAsync();
        await node
            .Services.GetRequiredService<IDeadLetters>()
            .AddAsync(
                new DeadLetter(
                    "",
                    default,
                    null,
                    Markup,
                    Markup,
                    Markup,
                    Markup,
                    Markup,
                    Markup,
                    1,
                    Encoding.UTF8.GetBytes($$"""{"{{Markup}}":"{{Markup}}"}""")
                )
            );
        await using var visit = await browser.OpenAsync(node, "/#/" + view);
        if (view == "webhooks")
        {
            await Expect(Rows(visit).First).ToContainTextAsync(hook.Id);
        }
        else
        {
            await Rows(visit).First.Locator("summary").ClickAsync();
            await Expect(Rows(visit).First.Locator("pre")).ToContainTextAsync(Markup);
        }

        await Expect(Rows(visit).First).ToContainTextAsync(Markup);
        await IsTextAsync(visit);
    }

    private static async Task IsTextAsync(Visit visit)
    {
        await Expect(visit.Page.Locator("main img, main script, main td b b")).ToHaveCountAsync(0);
        await Expect(visit.Page).Not.ToHaveTitleAsync("run");
    }

    private static ValueTask DieAsync(Node node, string? webhook, string reason, string data) =>
        node
            .Services.GetRequiredService<IDeadLetters>()
            .AddAsync(
                new DeadLetter(
                    "",
                    node.Time.GetUtcNow(),
                    webhook,
                    webhook is null ? "dmb:notify:call" : null,
                    "call",
                    "m",
                    "calls",
                    reason,
                    "detail",
                    1,
                    Encoding.UTF8.GetBytes(data)
                )
            );

    /// <summary>Waits until a webhook is shown so, moving the clock with each look.</summary>
    private static async Task UntilAsync(Node node, TestHook hook, string part, TimeSpan step = default)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        string shown;
        do
        {
            node.Time.Advance(step);
            shown = await node.Http.GetStringAsync(new Uri(node.Url, "/webhooks/" + hook.Id), CancellationToken.None);
            Assert.False(patience.IsCancellationRequested, shown);
        } while (!shown.Contains(part, StringComparison.Ordinal));
    }

    private static Task PressAsync(Visit visit, string button) =>
        visit.Page.GetByRole(AriaRole.Button, new() { Name = button, Exact = true }).ClickAsync();

    private static ILocator Rows(Visit visit) => visit.Page.Locator("tbody").GetByRole(AriaRole.Row);
}
