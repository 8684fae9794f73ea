using System.Collections.Concurrent;
using Microsoft.Playwright;

namespace Dmb.Tests.Pages;

/// <summary>A page that somebody has open, whom it talks to and what goes wrong in it.</summary>
public sealed class Visit : IAsyncDisposable
{
    private readonly IBrowserContext _context;
    private readonly ConcurrentQueue<string> _asked = new();
    private readonly ConcurrentQueue<string> _errors = new();

    public Visit(IBrowserContext context, IPage page)
    {
        (_context, Page) = (context, page);
        page.Request += (_, request) => _asked.Enqueue(request.Url);
        page.WebSocket += (_, socket) => _asked.Enqueue(socket.Url);
        page.PageError += (_, error) => _errors.Enqueue(error);
        page.Console += (_, message) =>
        {
            if (message.Type is "error" or "warning")
            {
                _errors.Enqueue(message.Text);
            }
        };
    }

    public IPage Page { get; }

    /// <summary>Checks that the page asked nobody but its node, and that nothing went wrong in it.</summary>
    public void IsQuietAndAtHome(Node node)
    {
        Assert.NotEmpty(_asked);
        Assert.All(_asked, url => Assert.Equal(node.Url.Authority, new Uri(url).Authority));
        Assert.Empty(_errors);
    }

    public async ValueTask DisposeAsync() => await _context.CloseAsync();
}
