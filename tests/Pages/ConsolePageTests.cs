using System.Text.RegularExpressions;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.Extensions.DependencyInjection;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>What somebody sees who opens the broker's address in a browser.</summary>
[Collection<Browser>]
public sealed partial class ConsolePageTests(Browser browser, NodeFixture fixture)
    : IClassFixture<NodeFixture>,
        IAsyncLifetime
{
    private readonly Node _node = fixture.Node;
    private Visit _visit = null!;
    private ConsolePage _page = null!;

    public async ValueTask InitializeAsync()
    {
        _visit = await browser.OpenAsync(_node, "/");
        _page = new ConsolePage(_visit.Page);
        await _page.ConnectedAsync();
    }

    public ValueTask DisposeAsync() => _visit.DisposeAsync();

    [Fact]
    public async Task A_message_published_in_the_console_arrives_in_the_joined_room()
    {
        await Expect(_page.Room("public")).ToBeVisibleAsync();
        await _page.JoinAsync("support");
        await _page.PublishAsync("report_csr", """{"text":"Hello"}""");

        await Expect(_page.Answer).ToHaveTextAsync(Accepted());
        await Expect(_page.Message("""{"text":"Hello"}""")).ToContainTextAsync("report_csr");
        _visit.IsQuietAndAtHome(_node);
    }

    [Fact]
    public async Task A_publish_in_the_console_says_how_many_got_it_or_why_no_session_did()
    {
        await using var client = await _node.JoinAsync("endpoint:reached");
        await _page.JoinAsync("endpoint:reached");
        await _visit.Page.GetByLabel("Event", new() { Exact = true }).FillAsync("call");
        await _visit.Page.GetByLabel("Data, any JSON").FillAsync("""{"n":98765432109876543210}""");
        await _visit.Page.GetByLabel("To the notification room (_in)").FillAsync("endpoint:reached");
        await _page.PressAsync("POST");
        await Expect(_page.Reached).ToContainTextAsync("2 sessions on 1 node got it.");
        await Expect(_page.Message("""{"n":98765432109876543210,"_in":["endpoint:reached"]}""")).ToBeVisibleAsync();

        await _page.PublishAsync("call", """{"_in":"endpoint:empty"}""");
        await Expect(_page.Reached)
            .ToContainTextAsync("No session got it. no_subscriber: No session is in these rooms");

        await _page.PublishAsync("no_such_event", "1");
        await Expect(_page.Reached).ToContainTextAsync("unknown_event: The event is not registered");
        _visit.IsQuietAndAtHome(_node);
    }

    [Fact]
    public async Task Events_and_rooms_are_suggested_for_a_publish()
    {
        await using var client = await _node.JoinAsync("endpoint:suggested");
        await _visit.Page.GetByLabel("Event", new() { Exact = true }).FocusAsync();
        await Expect(_visit.Page.Locator("#events option[value=report_csr]")).ToHaveCountAsync(1);
        await _visit.Page.GetByLabel("To the notification room (_in)").FocusAsync();
        await Expect(_visit.Page.Locator("#known option[value='endpoint:suggested']")).ToHaveCountAsync(1);
        _visit.IsQuietAndAtHome(_node);
    }

    [Fact]
    public async Task Pressing_the_two_buttons_is_enough_to_see_a_message()
    {
        await _page.PressAsync("Subscribe");
        await Expect(_page.Room("support")).ToBeVisibleAsync();
        await _page.PressAsync("POST");
        await Expect(_page.Messages.First).ToContainTextAsync("report_csr");
    }

    [Fact]
    public async Task Data_is_shown_as_received_and_never_executed()
    {
        const string Image = "<img/src=x:/onerror=document.title='run'>";
        const string Script = "<script>document.title='run'</script>";
        const string Data = $$"""{"a":"{{Image}}","b":"{{Script}}","c":1e2,"c":98765432109876543210}""";
        await _page.JoinAsync("support");
        await _page.JoinAsync(Image);
        await _page.JoinAsync(Script);
        await _node.NotifyAsync("report_csr", Data);

        await Expect(_page.Message(Data)).ToBeVisibleAsync();
        await Expect(_visit.Page.Locator("main").Locator("img, script")).ToHaveCountAsync(0);
        await Expect(_visit.Page).ToHaveTitleAsync("DMB console");
        _visit.IsQuietAndAtHome(_node);
    }

    [Fact]
    public async Task A_left_room_is_no_longer_shown()
    {
        await _page.JoinAsync("endpoint:left");
        await _page.JoinAsync("endpoint:kept");
        await _page.LeaveAsync("endpoint:left");
        await _node.NotifyAsync("report_csr", """{"endpoint":"left"}""");
        await _node.NotifyAsync("report_csr", """{"endpoint":"kept"}""");

        await Expect(_page.Message("""{"endpoint":"kept"}""")).ToBeVisibleAsync();
        await Expect(_page.Message("""{"endpoint":"left"}""")).ToHaveCountAsync(0);
    }

    [Fact]
    public async Task A_page_whose_session_was_closed_rejoins_its_rooms()
    {
        await _page.JoinAsync("endpoint:cut");
        var session = await _page.ConnectedAsync();
        Close("endpoint:cut", CloseReason.Restarting(afterMs: 0));

        await Expect(_page.State).Not.ToContainTextAsync(session);
        Assert.NotEqual(session, await _page.ConnectedAsync());
        await Expect(_page.Room("endpoint:cut")).ToBeVisibleAsync();
        await _node.NotifyAsync("report_csr", """{"endpoint":"cut"}""");
        await Expect(_page.Message("""{"endpoint":"cut"}""")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task A_page_detects_a_silent_network_and_reconnects()
    {
        await using var node = await Node.StartAsync(
            ("Host", "0.0.0.0"),
            ("Auth", "none"),
            ("PingInterval", "1"),
            ("SilentTimeout", "2")
        );
        await using var proxy = new FaultProxy(node.Port);
        await using var visit = await browser.OpenAsync(new Uri($"http://127.0.0.1:{proxy.Port}/"));
        var page = new ConsolePage(visit.Page);
        await page.ConnectedAsync();

        proxy.Swallow(Way.Both);

        // Why it is not connected is shown until it tries again, which may be at once.
        await Expect(page.State).Not.ToContainTextAsync("connected, session");
        proxy.Heal();
        await Expect(page.State).ToContainTextAsync("connected, session", new() { Timeout = 30_000 });
    }

    [Fact]
    public async Task A_page_told_not_to_reconnect_shows_the_reason_and_waits_for_its_button()
    {
        await _page.JoinAsync("endpoint:refused");
        Close("endpoint:refused", CloseReason.Protocol);

        await Expect(_page.State).ToHaveTextAsync("closed 4002, too many frames that are no events");
        await _page.PressAsync("Connect");
        await _page.ConnectedAsync();
        await Expect(_page.Room("endpoint:refused")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task A_page_loaded_again_joins_the_same_rooms()
    {
        await _page.JoinAsync("endpoint:ä,&%#+1");
        await _visit.Page.ReloadAsync();
        await Expect(_page.Room("endpoint:ä,&%#+1")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task A_refusal_is_shown()
    {
        await _page.AskToJoinAsync("two words");
        await Expect(_page.Refusal).ToContainTextAsync("subscribe two words: bad_name");
        await Expect(_page.Room("two words")).ToHaveCountAsync(0);

        await _page.PublishAsync("report_csr", "{");
        await Expect(_page.Answer).ToContainTextAsync("bad_json");
    }

    [Fact]
    public async Task A_resumed_page_shows_messages_received_while_paused()
    {
        await _page.JoinAsync("endpoint:paused");
        await _page.PressAsync("Pause");
        await _node.NotifyAsync("report_csr", """{"endpoint":"paused"}""");
        await Expect(_visit.Page.GetByText("paused with 1 waiting")).ToBeVisibleAsync();
        await Expect(_page.Message("""{"endpoint":"paused"}""")).ToHaveCountAsync(0);

        await _page.PressAsync("Go on");
        await Expect(_page.Message("""{"endpoint":"paused"}""")).ToBeVisibleAsync();
    }

    private void Close(string room, CloseReason reason)
    {
        var sessions = Array.Empty<Subscriber>();
        var count = _node.Services.GetRequiredService<RoomTable>().Find(room)!.CopyTo(ref sessions);
        Assert.Equal(1, count);
        ((Session)sessions[0]).Close(reason);
    }

    [GeneratedRegex("""^200 {"ok":true,"id":"[0-9a-f-]{36}"}$""")]
    private static partial Regex Accepted();
}
