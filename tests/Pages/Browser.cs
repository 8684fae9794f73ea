using Microsoft.Playwright;

namespace Dmb.Tests.Pages;

/// <summary>One Chromium for all tests of pages. Each visit is a person of its own, without a past.</summary>
public sealed class Browser : ICollectionFixture<Browser>, IAsyncLifetime
{
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    public async ValueTask InitializeAsync()
    {
        var folders = Environment.GetEnvironmentVariable("PATH")?.Split(Path.PathSeparator) ?? [];
        var chromium = folders.Select(folder => Path.Combine(folder, "chromium")).FirstOrDefault(File.Exists);
        Assert.True(chromium is not null, "These tests need the command chromium: ./test.sh installs it on Debian.");

        _playwright = await Playwright.CreateAsync();
        _browser = await _playwright.Chromium.LaunchAsync(
            new()
            {
                ExecutablePath = chromium,
                Args = ["--disable-gpu", "--disable-quic"],
                Timeout = (float)Node.Patience.TotalMilliseconds,
            }
        );
        Assertions.SetDefaultExpectTimeout((float)Node.Patience.TotalMilliseconds);
    }

    /// <summary>Opens a page of a node.</summary>
    public Task<Visit> OpenAsync(Node node, string path) => OpenAsync(new Uri(node.Url, path));

    /// <summary>Opens a page.</summary>
    public async Task<Visit> OpenAsync(Uri url)
    {
        var context = await _browser!.NewContextAsync();
        context.SetDefaultTimeout((float)Node.Patience.TotalMilliseconds);
        var visit = new Visit(context, await context.NewPageAsync());
        await visit.Page.GotoAsync(url.ToString());
        return visit;
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.CloseAsync();
        }

        _playwright?.Dispose();
    }
}
