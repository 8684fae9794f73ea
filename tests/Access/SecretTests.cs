using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Access;

/// <summary>docs/protocol.md §10: what is secret is said nowhere, however much the node is told to log.</summary>
public sealed class SecretTests
{
    private const string Wrong = "wrong-secret-that-a-client-shows";
    private const string OfFile = "secret-of-the-key-of-the-file";
    private const string Password = "password-of-the-redis-server";

    /// <summary>What was answered, headers and frames included.</summary>
    private readonly ConcurrentQueue<string> _answers = new();

    /// <summary>All that must not occur anywhere.</summary>
    private readonly ConcurrentDictionary<string, bool> _secrets = new();

    [Theory]
    [InlineData("Default")]
    [InlineData(
        "Default",
        "Microsoft",
        "System",
        "Microsoft.AspNetCore",
        "Microsoft.AspNetCore.Hosting",
        "Microsoft.AspNetCore.Hosting.Diagnostics",
        "Microsoft.AspNetCore.Server.Kestrel"
    )]
    public async Task A_secret_is_in_no_log_no_metric_no_trace_and_no_answer(params string[] categories)
    {
        await using var file = await KeysFile.WriteAsync($"filed:{OfFile}:admin");
        await using var redis = await RedisServer.StartAsync("--requirepass", Password);
        await using var collector = await OtlpReceiver.StartAsync();
        (string, string)[] levels =
        [
            .. categories.Select(category => ($"Logging__LogLevel__{category}", "Trace")),
            .. categories.Select(category => ($"Logging__Console__LogLevel__{category}", "Trace")),
        ];
        await using var node = await NodeProcess.StartReadyAsync([
            ("DMB_KEYS", GuardedNode.Keys),
            ("DMB_KEYS_FILE", file.Path),
            ("DMB_JWT_SECRET", Token.Secret),
            ("DMB_TOKEN_IN_QUERY", "true"),
            ("DMB_OUTAGE", "local"),
            ("REDIS_URL", $"redis://:{Password}@127.0.0.1:{redis.Port}"),
            .. collector.Settings("secrets"),
            .. levels,
            .. NodeProcess.Patient,
        ]);
        foreach (
            var secret in new[]
            {
                Wrong,
                OfFile,
                Password,
                Token.Secret,
                GuardedNode.SecretOf("admin"),
                GuardedNode.SecretOf("publish"),
                GuardedNode.SecretOf("read"),
            }
        )
        {
            _secrets[secret] = true;
        }

        await AskAsync(node);
        await ConnectAsync(node);
        await file.SetAsync($"filed:{Wrong}:nonsense");
        await node.LogAsync("Cannot load the keys");
        await file.SetAsync($"filed:{Wrong}:admin");
        await node.LogAsync("Reloaded the keys");
        await redis.KillAsync();
        await node.BecomesAsync("degraded");
        await AskAsync(node);
        Assert.Equal(0, await node.TerminateAsync());

        Assert.Contains(node.Log, line =>
            line.Contains(" dbug: ", StringComparison.Ordinal) || line.Contains(" trce: ", StringComparison.Ordinal)
        );
        Assert.NotEmpty(collector.Spans);
        foreach (var secret in _secrets.Keys)
        {
            Assert.DoesNotContain(node.Log, line => line.Contains(secret, StringComparison.OrdinalIgnoreCase));
            Assert.DoesNotContain(collector.Bodies, body => body.Contains(secret, StringComparison.OrdinalIgnoreCase));
            Assert.DoesNotContain(_answers, answer => answer.Contains(secret, StringComparison.OrdinalIgnoreCase));
        }
    }

    /// <summary>Requests of all kinds, good and bad.</summary>
    private async Task AskAsync(NodeProcess node)
    {
        string[] shown = [.. Tokens(), Wrong, OfFile, GuardedNode.SecretOf("admin"), GuardedNode.SecretOf("read")];
        foreach (var secret in shown)
        {
            foreach (
                var header in new[]
                {
                    $"Authorization: Bearer {secret}",
                    $"X-Api-Key: {secret}",
                    $"Authorization: {Basic("admin", secret)}",
                    $"Authorization: {secret}",
                    $"Cookie: token={secret}",
                }
            )
            {
                await AskAsync(node, "POST /_notify/call", header);
                await AskAsync(
                    node,
                    "GET /events?room=support",
                    "Accept: text/event-stream",
                    header,
                    "Last-Event-ID: nonsense"
                );
                await AskAsync(node, "GET /ws", header);
            }

            foreach (var name in new[] { "access_token", "api_key", "key", "token" })
            {
                await AskAsync(node, $"POST /_notify/call?{name}={secret}");
                await AskAsync(node, $"GET /rooms/support?{name}={secret}");
                await AskAsync(node, $"GET /ws?{name}={secret}");
                await AskAsync(node, $"GET /nowhere?{name}={secret}");
                await AskAsync(node, $"GET /?{name}={secret}");
                await AskAsync(node, $"PUT /_notify/call?{name}={secret}");
            }
        }

        await AskAsync(node, "GET /metrics", $"X-Api-Key: {GuardedNode.SecretOf("admin")}");
        await AskAsync(node, "GET /readyz");
        await AskAsync(node, "GET /register", $"Authorization: {Basic("admin", GuardedNode.SecretOf("admin"))}");
    }

