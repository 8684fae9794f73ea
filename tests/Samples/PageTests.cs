using System.Text.Json;
using System.Text.RegularExpressions;
using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Tests.Access;
using Dmb.Tests.Pages;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Samples;

/// <summary>The page of samples/, served as samples/README.md says, with a node that allows its origin.</summary>
[Collection<Browser>]
public sealed partial class PageTests(Browser browser) : IAsyncLifetime
{
    private ChildProcess _server = null!;
    private Node _node = null!;
    private Visit _visit = null!;
    private string _bkid = "";

    private ILocator State => _visit.Page.GetByRole(AriaRole.Status);

    private ILocator Messages => _visit.Page.GetByRole(AriaRole.Listitem);

    public async ValueTask InitializeAsync()
    {
        _server = ChildProcess.Start(
            "/usr/bin/python3",
            ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", "samples/page"],
            Repository.Root
        );
        var url = Address().Match(await _server.LineAsync("Serving HTTP")).Value;
        _node = await Node.StartAsync(
            ("AllowedOrigins", url),
            ("HistorySize", "100"),
            ("PingInterval", "1"),
            ("SilentTimeout", "2")
        );
        _bkid = (await PostAsync("/register/backend", """{"name":"desk"}""")).GetProperty("bkid").GetString()!;
        _visit = await browser.OpenAsync(new Uri(url));
        await _visit.Page.GetByLabel("Broker").FillAsync($"ws://127.0.0.1:{_node.Port}/ws");
        await _visit.Page.GetByLabel("Service, its bkid").FillAsync(_bkid);
        await JoinAsync();
        await Expect(State).ToHaveTextAsync("connected as alice");
    }

