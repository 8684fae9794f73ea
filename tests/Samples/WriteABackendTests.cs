using System.Text.RegularExpressions;

namespace Dmb.Tests.Samples;

/// <summary>README's section on writing a backend, typed as it stands: only the ports are free ones.</summary>
public sealed partial class WriteABackendTests : IAsyncLifetime
{
    private const string Uuid = "019aa8a5-0f54-7d5e-b7b8-6f3d1e9a2c41";
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dmb-readme");
    private readonly List<ChildProcess> _terminals = [];
    private RedisServer _redis = null!;
    private NodeProcess _node = null!;
    private string[] _commands = [];
    private string[] _texts = [];

    public async ValueTask InitializeAsync()
    {
        _redis = await RedisServer.StartAsync();
        _node = await NodeProcess.StartAsync([("REDIS_HOST", "localhost"), ("REDIS_PORT", $"{_redis.Port}"), ("DMB_HISTORY_SIZE", "100"), .. NodeProcess.Patient]);
        await _node.BecomesAsync("ready");

        var readme = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "README.md"));
        var start = readme.IndexOf("### Write a backend", StringComparison.Ordinal);
        var section = readme[start..readme.IndexOf("### Test it", StringComparison.Ordinal)];
        var typed = section.Replace("6380", $"{_redis.Port}", StringComparison.Ordinal).Replace("8082", $"{_node.Url.Port}", StringComparison.Ordinal);
        _commands = Blocks(typed, "sh");
        _texts = Blocks(section, "text");
    }

    [Fact]
    public async Task A_backend_is_written_with_redis_cli()
    {
        Assert.StartsWith("redis-server --port", _commands[0], StringComparison.Ordinal);
        Assert.EndsWith("dotnet run -c Release", _commands[1], StringComparison.Ordinal);
        var ear = Type(_commands[2]);
        await ear.LineAsync("2");
        await RunAsync(_commands[3]);
        var ack = await ear.LineAsync("bk_connect_ack");
        var bkid = Bkid().Match(ack).Groups[1].Value;
        Assert.Equal(_texts[0].Split('\n')[^1].Replace("5a1f…", bkid, StringComparison.Ordinal), ack);
        await WrittenAsync("billing.log", bkid);

        var alice = Type(_commands[4]);
        await alice.LineAsync(": connected");
        Assert.Contains("\"user\":\"alice\"", await ear.LineAsync("\"type\":\"connect\""), StringComparison.Ordinal);
        await RunAsync(_commands[5]);
        await alice.LineAsync("id: ", 3);
        Assert.Equal(Known(_texts[1]), Known(Messages(alice)));

        await using var bob = await _node.ConnectAsync();
        foreach (var frame in _texts[2].Split('\n'))
        {
            await bob.SendAsync(frame.Replace("5a1f…", bkid, StringComparison.Ordinal));
        }

        await ear.LineAsync("I have paid twice");
        var knowing = _commands[5].Split('\n')[0] + '\n';
        Assert.Contains(await RunAsync(knowing + _commands[6]), line => line.Contains("I have paid twice", StringComparison.Ordinal));
        await RunAsync(knowing + _commands[7]);
        await alice.LineAsync("event: dmb:disconnected");
        Assert.Equal("", await _redis.CommandAsync("KEYS", $"*{bkid}*"));
    }

    [Fact]
    public async Task A_backend_is_written_with_curl()
    {
        var bkid = Assert.Single(await RunAsync(_commands[8]));
        Assert.Matches("^[0-9a-f]{32}$", bkid);
        var ear = Type(_commands[9]);
        await ear.LineAsync(": connected");
        var alice = Type(_commands[10]);
        await ear.LineAsync("\"type\":\"connect\"");
        var answers = string.Join('\n', await RunAsync(_commands[11]));
        Assert.Contains("""{"type":"bk_message_ack","ok":true,"nodes":1}""", answers, StringComparison.Ordinal);
        Assert.Contains("""{"type":"bk_message_ack","id":"m1","ok":true,"nodes":1}""", answers, StringComparison.Ordinal);
        Assert.Contains($$"""{"type":"connect","bkid":"{{bkid}}","user":"alice",""", answers, StringComparison.Ordinal);
        await alice.LineAsync("event: dmb:disconnected");
        Assert.Equal(Known(_texts[1]), Known(Messages(alice)));
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
            while (await backend.ReadAsync() is var answer && !answer.StartsWith($$"""{"ack":{{i + 1}},"ok":true,""", StringComparison.Ordinal))
            {
                Assert.DoesNotContain("\"ok\":false", answer, StringComparison.Ordinal);
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var terminal in _terminals)
        {
            await terminal.DisposeAsync();
        }

        await _node.DisposeAsync();
        await _redis.DisposeAsync();
        _directory.Delete(recursive: true);
    }

    private static string[] Blocks(string section, string kind) =>
        [.. Block().Matches(section).Where(block => block.Groups[1].Value == kind).Select(block => block.Groups[2].Value)];

    /// <summary>A text whose ids, of messages, of backends and of the lives of counts, are all the same ones.</summary>
    private static string Known(string text) => Epoch().Replace(Hexadecimal().Replace(MessageId().Replace(text.Replace("%20", " ", StringComparison.Ordinal), Uuid), "5a1f…"), "=k3f9:");

    /// <summary>The first two messages of a stream, as README shows them.</summary>
    private static string Messages(ChildProcess terminal) => string.Join('\n', terminal.Lines
        .SkipWhile(line => !line.StartsWith("event: dmb:broadcast", StringComparison.Ordinal))
        .Where(line => MessageLine().IsMatch(line))
        .Take(7));

    private ChildProcess Type(string command)
    {
        var terminal = ChildProcess.Start("bash", ["-c", command], _directory.FullName);
        _terminals.Add(terminal);
        return terminal;
    }

    /// <summary>Types what ends by itself, and gives what it says.</summary>
    private async Task<string[]> RunAsync(string command)
    {
        var terminal = Type("set -eo pipefail\n" + command);
        var code = await terminal.EndAsync();
        Assert.True(code == 0, $"{command}\nended with {code}:\n{string.Join('\n', terminal.Lines)}");
        return terminal.Lines;
    }

    /// <summary>Waits until tee, which writes to the terminal first, wrote this to its file as well.</summary>
    private async Task WrittenAsync(string file, string text)
    {
        using var patience = new CancellationTokenSource(Node.Patience);
        while (!(await File.ReadAllTextAsync(Path.Combine(_directory.FullName, file), patience.Token)).Contains(text, StringComparison.Ordinal))
        {
            await Task.Yield();
        }
    }

    [GeneratedRegex("```(\\w+)\n(.*?)\n```", RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex("^($|event: |data: |id: )")]
    private static partial Regex MessageLine();

    [GeneratedRegex("\"bkid\":\"([0-9a-f]{32})\"")]
    private static partial Regex Bkid();

    [GeneratedRegex("[0-9a-f]{32}")]
    private static partial Regex Hexadecimal();

    [GeneratedRegex("=[0-9a-z]{4,6}:")]
    private static partial Regex Epoch();

    [GeneratedRegex("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")]
    private static partial Regex MessageId();
}
