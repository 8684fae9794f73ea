using System.Text.RegularExpressions;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Dmb.Tests.Pages;

/// <summary>The console page at /, as a person sees and uses it.</summary>
internal sealed partial class ConsolePage(IPage page)
{
    /// <summary>The views, by their names in the address.</summary>
    public static TheoryData<string> Views =>
        ["overview", "rooms", "sessions", "tail", "watch", "backends", "webhooks", "dead"];

    /// <summary>How the session is.</summary>
    public ILocator State => page.GetByRole(AriaRole.Banner).GetByRole(AriaRole.Status);

    /// <summary>What the broker said to the latest publish: the HTTP status and the body.</summary>
    public ILocator Answer => page.GetByRole(AriaRole.Main).GetByRole(AriaRole.Status);

    /// <summary>How many got the latest publish.</summary>
    public ILocator Reached => page.Locator("#reached");

    /// <summary>Why a room could not be joined.</summary>
    public ILocator Refusal => page.GetByRole(AriaRole.Alert);

    /// <summary>Where a key or a token is asked for.</summary>
    public ILocator Key => page.GetByLabel("This broker asks who is there");

    /// <summary>What arrived, newest first.</summary>
    public ILocator Messages => page.Locator("tbody").GetByRole(AriaRole.Row);

    /// <summary>The room, among those that the session is in.</summary>
    public ILocator Room(string name) => page.GetByRole(AriaRole.Listitem).Filter(new() { HasText = name });

    /// <summary>The message with exactly this data.</summary>
    public ILocator Message(string data) =>
        Messages.Filter(new() { Has = page.GetByRole(AriaRole.Cell, new() { Name = data, Exact = true }) });

    /// <summary>Waits until the page says that it is connected; returns its session.</summary>
    public async Task<string> ConnectedAsync()
    {
        await Expect(State).ToHaveTextAsync(Connected());
        return (await State.InnerTextAsync()).Split(' ')[^1];
    }

    public async Task JoinAsync(string room)
    {
        await AskToJoinAsync(room);
        await Expect(Room(room)).ToBeVisibleAsync();
    }

    public async Task AskToJoinAsync(string room)
    {
        await page.GetByLabel("A bus, or a notification room").FillAsync(room);
        await PressAsync("Subscribe");
    }

    public async Task LeaveAsync(string room)
    {
        await PressAsync("Unsubscribe " + room);
        await Expect(Room(room)).ToHaveCountAsync(0);
    }

    public async Task PublishAsync(string @event, string data)
    {
        await page.GetByLabel("Event", new() { Exact = true }).FillAsync(@event);
        await page.GetByLabel("Data, any JSON").FillAsync(data);
        await PressAsync("POST");
    }

    public async Task EnterAsync(string key)
    {
        await Key.FillAsync(key);
        await PressAsync("Enter");
    }

    public Task PressAsync(string button) =>
        page.GetByRole(AriaRole.Button, new() { Name = button, Exact = true }).ClickAsync();

    [GeneratedRegex("^connected, session [0-9a-f]{32}$")]
    private static partial Regex Connected();
}
