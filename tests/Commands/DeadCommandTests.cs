using System.Text.Json;
using Dmb.Tests.Webhooks;

namespace Dmb.Tests.Commands;

/// <summary><c>dmb dead</c> against a node whose webhook refuses what it gets.</summary>
public sealed class DeadCommandTests : IAsyncLifetime
{
    private NodeProcess _node = null!;
    private Receiver _receiver = null!;
    private TestHook _hook = null!;
    private bool _isWell;

    public async ValueTask InitializeAsync()
    {
        _node = await NodeProcess.StartAsync(
            ("REDIS_HOST", "none"),
            ("DMB_KEYS", $"ops:{CommandTests.Key}:admin"),
            ("DMB_WEBHOOK_PRIVATE", "allow")
        );
        _node.Http.DefaultRequestHeaders.Add("X-Api-Key", CommandTests.Key);
        _receiver = await Receiver.StartAsync(
            (context, _) =>
            {
                context.Response.StatusCode = Volatile.Read(ref _isWell) ? 200 : 422;
                return Task.CompletedTask;
            }
        );
        _hook = await TestHook.RegisterAsync(_node.Http, _receiver.Url, "\"events\":[\"call\"]");
    }

    public async ValueTask DisposeAsync()
    {
        await _node.DisposeAsync();
        await _receiver.DisposeAsync();
    }

    [Fact]
    public async Task Dead_letters_are_listed_by_reason_and_hook()
    {
        await DieAsync(2);
        var all = await CommandResult.RunAsync(_node, "dead");
        Assert.Equal((0, 0), (all.Code, all.Errors.Length));
        Assert.All(all.Output, line =>
            Assert.Equal(
                ("status", _hook.Id, "-", "call", "calls", "1", "422 UnprocessableEntity"),
                line.Split('\t')[2..] is [var reason, var hook, var channel, var name, var room, var tries, var why]
                    ? (reason, hook, channel, name, room, tries, why)
                    : default
            )
        );
        Assert.Equal(2, all.Output.Length);

        var json = await CommandResult.RunAsync(_node, "dead", "--reason", "status", "--hook", _hook.Id, "--json");
        Assert.Equal(
            [1, 0],
            json.Output.Select(line => JsonElement.Parse(line).GetProperty("data").GetProperty("n").GetInt32())
        );
        foreach (
            var filter in (string[][])
                [
                    ["--reason", "timeout"],
                    ["--hook", "none"],
                ]
        )
        {
            var none = await CommandResult.RunAsync(_node, ["dead", .. filter]);
            Assert.Equal((0, 0, 0), (none.Code, none.Output.Length, none.Errors.Length));
        }
    }

    [Fact]
    public async Task One_dead_letter_is_delivered_again_or_dropped_by_its_id()
    {
        await DieAsync(2);
        var ids = (await CommandResult.RunAsync(_node, "dead")).Output.Select(line => line.Split('\t')[0]).ToArray();
        Volatile.Write(ref _isWell, true);
        var replayed = await CommandResult.RunAsync(_node, "dead", "replay", ids[0]);
        Assert.Equal((0, 0, 0), (replayed.Code, replayed.Output.Length, replayed.Errors.Length));
        Assert.Equal(["""{"n":1}"""], await _receiver.NextAsync(1));
        var dropped = await CommandResult.RunAsync(_node, "dead", "drop", ids[1]);
        Assert.Equal((0, 0, 0), (dropped.Code, dropped.Output.Length, dropped.Errors.Length));
        Assert.Empty((await CommandResult.RunAsync(_node, "dead")).Output);

        foreach (var change in (string[])["replay", "drop"])
        {
            var gone = await CommandResult.RunAsync(_node, "dead", change, ids[0]);
            Assert.Equal((1, 0), (gone.Code, gone.Output.Length));
            Assert.StartsWith("404 unknown_letter", Assert.Single(gone.Errors), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task All_dead_letters_of_a_filter_are_delivered_again_or_dropped()
    {
        await DieAsync(3);
        var none = await CommandResult.RunAsync(_node, "dead", "replay", "--all", "--reason", "timeout");
        Assert.Equal((0, """{"replayed":0}"""), (none.Code, Assert.Single(none.Output)));
        Volatile.Write(ref _isWell, true);
        var all = await CommandResult.RunAsync(_node, "dead", "replay", "--all", "--hook", _hook.Id);
        Assert.Equal((0, """{"replayed":3}"""), (all.Code, Assert.Single(all.Output)));
        Assert.Equal(["""{"n":0}""", """{"n":1}""", """{"n":2}"""], await _receiver.NextAsync(3));

        Volatile.Write(ref _isWell, false);
        await DieAsync(2);
        var dropped = await CommandResult.RunAsync(_node, "dead", "drop", "--all", "--reason", "status");
        Assert.Equal((0, """{"deleted":2}"""), (dropped.Code, Assert.Single(dropped.Output)));
    }

    [Theory]
    [InlineData("replay")]
    [InlineData("drop")]
    [InlineData("drop", "1", "--all")]
    [InlineData("replay", "1", "--reason", "status")]
    [InlineData("drop", "--hook", "1")]
    [InlineData("bury", "1")]
    public async Task A_change_of_neither_one_nor_all_is_a_wrong_command_line(params string[] arguments)
    {
        var usage = await CommandResult.RunAsync(_node, ["dead", .. arguments]);
        Assert.Equal((2, 0), (usage.Code, usage.Output.Length));
        Assert.NotEmpty(usage.Errors);
    }

    [Fact]
    public async Task Dead_letters_are_for_the_scope_admin()
    {
        var denied = await CommandResult.RunAsync(["dead"], ("DMB_URL", _node.Url.ToString()), ("DMB_KEY", "wrong"));
        Assert.Equal((1, 0), (denied.Code, denied.Output.Length));
        Assert.StartsWith("401 unauthenticated", Assert.Single(denied.Errors), StringComparison.Ordinal);
    }

    /// <summary>Publishes messages that the receiver refuses, and waits until they are dead letters.</summary>
    private async Task DieAsync(int count)
    {
        for (var i = 0; i < count; i++)
        {
            await _node.NotifyAsync("call", $$"""{"n":{{i}}}""");
        }

        await _receiver.NextAsync(count);
        using var patience = new CancellationTokenSource(Node.Patience);
        while ((await _node.GetAsync("/dead")).GetProperty("items").GetArrayLength() < count)
        {
            Assert.False(patience.IsCancellationRequested);
        }
    }
}
