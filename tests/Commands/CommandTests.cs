using System.Net;
using System.Text.Json;

namespace Dmb.Tests.Commands;

/// <summary>The commands of the program, each a process, against a node that asks for keys.</summary>
public sealed class CommandTests(CommandTests.Broker broker) : IClassFixture<CommandTests.Broker>
{
    public const string Key = "never-shown-to-anyone";
    private const string Secret = "a-secret-of-the-tests-with-32-bytes";

    private readonly NodeProcess _node = broker.Node;

    [Fact]
    public async Task Publishing_prints_the_answer_and_says_what_is_not_registered()
    {
        var sent = await CommandResult.RunAsync(_node, "pub", "report_csr", """{"a":1}""", "--key", "pub-1");
        Assert.Equal(0, sent.Code);
        Assert.True(JsonElement.Parse(Assert.Single(sent.Output)).GetProperty("ok").GetBoolean());
        Assert.Empty(sent.Errors);
        var again = await CommandResult.RunAsync(_node, "pub", "report_csr", """{"a":1}""", "--key", "pub-1");
        Assert.True(JsonElement.Parse(again.Output[0]).GetProperty("duplicate").GetBoolean());

        var unknown = await CommandResult.RunAsync(_node, "pub", "no_such_event");
        Assert.Equal((1, """{"ok":false,"ignore":true}"""), (unknown.Code, Assert.Single(unknown.Output)));
        Assert.Contains("not registered", Assert.Single(unknown.Errors), StringComparison.Ordinal);

        var bad = await CommandResult.RunAsync(_node, "pub", "report_csr", "{");
        Assert.Equal(1, bad.Code);
        Assert.StartsWith("400 bad_json:", Assert.Single(bad.Errors), StringComparison.Ordinal);
        Assert.Empty(bad.Output);
    }

    [Fact]
    public async Task Data_is_read_from_stdin()
    {
        await using var process = ChildProcess.Start(
            "bash",
            ["-c", $"echo '{{\"from\":\"stdin\"}}' | {NodeProcess.CommandLine} pub report_csr -"],
            NodeProcess.AppDirectory,
            ("DMB_URL", _node.Url.ToString()),
            ("DMB_KEY", Key)
        );
        Assert.Equal(0, (await CommandResult.OfAsync(process)).Code);
    }

    [Fact]
    public async Task A_subscription_prints_messages_and_resumes_on_a_node_that_comes_back()
    {
        var port = RedisServer.FreePort();
        (string, string)[] settings =
        [
            ("REDIS_HOST", "none"),
            ("DMB_PORT", $"{port}"),
            ("DMB_HISTORY_SIZE", "10"),
            ("DMB_DRAIN_WINDOW", "0"),
        ];
        var node = await NodeProcess.StartAsync(settings);
        await using var process = NodeProcess.RunBare(
            ["sub", "support", "--json", "-n", "2"],
            NodeProcess.AppDirectory,
            ("DMB_URL", node.Url.ToString())
        );
        await process.LineAsync("Waiting for support");
        var id = await node.NotifyAsync("report_csr", """{"n":1}""");
        var first = JsonElement.Parse(await process.LineAsync("\"n\":1"));
        Assert.Equal(
            ("report_csr", """{"n":1}"""),
            (first.GetProperty("event").GetString(), first.GetProperty("data").GetRawText())
        );
        Assert.NotNull(id);

        await node.TerminateAsync();
        await node.DisposeAsync();
        await process.LineAsync("; again in ");
        await using var other = await NodeProcess.StartAsync(settings);
        await process.LineAsync("Waiting again for support");
        await other.NotifyAsync("report_csr", """{"n":2}""");
        await process.LineAsync("\"n\":2");
        Assert.Equal(0, await process.EndAsync());
        Assert.All(CommandResult.OutputOf(process), line => JsonElement.Parse(line));
    }