    private async Task AskAsync(NodeProcess node, string request, params string[] headers)
    {
        using var http = await RawHttp.ConnectAsync(node.Url.Port);
        await http.SendAsync(
            $"{request} HTTP/1.1\nHost: localhost\nContent-Length: 1\n{string.Join('\n', headers)}\nConnection: close",
            (byte)'1'
        );
        if (request == "GET /events?room=support")
        {
            // One that is let in has no end.
            _answers.Enqueue(await http.ReadLineAsync());
            return;
        }

        _answers.Enqueue(await http.ReadToEndAsync());
    }

    /// <summary>Sockets of all kinds, and what is said on them.</summary>
    private async Task ConnectAsync(NodeProcess node)
    {
        string[] shown = [.. Tokens(), Wrong, OfFile, GuardedNode.SecretOf("admin"), GuardedNode.SecretOf("read")];
        foreach (var secret in shown)
        {
            await TalkAsync(node, "/ws", ("Sec-WebSocket-Protocol", $"dmb.v1, bearer.{secret}"));
            await TalkAsync(node, "/ws", ("Authorization", $"Bearer {secret}"));
            await TalkAsync(node, $"/ws?access_token={secret}");
            await TalkAsync(node, $"/ws?trace=1&access_token={secret}", ("Origin", "http://evil.example"));
            foreach (
                var frame in new[]
                {
                    "{\"event\":\"auth\",\"data\":{\"token\":$},\"ack\":1}",
                    "{\"event\":\"auth\",\"data\":$,\"ack\":1}",
                    "{\"event\":\"auth\",\"data\":{\"token\":[$]}}",
                    "{\"event\":\"auth\",\"data\":{\"token\":$",
                }
            )
            {
                await using var client = await node.ConnectAsync();
                await client.SendAsync(frame.Replace("$", JsonSerializer.Serialize(secret), StringComparison.Ordinal));
                await EndAsync(client);
            }
        }
    }

    private async Task TalkAsync(NodeProcess node, string path, params (string, string)[] headers)
    {
        await using var client = await TestClient.ConnectAsync(new Uri(node.Url, path), headers);
        _answers.Enqueue(client.Header("Sec-WebSocket-Protocol") ?? "");
        await client.SendAsync("""{"event":"subscribe","data":"support","ack":1}""");
        await client.SendAsync("""{"event":"auth","data":{"token":"wrong-secret-that-a-client-shows"},"ack":2}""");
        await EndAsync(client);
    }

    /// <summary>A binary frame is the end of any session; what came before is kept.</summary>
    private async Task EndAsync(TestClient client)
    {
        await client.SendFrameAsync(Frame.Binary, [1]);
        _answers.Enqueue((await client.ReadCloseAsync()).Reason);
        foreach (var text in await client.ReadAllAsync())
        {
            _answers.Enqueue(text);
        }
    }

    /// <summary>A token for each way to be good or bad.</summary>
    private string[] Tokens()
    {
        var now = TimeProvider.System.GetUtcNow();
        string[] tokens =
        [
            Token.Of("ann", now.AddHours(1), "\"roles\":[\"endpoint:1234\"]"),
            Token.Of("root", now.AddHours(1), "\"admin\":true"),
            Token.Of("ann", now.AddHours(-1)),
            Token.Of("", now.AddHours(1)),
            Token.WithClaims("\"sub\":\"ann\""),
            Token.WithClaims("\"sub\":\"ann\",\"exp\":\"soon\""),
            Token.WithClaims("{"),
            Token.Make("""{"alg":"HS512"}""", ["\"sub\":\"ann\""], Token.Hs256),
            Token.Make("""{"alg":"none"}""", ["\"sub\":\"ann\""], Token.Hs256),
            Token.Make("""{"alg":"HS256"}""", ["\"sub\":\"ann\""], bytes => Token.Hs256([.. bytes, 1])),
            Token.Make("{", ["\"sub\":\"ann\""], Token.Hs256),
        ];
        foreach (var token in tokens)
        {
            _secrets[token] = true;
            _secrets[token.Split('.')[2]] = true;
        }

        return tokens;
    }

    private string Basic(string name, string secret)
    {
        var shown = Convert.ToBase64String(Encoding.UTF8.GetBytes($"{name}:{secret}"));
        _secrets[shown] = true;
        return $"Basic {shown}";
    }
}
