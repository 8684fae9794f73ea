using System.Text;

namespace Dmb.Tests.Sockets;

/// <summary>What comes from sockets may be anything: no other client notices.</summary>
public sealed class HostileClientTests
{
    private static readonly string[] Frames =
    [
        """{"event":"subscribe","data":["a:1","b:2"],"ack":1}""",
        """{"event":"configure","data":{"calls":true},"ack":"x"}""",
        """{"event":"call","data":{"_in":["a:1"],"endpoint":"\u0031"}}""",
        """{"event":"register","data":{"event":"mine","default_room":"calls"}}""",
    ];

    [Fact]
    public async Task Random_bytes_hurt_nobody_else()
    {
        await using var node = await Node.StartAsync();
        await using var other = await node.JoinAsync("support");
        for (var seed = 1; seed <= 200; seed++)
        {
            var random = new Random(seed);
            var bytes = new byte[random.Next(1, 5000)];
            random.NextBytes(bytes);
            await AttackAsync(node, bytes);
        }

        await node.NotifyAsync("report_dev", "1");
        Assert.Equal("1", await other.ReadDataAsync("report_dev"));
        await node.UntilSessionsInAsync("public", 1);
    }

    [Fact]
    public async Task Frames_with_random_mistakes_hurt_nobody_else()
    {
        await using var node = await Node.StartAsync();
        await using var other = await node.JoinAsync("support");
        for (var seed = 1; seed <= 200; seed++)
        {
            var random = new Random(seed);
            var bytes = new List<byte>();
            for (var i = 0; i < 8; i++)
            {
                var text = Encoding.UTF8.GetBytes(Frames[random.Next(Frames.Length)]);
                text[random.Next(text.Length)] = (byte)random.Next(32, 128);
                var frame = TestClient.Encode(Frame.Text, text[..random.Next(text.Length / 2, text.Length + 1)]);
                frame[random.Next(6) * random.Next(2)] ^= (byte)(1 << random.Next(8));
                bytes.AddRange(frame);
            }

            await AttackAsync(node, [.. bytes]);
        }

        await node.NotifyAsync("report_dev", "1");
        Assert.Equal("1", await other.ReadDataAsync("report_dev"));
        await node.UntilSessionsInAsync("public", 1);
    }

    private static async Task AttackAsync(Node node, byte[] bytes)
    {
        await using var client = await node.ConnectAsync();
        try
        {
            foreach (var part in bytes.Chunk(1000))
            {
                await client.SendBytesAsync(part);
            }

            client.EndSending();
        }
        catch (IOException)
        {
            // The node closed it before all was sent.
        }

        await client.ReadEndAsync();
    }
}
