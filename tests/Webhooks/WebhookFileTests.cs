namespace Dmb.Tests.Webhooks;

/// <summary>DMB_WEBHOOKS_FILE: webhooks that are there from the start.</summary>
public sealed class WebhookFileTests
{
    private const string First = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    private const string Second = "whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    [Fact]
    public async Task The_webhooks_of_a_file_are_registered_and_a_new_secret_signs_beside_the_old_one()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var receiver = await Receiver.StartAsync();
        var file = Path.GetTempFileName();
        try
        {
            foreach (
                var secrets in (string[][])
                    [
                        [First],
                        [Second, First],
                    ]
            )
            {
                await File.WriteAllTextAsync(
                    file,
                    $$"""[{"url":"{{receiver.Url}}","events":["call"],"secret":"{{secrets[0]}}"}]"""
                );
                await using var node = await NodeProcess.StartReadyAsync(
                    ("REDIS_HOST", "127.0.0.1"),
                    ("REDIS_PORT", $"{redis.Port}"),
                    ("DMB_WEBHOOKS_FILE", file)
                );
                Delivery delivery;
                string[] signatures;
                do
                {
                    await node.NotifyAsync("call", "1");
                    if ((await node.GetAsync("/webhooks")).GetProperty("items").GetArrayLength() == 0)
                    {
                        signatures = [];
                        continue;
                    }

                    await node.NotifyAsync("call", "1");
                    delivery = await receiver.NextAsync();
                    signatures = delivery["webhook-signature"].Split(' ');
                    Assert.Equal(TestHook.SignatureOf(delivery, secrets[^1]), signatures[^1]);
                } while (signatures.Length != secrets.Length);

                await node.TerminateAsync();
            }
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Theory]
    [InlineData("{")]
    [InlineData("""[{"url":"http://127.0.0.1/","events":["call"]}]""")]
    [InlineData("""[{"url":"http://127.0.0.1/","events":["call"],"secret":"never-shown"}]""")]
    [InlineData("""[{"url":"nowhere","events":["call"],"secret":"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]""")]
    public async Task A_file_of_another_form_is_one_line_and_exit_code_2(string text)
    {
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, text);
            await using var process = NodeProcess.Run(("REDIS_HOST", "none"), ("DMB_WEBHOOKS_FILE", file));
            Assert.Equal(2, await process.EndAsync());
            var line = Assert.Single(process.Errors);
            Assert.StartsWith($"DMB_WEBHOOKS_FILE: '{file}' is not accepted", line, StringComparison.Ordinal);
            Assert.DoesNotContain("never-shown", line, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }
}
