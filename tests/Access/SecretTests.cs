using System.Text;

namespace Dmb.Tests.Access;

/// <summary>No secret and no token stands in a log, a metric, a trace or an error, however much is logged.</summary>
public sealed class SecretTests
{
    private const string Key = "the-secret-of-a-key-0123456789";
    private const string Password = "the-password-of-redis";

    [Fact]
    public async Task Nothing_secret_is_told_anywhere()
    {
        await using var collector = await OtlpReceiver.StartAsync();
        await using var redis = await RedisServer.StartAsync("--requirepass", Password);
        using var file = new TemporaryFile($"file:{Key}-of-the-file:read\n");
        await using var node = await NodeProcess.StartReadyAsync(
        [
            ("REDIS_URL", $"redis://:{Password}@127.0.0.1:{redis.Port}"), ("DMB_KEYS", $"ops:{Key}:admin"), ("DMB_KEYS_FILE", file.Path), ("DMB_JWT_SECRET", Token.Secret),
            ("DMB_TOKEN_IN_QUERY", "true"), ("Logging__LogLevel__Default", "Trace"), ("Logging__LogLevel__Microsoft", "Trace"), ("Logging__LogLevel__Microsoft.AspNetCore", "Trace"),
            .. collector.Settings("secrets"),
        ]);
        var good = Token.Of("ann", DateTimeOffset.FromUnixTimeSeconds(4_102_444_800), "\"roles\":[\"endpoint:1234\"]");
        var expired = Token.Of("ann", DateTimeOffset.FromUnixTimeSeconds(1));
        var forged = Token.Make("""{"alg":"HS256"}""", ["\"sub\":\"ann\"", "\"exp\":4102444800"], _ => Encoding.ASCII.GetBytes("a forged signature of that length"));
        var wrong = "wrong-" + Key;

        var told = new List<string>();
        foreach (var shown in new[] { Key, Key + "-of-the-file", wrong, good, expired, forged })
        {
            var basic = Convert.ToBase64String(Encoding.UTF8.GetBytes($"ops:{shown}"));
            foreach (var header in new[] { $"Authorization: Bearer {shown}", $"Authorization: Basic {basic}", $"Authorization: {shown}", $"X-Api-Key: {shown}" })
            {
                foreach (var (request, body) in new[] { ("POST /_notify/call", "1"), ("POST /_notify/call", "{"), ("GET /rooms/endpoint:1234", ""), ("GET /nowhere", ""), ("DELETE /register/nothing", "") })
                {
                    told.Add(await AskAsync(node, request, body, header));
                }
            }

            told.Add(await AskAsync(node, $"GET /rooms/endpoint:1234?access_token={shown}", "", "Accept: */*"));
            told.Add(await AskAsync(node, $"GET /metrics?access_token={shown}", "", "Accept: */*"));
            told.AddRange(await TalkAsync(node, $"/ws?access_token={shown}", ("X-Nothing", "1")));
            told.AddRange(await TalkAsync(node, "/ws", ("Authorization", "Bearer " + shown)));
            told.AddRange(await TalkAsync(node, "/ws", ("Sec-WebSocket-Protocol", "dmb.v1, bearer." + shown)));
            told.AddRange(await TalkAsync(node, "/ws", ("X-Nothing", "1"), $$"""{"event":"auth","data":{"token":"{{shown}}"},"ack":1}"""));
        }

        // A file that is broken, and Redis with another password: both are told.
        await File.WriteAllTextAsync(file.Path, $"file:{Key}-of-the-file:everything\n");
        await node.LogAsync("Can't take the keys");
        await redis.CommandAsync("CONFIG", "SET", "requirepass", "another");
        redis.Password = "another";
        await redis.CommandAsync("CLIENT", "KILL", "TYPE", "normal");
        await node.BecomesAsync("degraded");
        told.Add(await AskAsync(node, "GET /readyz", "", "Accept: */*"));
        told.Add(await AskAsync(node, "GET /metrics", "", "X-Api-Key: " + Key));
        await collector.LogAsync("Redis is away");
        await node.TerminateAsync();

        string[] everything = [.. told, .. node.Log, .. collector.Bodies];
        Assert.Contains(everything, text => text.Contains("unauthenticated", StringComparison.Ordinal));
        Assert.Contains(node.Log, line => line.Contains("trce:", StringComparison.Ordinal) || line.Contains("dbug:", StringComparison.Ordinal));
        string[] secrets =
        [
            Key, Password, Token.Secret, Convert.ToBase64String(Encoding.UTF8.GetBytes($"ops:{Key}"))[..^4],
            .. new[] { good, expired, forged }.SelectMany(token => token.Split('.').Skip(1)),
        ];
        foreach (var secret in secrets)
        {
            Assert.DoesNotContain(everything, text => text.Contains(secret, StringComparison.Ordinal));
        }
    }

    private static async Task<string> AskAsync(NodeProcess node, string request, string body, string header)
    {
        using var http = await RawHttp.ConnectAsync(node.Url.Port);
        var answer = await http.AskAsync(request, body, header);
        return $"{answer.Status} {string.Join('\n', answer.Headers)} {answer.Body}";
    }

    /// <summary>All that a socket is told: of its handshake, of what it says and asks, and when it is closed.</summary>
    private static async Task<string[]> TalkAsync(NodeProcess node, string path, (string, string) header, string? first = null)
    {
        await using var client = await TestClient.ConnectAsync(new Uri(node.Url, path), header);
        try
        {
            if (first is not null)
            {
                await client.SendAsync(first);
            }

            await client.AckAsync("subscribe", "\"endpoint:1234\"");
            await client.AckAsync("call", "1");
        }
        catch (EndOfStreamException)
        {
            // Closed for what it showed.
        }
        catch (IOException)
        {
            // The same, seen while sending.
        }

        var frames = new List<string>();
        try
        {
            frames.AddRange(await client.ReadAllAsync());
        }
        catch (IOException)
        {
            // Nothing more to be read.
        }

        return [.. frames, client.Header("Sec-WebSocket-Protocol") ?? ""];
    }
}