    [Fact]
    public async Task A_tail_prints_each_reason_and_what_it_means()
    {
        await using var client = await broker.JoinAsync("support");
        await using var process = NodeProcess.RunBare(
            ["tail", "--why", "-n", "7"],
            NodeProcess.AppDirectory,
            ("DMB_URL", _node.Url.ToString()),
            ("DMB_KEY", Key)
        );
        await process.LineAsync("Waiting for publishes");
        await CommandResult.RunAsync(_node, "pub", "report_csr", "1", "--key", "tail-1");
        await CommandResult.RunAsync(_node, "pub", "report_csr", "1", "--key", "tail-1");
        await CommandResult.RunAsync(_node, "pub", "no_such_event");
        await CommandResult.RunAsync(_node, "pub", "lost", """{"_in":"no room"}""");
        await CommandResult.RunAsync(_node, "pub", "call", """{"_in":"endpoint:7"}""");
        await CommandResult.RunAsync(_node, "pub", "report_csr", "{");
        using var hostile = new HttpRequestMessage(HttpMethod.Post, "/_notify");
        hostile.Content = new StringContent("""[{"event":"\u001b[2J","data":1}]""");
        hostile.Headers.Add("X-Api-Key", Key);
        using var refused = await _node.Http.SendAsync(hostile);
        var ended = await CommandResult.OfAsync(process);
        Assert.Equal(0, ended.Code);
        string[] ends =
        [
            "http support sessions=1 ok",
            "duplicate: a message with this key was published before",
            "unknown_event: the event is not registered; register it, or mend its name",
            "no_room: these are no notification rooms: no room",
            "no_subscriber: no session is in these rooms; `dmb sessions --room` shows who is",
            "refused:bad_json: the publish was refused, and its caller was told",
            "refused:bad_name: the publish was refused, and its caller was told",
        ];
        Assert.Equal(ends.Length, ended.Output.Length);
        Assert.Contains(" \uFFFD[2J http ", ended.Output[6], StringComparison.Ordinal);
        Assert.All(ends.Zip(ended.Output), pair => Assert.EndsWith(pair.First, pair.Second, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Rooms_and_sessions_are_listed_and_a_session_is_kicked()
    {
        await using var client = await broker.JoinAsync("endpoint:kick-me");
        var rooms = await CommandResult.RunAsync(_node, "rooms", "endpoint:kick");
        Assert.StartsWith("endpoint:kick-me\t1\t", Assert.Single(rooms.Output), StringComparison.Ordinal);

        var sessions = await CommandResult.RunAsync(_node, "sessions", "--room", "endpoint:kick-me", "--json");
        var id = JsonElement.Parse(Assert.Single(sessions.Output)).GetProperty("session").GetString()!;
        var kicked = await CommandResult.RunAsync(_node, "kick", id, "--reason", "enough");
        Assert.Equal((0, 0, 0), (kicked.Code, kicked.Output.Length, kicked.Errors.Length));
        await Sockets.Expect.ClosedAsync(4001, reconnect: false, client);

        var gone = await CommandResult.RunAsync(_node, "kick", "none");
        Assert.Equal(1, gone.Code);
        Assert.StartsWith("404 unknown_session", Assert.Single(gone.Errors), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_token_that_is_made_opens_its_room_and_no_other()
    {
        var made = await CommandResult.RunAsync(
            ["token", "--sub", "ann", "--role", "endpoint:1234", "--for", "15m"],
            ("DMB_JWT_SECRET", Secret)
        );
        Assert.Equal(0, made.Code);
        var token = Assert.Single(made.Output);
        Assert.Equal(HttpStatusCode.OK, await StatusAsync("/rooms/endpoint:1234", token));
        Assert.Equal(HttpStatusCode.Forbidden, await StatusAsync("/rooms/endpoint:99", token));

        Assert.Equal(2, (await CommandResult.RunAsync(["token", "--sub", "ann"])).Code);
        var bad = await CommandResult.RunAsync(["token", "--sub", "ann", "--for", "soon"], ("DMB_JWT_SECRET", Secret));
        Assert.Equal(2, bad.Code);
    }

    [Fact]
    public async Task A_key_that_is_made_lets_its_program_in()
    {
        var made = await CommandResult.RunAsync(["key", "opensips", "publish"]);
        var line = Assert.Single(made.Output);
        Assert.Matches("^opensips:[0-9a-f]{32}:publish$", line);
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_KEYS", line));
        var sent = await CommandResult.RunAsync(
            ["pub", "report_csr"],
            ("DMB_URL", node.Url.ToString()),
            ("DMB_KEY", line.Split(':')[1])
        );
        Assert.Equal(0, sent.Code);

        var bad = await CommandResult.RunAsync(["key", "opensips", "everything"]);
        Assert.Equal((2, 0), (bad.Code, bad.Output.Length));
    }

    [Theory]
    [InlineData("opensips", "rest_post(\"http://dmb.example:81/_notify/")]
    [InlineData("kamailio", "#!define DMB_URL \"http://dmb.example:81/_notify/\"")]
    [InlineData("nginx", "server dmb.example:81;")]
    [InlineData("systemd", "[Service]")]
    public async Task A_configuration_has_the_address_and_the_key(string what, string part)
    {
        var printed = await CommandResult.RunAsync(
            ["config", what],
            ("DMB_URL", "http://dmb.example:81"),
            ("DMB_KEY", Key)
        );
        Assert.Equal(0, printed.Code);
        Assert.Contains(printed.Output, line => line.Contains(part, StringComparison.Ordinal));
        if (what is "opensips" or "kamailio")
        {
            Assert.Contains(printed.Output, line => line.Contains($"X-Api-Key: {Key}\"", StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("sub support -n 0", "--count: '0' is no number from 1 on.")]
    [InlineData("sub support --jsn", "There is no option --jsn;")]
    [InlineData("kick x --code abc", "--code: 'abc' is no number from 4000 to 4099.")]
    [InlineData("token --sub a --for 99999999d", "--for: '99999999d' is no time")]
    [InlineData("token --sub a --role b*", "--role: 'b*' is no room")]
    [InlineData("pub ", "EVENT is empty.")]
    public async Task A_wrong_argument_is_told_on_stderr_with_exit_code_2(string arguments, string told)
    {
        var refused = await CommandResult.RunAsync(arguments.Split(' '));
        Assert.Equal((2, 0), (refused.Code, refused.Output.Length));
        Assert.StartsWith(told, refused.Errors[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Who_uses_a_command_in_a_wrong_way_is_told_on_stderr()
    {
        var usage = await CommandResult.RunAsync(["kick"]);
        Assert.Equal((2, 0), (usage.Code, usage.Output.Length));
        var config = await CommandResult.RunAsync(["config", "apache"]);
        Assert.Equal((2, 0), (config.Code, config.Output.Length));
        var help = await CommandResult.RunAsync(["sub", "--help"]);
        Assert.Equal(0, help.Code);
        Assert.Contains(help.Output, line => line.Contains("--json", StringComparison.Ordinal));

        var away = await CommandResult.RunAsync(["rooms"], ("DMB_URL", $"http://127.0.0.1:{RedisServer.FreePort()}"));
        Assert.Equal((1, 0), (away.Code, away.Output.Length));
        Assert.Contains("Is the broker running?", Assert.Single(away.Errors), StringComparison.Ordinal);

        var denied = await CommandResult.RunAsync(["rooms"], ("DMB_URL", _node.Url.ToString()), ("DMB_KEY", "wrong"));
        Assert.Equal(1, denied.Code);
        Assert.StartsWith("401 unauthenticated", Assert.Single(denied.Errors), StringComparison.Ordinal);
    }

    private async Task<HttpStatusCode> StatusAsync(string path, string token)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.Add("Authorization", "Bearer " + token);
        using var answer = await _node.Http.SendAsync(request);
        return answer.StatusCode;
    }

    public sealed class Broker : IAsyncLifetime
    {
        public NodeProcess Node { get; private set; } = null!;

        public async ValueTask InitializeAsync() =>
            Node = await NodeProcess.StartAsync(
                ("REDIS_HOST", "none"),
                ("DMB_KEYS", $"ops:{Key}:admin"),
                ("DMB_JWT_SECRET", Secret),
                ("DMB_EVENTS", "report_csr=support,call=,lost=")
            );

        /// <summary>A client in a room, by the admin's key.</summary>
        public async Task<TestClient> JoinAsync(string room)
        {
            var client = await TestClient.ConnectAsync(new Uri(Node.Url, "/ws"), ("Authorization", "Bearer " + Key));
            await client.ReadAsync();
            await client.AckAsync("subscribe", JsonSerializer.Serialize(room));
            return client;
        }

        public ValueTask DisposeAsync() => Node.DisposeAsync();
    }
}
