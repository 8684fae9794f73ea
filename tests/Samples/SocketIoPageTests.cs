using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Tests.Pages;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Samples;

/// <summary>The page of samples/socketio, served as samples/README.md says, in a real browser.</summary>
[Collection<Browser>]
public sealed class SocketIoPageTests(Browser browser) : IAsyncLifetime
{
    private const string Room = "number:15005551234";
    private ChildProcess _server = null!;
    private Node _node = null!;
    private Visit _visit = null!;

    private ILocator State => _visit.Page.GetByRole(AriaRole.Status);

    private ILocator Messages => _visit.Page.GetByRole(AriaRole.Listitem);

    public async ValueTask InitializeAsync()
    {
        var folder = await NpmFolder.OpenAsync("samples/socketio");
        var port = RedisServer.FreePort();
        _server = await ChildProcess.StartAsync(
            "/usr/bin/python3",
            ["-u", "-m", "http.server", $"{port}", "--bind", "127.0.0.1", "--directory", folder.Path],
            Repository.Root,
            "Serving HTTP"
        );
        _node = await Node.StartAsync(("AllowedOrigins", $"http://127.0.0.1:{port}"), ("HistorySize", "100"));
        _visit = await browser.OpenAsync(new Uri($"http://127.0.0.1:{port}"));
        await _visit.Page.GetByLabel("Broker").FillAsync($"http://127.0.0.1:{_node.Port}");
        await _visit.Page.GetByRole(AriaRole.Button, new() { Name = "Join" }).ClickAsync();
        await Expect(State).ToHaveTextAsync($"in {Room}");
    }

    [Fact]
    public async Task The_page_shows_messages_and_publishes()
    {
        await using var other = await _node.JoinAsync(Room);
        await PublishAsync("<b>hello</b>");
        await Expect(Messages).ToHaveTextAsync(["<b>hello</b>"]);

        await _visit.Page.GetByLabel("Say").FillAsync("Zoë");
        await _visit.Page.GetByRole(AriaRole.Button, new() { Name = "Send" }).ClickAsync();

        await Expect(Messages).ToHaveTextAsync(["<b>hello</b>", "Zoë"]);
        await other.ReadAsync();
        Assert.Contains("""{"text":"Zoë",""", await other.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_page_shows_missed_messages_once_and_that_it_recovered_all()
    {
        await PublishAsync("before");
        await Expect(Messages).ToHaveTextAsync(["before"]);
        Cut();
        await Expect(State).Not.ToHaveTextAsync($"in {Room}");
        await PublishAsync("meanwhile");

        await Expect(State).ToHaveTextAsync($"in {Room}, nothing is missing");
        await PublishAsync("after");
        await Expect(Messages).ToHaveTextAsync(["before", "meanwhile", "after"]);
    }

    public async ValueTask DisposeAsync()
    {
        if (_visit is not null)
        {
            await _visit.DisposeAsync();
        }

        if (_node is not null)
        {
            await _node.DisposeAsync();
        }

        await _server.DisposeAsync();
    }

    private Task<string> PublishAsync(string text) =>
        _node.NotifyAsync("call", $$"""{"text":"{{text}}","_in":["{{Room}}"]}""");

    /// <summary>Ends the page's session, as a node that restarts does.</summary>
    private void Cut()
    {
        var members = Array.Empty<Subscriber>();
        var count = _node.Services.GetRequiredService<RoomTable>().Find(Room)!.CopyTo(ref members);
        members
            .Take(count)
            .Cast<Session>()
            .Single(session => session.Wire is SocketIoWire)
            .Close(CloseReason.Restarting(afterMs: 0));
    }
}
