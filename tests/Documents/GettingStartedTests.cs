namespace Dmb.Tests.Documents;

/// <summary>README.md and docs/getting-started.md, typed as they stand: only the ports are free ones.</summary>
public sealed class GettingStartedTests : IAsyncLifetime
{
    private readonly Terminals _terminals = new();
    private NodeProcess _node = null!;

    public async ValueTask InitializeAsync() =>
        _node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_HISTORY_SIZE", "100"));

    [Fact]
    public async Task The_first_event_of_the_readme_arrives()
    {
        var page = await DocumentPage.ReadAsync("README.md", "## Try it");
        var commands = page.Commands(_node.Url.Port);
        var listener = await ListenAsync(commands[0]);
        Assert.Equal(Masked(page.Blocks("json")), Masked(await _terminals.RunAsync(commands[1])));
        await listener.LineAsync("id: ", 2);
        Assert.Equal(Masked(page.Blocks("text")), Masked([.. Shown(listener)]));

        await using var call = await _node.JoinAsync("calls", "number:15005551234", "endpoint:1234");
        await _terminals.RunAsync(commands[2]);
        Assert.Contains("\"event\":\"call\"", await call.ReadAsync(), StringComparison.Ordinal);
        Assert.Equal(3, commands.Length);
    }

    [Fact]
    public async Task Events_are_published_addressed_and_registered()
    {
        var page = await DocumentPage.ReadAsync("docs/getting-started.md");
        var (answers, texts) = (page.Blocks("json"), page.Blocks("text"));
        var commands = page.Commands(_node.Url.Port);
        Assert.Equal("dotnet run -c Release", commands[0]);
        var listener = await ListenAsync(commands[1]);
        Assert.Equal(Masked(answers[..1]), Masked(await _terminals.RunAsync(commands[2])));
        await listener.LineAsync("id: ", 2);
        Assert.Equal(Masked(texts[..1]), Masked([.. Shown(listener)]));

        await using var endpoint = await _node.JoinAsync("endpoint:1234");
        await using var number = await _node.JoinAsync("number:15005551234");
        await _terminals.RunAsync(commands[3]);
        Assert.Contains("\"event\":\"call\"", await endpoint.ReadAsync(), StringComparison.Ordinal);
        Assert.Contains("\"event\":\"call\"", await number.ReadAsync(), StringComparison.Ordinal);

        Assert.Equal(answers[1], string.Concat(await _terminals.RunAsync(commands[4])));
        Assert.Equal(answers[2], string.Concat(await _terminals.RunAsync(commands[5])));
        await _terminals.RunAsync(commands[6]);
        await listener.LineAsync("event: tea_is_ready");
    }

    [Fact]
    public async Task A_socket_and_a_stream_resume_as_the_page_shows()
    {
        var page = await DocumentPage.ReadAsync("docs/getting-started.md");
        var texts = page.Blocks("text");
        var commands = page.Commands(_node.Url.Port);
        var listener = await ListenAsync(commands[1]);
        await _terminals.RunAsync(commands[2]);
        var position = (await listener.LineAsync("id: support=", 2))["id: support=".Length..];
        await _terminals.RunAsync(commands[2]);

        var socket = texts[1].Split('\n');
        var python = _terminals.Type($"(echo '{socket[0]}'; exec tail -f /dev/null) | {commands[7]}");
        Assert.EndsWith(socket[1], await python.LineAsync("joined"), StringComparison.Ordinal);
        Assert.EndsWith(socket[2], DocumentPage.Masked(await python.LineAsync("\"ack\"")), StringComparison.Ordinal);

        var returning = _terminals.Type(commands[8].Replace("k3f9:1", position, StringComparison.Ordinal));
        await returning.LineAsync("event: report_csr");

        var resume = texts[2].Split('\n');
        await using var client = await _node.ConnectAsync();
        await client.SendAsync(resume[0].Replace("k3f9:1", position, StringComparison.Ordinal));
        Assert.Equal(resume[1], await client.ReadAsync());
        Assert.Equal(
            resume[2].Replace("k3f9:3", "k3f9:2", StringComparison.Ordinal),
            DocumentPage.Masked(await client.ReadAsync())
        );
        Assert.Contains("\"event\":\"report_csr\"", await client.ReadAsync(), StringComparison.Ordinal);
    }

    public async ValueTask DisposeAsync()
    {
        await _terminals.DisposeAsync();
        await _node.DisposeAsync();
    }

    private async Task<ChildProcess> ListenAsync(string command)
    {
        var listener = _terminals.Type(command.Replace("curl -N", "curl -sN", StringComparison.Ordinal));
        await listener.LineAsync("id: ");
        return listener;
    }

    private static IEnumerable<string> Shown(ChildProcess listener) => listener.Lines.Take(8);

    private static string Masked(string[] lines) => DocumentPage.Masked(string.Join('\n', lines));
}
