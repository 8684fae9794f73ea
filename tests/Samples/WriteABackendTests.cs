using System.Text.RegularExpressions;

namespace Dmb.Tests.Samples;

/// <summary>docs/backends.md, typed as it stands: only the ports are free ones.</summary>
public sealed partial class WriteABackendTests : IAsyncLifetime
{
    private readonly Terminals _terminals = new();
    private RedisServer _redis = null!;
    private NodeProcess _node = null!;
    private string[] _commands = [];
    private string[] _texts = [];

    public async ValueTask InitializeAsync()
    {
        _redis = await RedisServer.StartAsync();
        _node = await NodeProcess.StartAsync([
            ("REDIS_HOST", "localhost"),
            ("REDIS_PORT", $"{_redis.Port}"),
            ("DMB_HISTORY_SIZE", "100"),
            .. NodeProcess.Patient,
        ]);
        await _node.BecomesAsync("ready");

        var page = await DocumentPage.ReadAsync("docs/backends.md");
        _commands = page.Commands(_node.Url.Port, _redis.Port);
        _texts = page.Blocks("text");
    }

    [Fact]
    public async Task A_backend_is_written_with_redis_cli()
    {
        Assert.StartsWith("redis-server --port", _commands[0], StringComparison.Ordinal);
        Assert.EndsWith("dotnet run -c Release", _commands[1], StringComparison.Ordinal);
        var ear = _terminals.Type(_commands[2]);
        await ear.LineAsync("2");
        await _terminals.RunAsync(_commands[3]);
        var ack = await ear.LineAsync("bk_connect_ack");
        var bkid = Bkid().Match(ack).Groups[1].Value;
        Assert.Equal(_texts[0].Split('\n')[^1].Replace("5a1f…", bkid, StringComparison.Ordinal), ack);
        await WrittenAsync("billing.log", bkid);

        var alice = _terminals.Type(_commands[4]);
        await alice.LineAsync(": connected");
        Assert.Contains("\"user\":\"alice\"", await ear.LineAsync("\"type\":\"connect\""), StringComparison.Ordinal);
        await _terminals.RunAsync(_commands[5]);
        await alice.LineAsync("id: ", 3);
        Assert.Equal(DocumentPage.Masked(_texts[1]), DocumentPage.Masked(Messages(alice)));

        await using var bob = await _node.ConnectAsync();
        foreach (var frame in _texts[2].Split('\n'))
        {
            await bob.SendAsync(frame.Replace("5a1f…", bkid, StringComparison.Ordinal));
        }

        await ear.LineAsync("I have paid twice");
        var knowing = _commands[5].Split('\n')[0] + '\n';
        Assert.Contains(await _terminals.RunAsync(knowing + _commands[6]), line =>
            line.Contains("I have paid twice", StringComparison.Ordinal)
        );
        await _terminals.RunAsync(knowing + _commands[7]);
        await alice.LineAsync("event: dmb:disconnected");
        Assert.Equal("", await _redis.CommandAsync("KEYS", $"*{bkid}*"));
    }

    [Fact]
    public async Task A_backend_is_written_with_curl()
    {
        var bkid = Assert.Single(await _terminals.RunAsync(_commands[8]));
        Assert.Matches("^[0-9a-f]{32}$", bkid);
        var ear = _terminals.Type(_commands[9]);
        await ear.LineAsync(": connected");
        var alice = _terminals.Type(_commands[10]);
        await ear.LineAsync("\"type\":\"connect\"");
        var answers = string.Join('\n', await _terminals.RunAsync(_commands[11]));
        Assert.Contains("""{"type":"bk_message_ack","ok":true,"nodes":1}""", answers, StringComparison.Ordinal);
        Assert.Contains(
            """{"type":"bk_message_ack","id":"m1","ok":true,"nodes":1}""",
            answers,
            StringComparison.Ordinal
        );
        Assert.Contains($$"""{"type":"connect","bkid":"{{bkid}}","user":"alice",""", answers, StringComparison.Ordinal);
        await alice.LineAsync("event: dmb:disconnected");
        Assert.Equal(DocumentPage.Masked(_texts[1]), DocumentPage.Masked(Messages(alice)));
        Assert.Equal(12, _commands.Length);
    }

    [Fact]
    public async Task A_backend_is_written_over_a_socket()
    {
        await using var backend = await _node.ConnectAsync();
        var frames = _texts[3].Split('\n');
        for (var i = 0; i < frames.Length; i++)
        {
            await backend.SendAsync(frames[i]);
            while (
                await backend.ReadAsync() is var answer
                && !answer.StartsWith($$"""{"ack":{{i + 1}},"ok":true,""", StringComparison.Ordinal)
            )
            {
                Assert.DoesNotContain("\"ok\":false", answer, StringComparison.Ordinal);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _terminals.DisposeAsync();
        await _node.DisposeAsync();
        await _redis.DisposeAsync();
    }

    /// <summary>The first two messages of a stream, as the page shows them.</summary>
    private static string Messages(ChildProcess terminal) =>
        string.Join(
            '\n',
            terminal
                .Lines.SkipWhile(line => !line.StartsWith("event: dmb:broadcast", StringComparison.Ordinal))
                .Where(line => MessageLine().IsMatch(line))
                .Take(7)
        );

    /// <summary>Waits until tee, which writes to the terminal first, wrote this to its file as well.</summary>
    private async Task WrittenAsync(string file, string text)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (
            !(await File.ReadAllTextAsync(_terminals.PathOf(file), patience.Token)).Contains(
                text,
                StringComparison.Ordinal
            )
        )
        {
            await Task.Yield();
        }
    }

    [GeneratedRegex("^($|event: |data: |id: )")]
    private static partial Regex MessageLine();

    [GeneratedRegex("\"bkid\":\"([0-9a-f]{32})\"")]
    private static partial Regex Bkid();
}
