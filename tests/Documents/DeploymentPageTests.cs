namespace Dmb.Tests.Documents;

/// <summary>The publisher of docs/deployment.md, typed as it stands: only ports and the program's path differ.</summary>
public sealed class DeploymentPageTests
{
    [Fact]
    public async Task A_publisher_that_is_started_for_a_push_reaches_the_node_with_sockets()
    {
        var page = await DocumentPage.ReadAsync("docs/deployment.md", "## A publisher that scales to zero");
        await using var terminals = new Terminals();
        var (port, publisher) = (RedisServer.FreePort(), RedisServer.FreePort());
        string[] commands =
        [
            .. page.Commands(port, RedisServer.FreePort())
                .Select(command =>
                    command
                        .Replace("8083", $"{publisher}", StringComparison.Ordinal)
                        .Replace("out/Dmb", NodeProcess.CommandLine, StringComparison.Ordinal)
                ),
        ];
        Assert.Equal(6, commands.Length);
        await terminals.Type("exec " + commands[0]).LineAsync("Ready to accept connections");
        await terminals.Type("exec env " + commands[1]).LineAsync(" listens on ");
        var listener = terminals.Type(commands[2]);
        await listener.LineAsync("id: ");

        // Scaled to zero and up again.
        for (var start = 1; start <= 2; start++)
        {
            var instance = terminals.Type("exec env " + commands[3]);
            await instance.LineAsync(" listens on ");
            string[] answers = [.. await terminals.RunAsync(commands[4]), .. await terminals.RunAsync(commands[5])];
            Assert.Equal(page.Blocks("json").Select(DocumentPage.Masked), answers.Select(DocumentPage.Masked));
            await listener.LineAsync("data: {\"text\"", start);
            instance.Interrupt();
            Assert.Equal(0, await instance.EndAsync());
        }

        foreach (var line in page.Blocks("text").Single().Split('\n'))
        {
            Assert.Equal(2, listener.Lines.Count(other => other == line));
        }
    }
}
