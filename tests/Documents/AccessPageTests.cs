namespace Dmb.Tests.Documents;

/// <summary>
/// docs/access.md: its keys and its token are made with the commands of the page, and do what it says.
/// </summary>
public sealed class AccessPageTests : IAsyncDisposable
{
    private readonly Terminals _terminals = new();

    [Fact]
    public async Task Keys_made_with_openssl_let_their_programs_in()
    {
        var page = await DocumentPage.ReadAsync("docs/access.md", "## Keys for hosts");
        await _terminals.RunAsync(page.Commands(0)[0]);
        Assert.Equal("600", Assert.Single(await _terminals.RunAsync("stat -c %a dmb.keys")));
        await using var node = await NodeProcess.StartAsync(
            ("REDIS_HOST", "none"),
            ("DMB_KEYS_FILE", _terminals.PathOf("dmb.keys"))
        );
        var commands = page.Commands(node.Url.Port);
        Assert.Equal(page.Blocks("json")[0], string.Concat(await _terminals.RunAsync(commands[2])));
        Assert.StartsWith(
            "{\"ok\":true,",
            string.Concat(await _terminals.RunAsync(commands[3])),
            StringComparison.Ordinal
        );
        await _terminals.Type(commands[4]).LineAsync(": connected");
        Assert.Equal(5, commands.Length);
    }

    [Fact]
    public async Task A_token_made_with_openssl_opens_its_room_and_no_other()
    {
        var page = await DocumentPage.ReadAsync("docs/access.md", "## Tokens for users");
        await _terminals.RunAsync(page.Commands(0)[0]);
        var secret = (await File.ReadAllTextAsync(_terminals.PathOf("dmb.secret"))).Trim();
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_JWT_SECRET", secret));
        var commands = page.Commands(node.Url.Port);
        await _terminals.RunAsync(commands[2]);
        await _terminals.Type(commands[3]).LineAsync(": connected");
        Assert.Equal(page.Blocks("json")[0], string.Concat(await _terminals.RunAsync(commands[4])));
        Assert.Equal(5, commands.Length);
    }

    public ValueTask DisposeAsync() => _terminals.DisposeAsync();
}
