using Dmb.Tests.Deploy;

namespace Dmb.Tests.Documents;

/// <summary>docs/sip.md, typed as it stands: only the ports and Kamailio's folder are others.</summary>
public sealed class SipPageTests : IAsyncLifetime
{
    private readonly Terminals _terminals = new();
    private NodeProcess _node = null!;

    public async ValueTask InitializeAsync() => _node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));

    [Fact]
    public async Task A_call_to_a_registered_telephone_is_seen_from_ringing_to_its_record()
    {
        var page = await DocumentPage.ReadAsync("docs/sip.md", "## A ringing telephone on the console");
        var commands = page.Commands(_node.Url.Port);
        Assert.Equal(5, commands.Length);
        var needed = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "test.sh"));
        Assert.All(commands[0].Split(' ')[4..], name => Assert.Contains(name, needed, StringComparison.Ordinal));

        var folder = Directory.CreateDirectory(_terminals.PathOf("etc")).FullName;
        var copy = commands[1].Split(" && ");
        Assert.Equal("systemctl restart kamailio", copy[1]);
        await _terminals.RunAsync(
            copy[0]
                .Replace("/etc/kamailio", folder, StringComparison.Ordinal)
                .Replace("/usr/share/dmb", Path.Combine(Repository.Root, "deploy"), StringComparison.Ordinal)
        );
        await using var kamailio = await Kamailio.StartAsync(folder, _node.Url.Port);

        var listener = _terminals.Type(
            $$"""
            dmb() { {{NodeProcess.CommandLine}} "$@"; }
            export DMB_URL={{_node.Url}}
            {{commands[2]}}
            """
        );
        while ((await _node.GetAsync("/rooms/calls")).GetProperty("sessions").GetInt32() == 0)
        {
            await Task.Yield();
        }

        var answering = RedisServer.FreePort();
        string Typed(string command) =>
            command
                .Replace("/etc/kamailio", folder, StringComparison.Ordinal)
                .Replace("5060", $"{kamailio.Port}", StringComparison.Ordinal)
                .Replace("5070", $"{answering}", StringComparison.Ordinal);

        using var locations = await EventReader.OpenAsync(_node.Http, new Uri(_node.Url, "/events?room=endpoint:1234"));
        Assert.Equal(": connected", await locations.ReadAsync());
        var telephone = _terminals.RunAsync(Typed(commands[3]));
        Assert.Contains("\"registered\"", await locations.ReadAsync(), StringComparison.Ordinal);
        await _terminals.RunAsync(Typed(commands[4]));
        await telephone;
        foreach (var state in new[] { "calling", "ringing", "answered", "ended" })
        {
            Assert.Contains(
                "\"to\":\"1234\"",
                await listener.LineAsync($"\"state\":\"{state}\""),
                StringComparison.Ordinal
            );
        }

        Assert.Contains("1234", await listener.LineAsync("\"duration\""), StringComparison.Ordinal);
    }

    public async ValueTask DisposeAsync()
    {
        await _terminals.DisposeAsync();
        await _node.DisposeAsync();
    }
}
