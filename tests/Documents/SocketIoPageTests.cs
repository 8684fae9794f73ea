using Dmb.Tests.SocketIo;

namespace Dmb.Tests.Documents;

/// <summary>
/// docs/socketio.md, and what README.md has of Socket.IO, typed as they stand: only the ports are free ones.
/// </summary>
public sealed class SocketIoPageTests : IAsyncLifetime
{
    private readonly Terminals _terminals = new();
    private NodeProcess _node = null!;

    public async ValueTask InitializeAsync() =>
        _node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_HISTORY_SIZE", "100"));

    [Fact]
    public async Task The_three_lines_of_the_readme_print_what_is_published()
    {
        var page = await DocumentPage.ReadAsync("README.md", "## Try it");
        var lines = Assert.Single(page.Blocks("js"));
        Assert.Equal(3, lines.Split('\n').Length);
        await using var service = await NodeClients.StartAsync(lines, _node.Url.Port);
        while ((await _node.GetAsync("/rooms/support")).GetProperty("sessions").GetInt32() == 0)
        {
            await Task.Yield();
        }

        await _terminals.RunAsync(page.Commands(_node.Url.Port)[1]);

        await service.LineAsync("{ text: 'The printer is on fire' }");
    }

    [Fact]
    public async Task A_service_prints_what_the_page_shows()
    {
        var page = await DocumentPage.ReadAsync("docs/socketio.md", "## Change the URL");
        await using var service = await NodeClients.StartAsync(page.Blocks("js")[0], _node.Url.Port);
        var shown = page.Blocks("text")[0].Split('\n');
        await service.LineAsync(shown[0]);

        await _terminals.RunAsync(page.Commands(_node.Url.Port)[0]);

        await service.LineAsync(shown[1]);
        Assert.Equal(shown, service.Lines);
    }

    [Fact]
    public async Task A_client_that_asks_for_recovery_misses_nothing()
    {
        var page = await DocumentPage.ReadAsync("docs/socketio.md", "## Recovery");
        await using var client = await NodeClients.StartAsync(
            page.Blocks("js")[0]
                + """

                socket.emit('subscribe', 'calls', () => socket.io.engine.close());
                socket.once('disconnect', () => fetch(socket.io.uri + '/_notify/call', { method: 'POST', body: '"missed"' }));
                """,
            _node.Url.Port
        );

        await client.LineAsync("missed");
        Assert.Equal(["read the state anew", "nothing is missing", "missed"], client.Lines);
    }

    public async ValueTask DisposeAsync()
    {
        await _terminals.DisposeAsync();
        await _node.DisposeAsync();
    }
}
