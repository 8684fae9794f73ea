namespace Dmb.Tests.SocketIo;

/// <summary>The clients that pages and services have, over each transport.</summary>
public sealed class ClientTests
{
    [Theory]
    [InlineData("client1", "polling")]
    [InlineData("client1", "websocket")]
    [InlineData("client1", "upgrade")]
    [InlineData("client2", "polling")]
    [InlineData("client2", "websocket")]
    [InlineData("client2", "upgrade")]
    [InlineData("client4", "polling")]
    [InlineData("client4", "websocket")]
    [InlineData("client4", "upgrade")]
    public async Task A_client_joins_publishes_and_gets_answers(string version, string transport)
    {
        await using var node = await Node.StartAsync();

        var output = await NodeClients.RunScriptAsync(
            "scenario.js",
            $"http://127.0.0.1:{node.Port}",
            version,
            transport
        );

        Assert.Equal("done", output);
        Assert.Empty(node.Warnings);
    }

    [Theory]
    [InlineData("client1", "websocket")]
    [InlineData("client1", "polling")]
    [InlineData("client2", "websocket")]
    [InlineData("client4", "websocket")]
    [InlineData("client4", "polling")]
    public async Task A_client_sends_every_event_and_each_has_its_effect(string version, string transport)
    {
        await using var node = await Node.StartAsync();

        var output = await NodeClients.RunScriptAsync("events.js", $"http://127.0.0.1:{node.Port}", version, transport);

        Assert.Equal("done", output);
        Assert.Empty(node.Warnings);
    }
}
