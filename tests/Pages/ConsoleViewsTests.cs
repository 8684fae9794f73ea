using System.Net.WebSockets;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dmb.Tests.Access;
using Dmb.Tests.Backends;
using Dmb.Tests.Webhooks;
using Dmb.Webhooks;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>The console's views of the cluster, as an operator uses them.</summary>
[Collection<Browser>]
public sealed class ConsoleViewsTests(Browser browser, NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private readonly Node _node = fixture.Node;

    [Fact]
    public async Task The_overview_shows_the_node_and_its_rates()
    {
        await using var visit = await browser.OpenAsync(_node, "/#/overview");
        await Expect(Rows(visit).First).ToContainTextAsync("ready");
        await Expect(visit.Page.GetByRole(AriaRole.Figure)).ToHaveCountAsync(4);
        await Expect(visit.Page.GetByRole(AriaRole.Banner).GetByRole(AriaRole.Status)).ToHaveTextAsync("ready");
        visit.IsQuietAndAtHome(_node);
    }

    [Fact]
    public async Task The_overview_and_the_list_say_how_many_sessions_speak_what()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.ConnectAsync();
        using var stream = await EventReader.OpenAsync(node, "support");
        using var socketIo = new ClientWebSocket();
        await socketIo.ConnectAsync(
            new Uri($"ws://127.0.0.1:{node.Port}/socket.io/?EIO=3&transport=websocket"),
            CancellationToken.None
        );
        await using var visit = await browser.OpenAsync(node, "/#/overview");
        await Expect(visit.Page.GetByText("1 WebSocket, 1 events, 1 Socket.IO", new() { Exact = true }))
            .ToBeVisibleAsync();

        await visit.Page.GetByRole(AriaRole.Link, new() { Name = "Sessions" }).ClickAsync();

        await Expect(visit.Page.GetByRole(AriaRole.Cell, new() { Name = "socketio" })).ToBeVisibleAsync();
        visit.IsQuietAndAtHome(node);
    }

    [Fact]
    public async Task A_room_is_found_by_prefix_and_shows_its_sessions_and_history()
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
    public async Task A_session_closed_in_the_console_is_told_not_to_reconnect()
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

    [Fact]
    public async Task The_tail_says_of_each_publish_where_it_went_or_why_it_did_not()
    {
        await using var node = await Node.StartAsync(("HistorySize", "10"));
        await using var client = await node.JoinAsync("support");
        await using var visit = await browser.OpenAsync(node, "/#/tail");
        await Expect(visit.Page.GetByText("Nothing is published now")).ToBeVisibleAsync();
        await node.NotifyAsync("report_csr", """{"n":98765432109876543210}""");
        await node.NotifyAsync("call", """{"_in":"endpoint:7"}""");

        await Expect(Traces(visit)).ToHaveCountAsync(2);
        await Expect(Traces(visit).First).ToContainTextAsync("endpoint:7");
        await Expect(Traces(visit).First).ToContainTextAsync("no_subscriber");
        var reached = Traces(visit).Nth(1);
        await Expect(reached).ToContainTextAsync("1 session");
        await reached.ClickAsync();
        await Expect(reached).ToContainTextAsync("1 session on 1 node");
        await Expect(reached).ToContainTextAsync("\"n\": 98765432109876543210");
        await Expect(reached.GetByRole(AriaRole.Cell, new() { Name = ":1" })).ToBeVisibleAsync();
        visit.IsQuietAndAtHome(node);
    }

    [Fact]
    public async Task The_tail_is_filtered_paused_and_exported()
    {
        await using var node = await Node.StartAsync();
        await using var visit = await browser.OpenAsync(node, "/#/tail");
        await visit.Page.GetByLabel("Room").FillAsync("endpoint:1");
        await visit.Page.GetByLabel("Text").FillAsync("NEEDLE");
        await PressAsync(visit, "Filter");
        await Expect(visit.Page.GetByText("that fits the filter")).ToBeVisibleAsync();
        await node.NotifyAsync("call", """{"_in":"endpoint:2","text":"needle"}""");
        await node.NotifyAsync("call", """{"_in":"endpoint:1","text":"hay"}""");
        await node.NotifyAsync("call", """{"_in":"endpoint:1","text":"needle 1"}""");
        await Expect(Traces(visit)).ToHaveCountAsync(1);

        await PressAsync(visit, "Pause");
        await node.NotifyAsync("call", """{"_in":"endpoint:1","text":"needle 2"}""");
        await Expect(visit.Page.GetByText("paused with 1 waiting")).ToBeVisibleAsync();
        await Expect(Traces(visit)).ToHaveCountAsync(1);
        var download = await visit.Page.RunAndWaitForDownloadAsync(() => PressAsync(visit, "Export"));
        var lines = await File.ReadAllLinesAsync(await download.PathAsync());
        Assert.Equal(
            ["needle 1", "needle 2"],
            lines.Select(line => JsonElement.Parse(line).GetProperty("data").GetProperty("text").GetString())
        );
        await PressAsync(visit, "Go on");
        await Expect(Traces(visit)).ToHaveCountAsync(2);
        visit.IsQuietAndAtHome(node);
    }

    [Fact]
    public async Task Markup_in_whatever_a_stranger_sends_is_text_in_the_tail()
    {
        const string Markup = "<img/src=x:/onerror=document.title='run'>";
        await using var node = await Node.StartAsync();
        await using var visit = await browser.OpenAsync(node, "/#/tail");
        await Expect(visit.Page.GetByText("Nothing is published now")).ToBeVisibleAsync();
        var room = "endpoint:" + Markup;
        await node.NotifyAsync("call", $$"""{"_in":["{{room}}","no room {{Markup}}"],"{{Markup}}":"{{Markup}}"}""");
        using var refused = await node.Http.PostAsync(
            new Uri(node.Url, "/_notify"),
            new StringContent($$"""[{"event":"{{Markup}}","data":1}]""")
        );
        await Expect(Traces(visit)).ToHaveCountAsync(2);
        foreach (var line in await Traces(visit).AllAsync())
        {
            await line.ClickAsync();
            await Expect(line.Locator("pre")).ToContainTextAsync(Markup);
        }

        await Expect(visit.Page.Locator("main img")).ToHaveCountAsync(0);
        await Expect(visit.Page).ToHaveTitleAsync("Tail · DMB console");
        visit.IsQuietAndAtHome(node);
    }

    [Fact]
    public async Task A_tail_without_the_scope_says_what_to_do()
    {
        await using var node = await Node.StartAsync(("Keys", GuardedNode.Keys));
        await using var visit = await browser.OpenAsync(node, "/#/tail");
        await Expect(visit.Page.GetByText("Enter a key with the scope admin")).ToBeVisibleAsync();
        await visit.Page.GetByLabel("This broker asks who is there").FillAsync(GuardedNode.SecretOf("admin"));
        await PressAsync(visit, "Enter");
        await Expect(visit.Page.GetByText("Nothing is published now")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task A_backend_is_found_by_name_with_its_users_and_connections_and_freed()
    {
        const string Name = "<img/src=x:/onerror=document.title='run'>";
        await using var node = await Node.StartAsync();
        await using var visit = await browser.OpenAsync(node, "/#/backends");
        await Expect(visit.Page.GetByText("No backend is registered")).ToBeVisibleAsync();
        await using var backend = await TestBackend.RegisterAsync(By.Socket, node.Url, redis: null, Name);
        await using var other = await TestBackend.RegisterAsync(By.Http, node.Url, redis: null, "other");
        await using var user = await TestUser.JoinAsync(node.Url, backend.Bkid, "alice");
        await visit.Page.GetByLabel("Backends whose names begin with").FillAsync("<img");
        await PressAsync(visit, "Search");
        await Expect(Rows(visit)).ToHaveCountAsync(1);
        await Expect(Rows(visit).First).ToContainTextAsync(Name + backend.Bkid);
        await Expect(Rows(visit).GetByRole(AriaRole.Cell).Nth(1)).ToHaveTextAsync("dmb:" + backend.Bkid);
        await Expect(Rows(visit).GetByRole(AriaRole.Cell).Nth(2)).ToHaveTextAsync(new Regex("^1[0-9a-f]{12}$"));
        await Expect(Rows(visit).GetByRole(AriaRole.Cell).Nth(3)).ToHaveTextAsync("1");
        await Expect(visit.Page).ToHaveTitleAsync("Backends · DMB console");

        visit.Page.Dialog += (_, dialog) => _ = dialog.AcceptAsync();
        await PressAsync(visit, $"Free backend {backend.Bkid}");
        await user.GetsAsync("dmb:disconnected", $$"""{"service":"{{backend.Bkid}}"}""");
        await Expect(visit.Page.GetByText("No backend’s name begins with <img.")).ToBeVisibleAsync();
        await visit.Page.GotoAsync(new Uri(node.Url, "/#/backends?id=" + other.Bkid).ToString());
        await Expect(Rows(visit).First).ToContainTextAsync("other");
        await Expect(visit.Page.Locator("main img")).ToHaveCountAsync(0);
        visit.IsQuietAndAtHome(node);
    }

    [Theory]
    [MemberData(nameof(ConsolePage.Views), MemberType = typeof(ConsolePage))]
    public async Task Each_view_fits_a_narrow_window_in_light_and_dark(string view)
    {
        await using var client = await _node.JoinAsync("support", "endpoint:" + new string('x', 150));
        await FillAsync();
        await using var visit = await browser.OpenAsync(_node, "/#/" + view);
        foreach (
            var (scheme, width) in (IEnumerable<(ColorScheme, int)>)
                [(ColorScheme.Dark, 1_200), (ColorScheme.Light, 1_200), (ColorScheme.Light, 400)]
        )
        {
            await visit.Page.EmulateMediaAsync(new() { ColorScheme = scheme });
            await visit.Page.SetViewportSizeAsync(width, 800);
            await visit.Page.ReloadAsync();
            await Expect(visit.Page.GetByText("Loading")).ToHaveCountAsync(0);
            if (view == "tail")
            {
                await Expect(visit.Page.GetByText("Nothing is published now")).ToBeVisibleAsync();
                await _node.NotifyAsync("call", """{"_in":"endpoint:7","text":"Hello"}""");
                await Expect(Traces(visit)).ToHaveCountAsync(1);
                await Traces(visit).First.ClickAsync();
            }

            Assert.Equal(width, await visit.Page.EvaluateAsync<int>("document.documentElement.scrollWidth"));
            await visit.Page.ScreenshotAsync(
                new() { Path = Path.Combine("screenshots", $"{view}-{scheme}-{width}.png") }
            );
        }
    }

    /// <summary>The README's picture; UPDATE_PICTURE=1 writes it.</summary>
    [Fact]
    public async Task The_overview_draws_the_last_minutes()
    {
        await using var node = await Node.StartAsync();
        var clients = new List<EventReader>();
        for (var step = 0; step < 120; step++)
        {
            if (step % 15 == 0)
            {
                clients.Add(await EventReader.OpenAsync(node, "support"));
            }

            for (var i = 0; i < 6 + (4 * Math.Sin(step / 9.0)); i++)
            {
                await node.NotifyAsync("report_csr", "1");
            }

            node.Time.Advance(TimeSpan.FromSeconds(5));
        }

        await using var visit = await browser.OpenAsync(node, "/#/overview");
        await visit.Page.Clock.SetFixedTimeAsync(node.Time.GetUtcNow().UtcDateTime);
        await visit.Page.SetViewportSizeAsync(1_100, 730);
        await visit.Page.ReloadAsync();
        await Expect(Rows(visit).First).ToContainTextAsync("ready");
        await Expect(visit.Page.GetByText("10 min ago")).ToHaveCountAsync(4);
        var picture = await visit.Page.ScreenshotAsync();
        if (Environment.GetEnvironmentVariable("UPDATE_PICTURE") == "1")
        {
            await File.WriteAllBytesAsync(Path.Combine(Repository.Root, "docs", "console.png"), picture);
        }

        clients.ForEach(client => client.Dispose());
    }

    /// <summary>A webhook that is tried again, with long names, and a dead letter with long data.</summary>
    private async Task FillAsync()
    {
        using var backend = await _node.Http.PostAsync(
            new Uri(_node.Url, "/register/backend"),
            new StringContent($$"""{"name":"{{new string('b', 150)}}"}""")
        );
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(
            _node.Http,
            new Uri(receiver.Url, "?" + new string('q', 300)),
            $"\"events\":[\"call\"],\"rooms\":[\"endpoint:{new string('x', 150)}\"]"
        );
        await _node
            .Services.GetRequiredService<IDeadLetters>()
            .AddAsync(
                new DeadLetter(
                    "",
                    _node.Time.GetUtcNow(),
                    hook.Id,
                    null,
                    "call",
                    "m",
                    "endpoint:" + new string('x', 150),
                    "status",
                    "503 ServiceUnavailable",
                    12,
                    System.Text.Encoding.UTF8.GetBytes($$"""{"text":"{{new string('d', 300)}}"}""")
                )
            );
    }

    private static ILocator Traces(Visit visit) =>
        visit.Page.GetByRole(AriaRole.List, new() { Name = "Traces" }).GetByRole(AriaRole.Listitem);

    private static Task PressAsync(Visit visit, string button) =>
        visit.Page.GetByRole(AriaRole.Button, new() { Name = button, Exact = true }).ClickAsync();

    private static ILocator Rows(Visit visit) => visit.Page.Locator("tbody").GetByRole(AriaRole.Row);
}
