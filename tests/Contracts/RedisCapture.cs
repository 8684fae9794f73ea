namespace Dmb.Tests.Contracts;

/// <summary>All that is published in a Redis, read as it comes.</summary>
internal sealed class RedisCapture : IDisposable
{
    private readonly RedisClient _client;
    private readonly List<(string Channel, string Body)> _messages = [];

    private RedisCapture(RedisClient client) => _client = client;

    /// <summary>What was read so far.</summary>
    public IReadOnlyList<(string Channel, string Body)> Messages => _messages;

    public static async Task<RedisCapture> StartAsync(RedisServer redis)
    {
        var client = await redis.OpenAsync();
        await client.CommandAsync("PSUBSCRIBE", "*");
        return new RedisCapture(client);
    }

    /// <summary>Reads on until a message with this in it comes on this channel, and gives it.</summary>
    public async Task<string> ReadAsync(string channel, string part = "")
    {
        while (true)
        {
            if ((await _client.NextAsync()).Split('\n', 4) is ["pmessage", "*", var from, var body])
            {
                _messages.Add((from, body));
                if (from == channel && body.Contains(part, StringComparison.Ordinal))
                {
                    return body;
                }
            }
        }
    }

    public void Dispose() => _client.Dispose();
}
