namespace Dmb.Tests.SocketIo;

/// <summary>The real client 4.8.4 recovers on another node after its own was killed.</summary>
public sealed class RecoveryAfterDeathTests
{
    private const int Clients = 100;
    private const int Messages = 60;
    private const int KillAt = 20;

    [Fact]
    public async Task A_node_is_killed_and_its_hundred_clients_lose_nothing_and_get_nothing_twice()
    {
        await using var redis = await RedisServer.StartAsync();
        (string, string)[] settings =
        [
            ("REDIS_HOST", "localhost"),
            ("REDIS_PORT", redis.Port.ToString(System.Globalization.CultureInfo.InvariantCulture)),
            ("DMB_HISTORY_SIZE", "1000"),
            .. NodeProcess.Patient,
        ];
        await using var first = await NodeProcess.StartReadyAsync(settings);
        await using var second = await NodeProcess.StartReadyAsync(settings);
        var folder = await NpmFolder.OpenAsync("tests/SocketIo/clients");
        await using var script = ChildProcess.Start(
            "node",
            ["recover.js", $"{first.Url}", $"{second.Url}", $"{Clients}", $"{Messages - 1}"],
            folder.Path
        );
        await script.LineAsync("joined");

        for (var n = 0; n < Messages; n++)
        {
            if (n == KillAt)
            {
                await first.KillAsync();
            }

            await second.NotifyAsync("trace", $$"""{"_in":["all:1"],"room":"all","n":{{n}}}""");
            await Task.WhenAll(
                Enumerable
                    .Range(0, Clients)
                    .Select(i => second.NotifyAsync("trace", $$"""{"_in":["own:{{i}}"],"room":"own","n":{{n}}}"""))
            );
        }

        Assert.Equal($$"""{"recovered":{{Clients}},"wrong":[]}""", await script.LineAsync("{"));
    }
}