    [Fact]
    public async Task A_user_hears_the_service_and_is_heard()
    {
        await TellAsync("""{"to":"alice","data":"<b>Hello</b> alice."}""");
        await TellAsync("""{"data":{"lunch":"ready"}}""");
        await Expect(Messages).ToHaveTextAsync(["to you: <b>Hello</b> alice.", "to all: {\"lunch\":\"ready\"}"]);

        await SayAsync("I need a pen");
        var heard = await _node.Http.GetStringAsync(new Uri(_node.Url, $"/backend/{_bkid}/uplink/stored"));
        Assert.Contains("\"data\":\"I need a pen\"", heard, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_page_notices_a_silent_network_and_joins_again_when_it_is_back()
    {
        await using var proxy = new FaultProxy(_node.Port);
        await _visit.Page.GetByLabel("Broker").FillAsync($"ws://127.0.0.1:{proxy.Port}/ws");
        await JoinAsync();
        await Expect(State).ToHaveTextAsync("connected as alice");
        await TellAsync("""{"to":"alice","data":"by the proxy"}""");
        await Expect(Messages).ToHaveTextAsync(["to you: by the proxy"]);

        proxy.Swallow(Way.Both);
        await Expect(State).Not.ToHaveTextAsync("connected as alice");
        proxy.Heal();
        await Expect(State).ToHaveTextAsync("connected as alice", new() { Timeout = 30_000 });
    }

    [Fact]
    public async Task The_page_joins_again_by_itself_after_its_session_was_closed()
    {
        Close(CloseReason.Restarting(afterMs: 0));
        await Expect(State).Not.ToHaveTextAsync("connected as alice");
        await Expect(State).ToHaveTextAsync("connected as alice");
        await TellAsync("""{"to":"alice","data":"again"}""");
        await Expect(Messages).ToHaveTextAsync(["to you: again"]);
    }

    [Fact]
    public async Task The_page_shows_missed_messages_once()
    {
        await TellAsync("""{"data":"before"}""");
        await Expect(Messages).ToHaveTextAsync(["to all: before"]);
        for (var i = 0; i < 3; i++)
        {
            Close(CloseReason.Restarting(afterMs: 300));
            await Expect(State).ToContainTextAsync("again in");
            await TellAsync($$"""{"to":"alice","data":"{{i}} to you"}""");
            await TellAsync($$"""{"data":"{{i}} to all"}""");
            await Expect(State).ToHaveTextAsync("connected as alice");
        }

        await Expect(Messages)
            .ToHaveTextAsync([
                "to all: before",
                "to you: 0 to you",
                "to all: 0 to all",
                "to you: 1 to you",
                "to all: 1 to all",
                "to you: 2 to you",
                "to all: 2 to all",
            ]);
    }

    [Fact]
    public async Task A_user_with_a_token_connects_as_that_user()
    {
        await using var guarded = await Node.StartAsync(
            ("AllowedOrigins", new Uri(_visit.Page.Url).GetLeftPart(UriPartial.Authority)),
            ("Keys", GuardedNode.Keys),
            ("JwtSecret", Token.Secret)
        );
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(guarded.Url, "/register/backend"))
        {
            Content = new StringContent("""{"name":"desk"}"""),
        };
        request.Headers.Add("X-Api-Key", GuardedNode.SecretOf("admin"));
        using var registered = await guarded.Http.SendAsync(request);
        var bkid = JsonElement.Parse(await registered.Content.ReadAsStringAsync()).GetProperty("bkid").GetString()!;

        await _visit.Page.GetByLabel("Broker").FillAsync($"ws://127.0.0.1:{guarded.Port}/ws");
        await _visit.Page.GetByLabel("Service, its bkid").FillAsync(bkid);
        await JoinAsync();
        await Expect(State).ToContainTextAsync("Show a key or a token");

        await _visit.Page.GetByLabel("Token").FillAsync(Token.Of("alice", guarded.Time.GetUtcNow().AddHours(1)));
        await JoinAsync();
        await Expect(State).ToHaveTextAsync("connected as alice");

        await _visit.Page.GetByLabel("You are").FillAsync("bob");
        await JoinAsync();
        await Expect(State).ToContainTextAsync("under its own name");
    }

    [Fact]
    public async Task The_page_joins_again_after_a_reload()
    {
        await _visit.Page.ReloadAsync();
        await Expect(State).ToHaveTextAsync("connected as alice");
    }

    [Fact]
    public async Task The_page_shows_that_the_service_is_disconnected_or_unknown()
    {
        using var freed = await _node.Http.DeleteAsync(new Uri(_node.Url, "/register/backend/" + _bkid));
        await Expect(State).ToHaveTextAsync("the service has ended");
        await _visit.Page.ReloadAsync();
        await Expect(State).ToContainTextAsync("There is no backend " + _bkid);
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

    private Task<JsonElement> TellAsync(string message) => PostAsync($"/backend/{_bkid}/messages", message);

    /// <summary>Says something on the page, and waits until the broker has it.</summary>
    private Task JoinAsync() => _visit.Page.GetByRole(AriaRole.Button, new() { Name = "Join" }).ClickAsync();

    private async Task SayAsync(string text)
    {
        await using var backend = await _node.ConnectAsync();
        await backend.AckAsync("dmb:reconnect", JsonSerializer.Serialize(new { name = "desk", bkid = _bkid }));
        await backend.ReadAllAsync();
        await _visit.Page.GetByLabel("Say").FillAsync(text);
        await _visit.Page.GetByRole(AriaRole.Button, new() { Name = "Send" }).ClickAsync();
        await backend.ReadDataAsync("dmb:uplink");
    }

    private async Task<JsonElement> PostAsync(string path, string json)
    {
        using var body = new StringContent(json);
        using var response = await _node.Http.PostAsync(new Uri(_node.Url, path), body);
        response.EnsureSuccessStatusCode();
        return JsonElement.Parse(await response.Content.ReadAsStringAsync());
    }

    private void Close(CloseReason reason)
    {
        var sessions = Array.Empty<Subscriber>();
        Assert.Equal(1, _node.Services.GetRequiredService<RoomTable>().Find("public")!.CopyTo(ref sessions));
        ((Session)sessions[0]).Close(reason);
    }

    [GeneratedRegex(@"http://127\.0\.0\.1:\d+")]
    private static partial Regex Address();
}
