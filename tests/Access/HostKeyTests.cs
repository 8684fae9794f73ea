using System.Text;
using System.Text.Json;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Access;

/// <summary>docs/protocol.md §10: hosts and their keys, and how these are changed while the node runs.</summary>
public sealed class HostKeyTests(GuardedNode guarded) : IClassFixture<GuardedNode>
{
    private const string Old = "ops:the-old-secret-of-ops:admin";
    private const string New = "ops:the-new-secret-of-ops:admin";
    private const string Other = "other:the-secret-of-other:admin";
    private static readonly TimeSpan Round = TimeSpan.FromSeconds(1);
    private static readonly string Secret = GuardedNode.SecretOf("publish");

    private Node Node => guarded.Node;

    public static TheoryData<string> Shown =>
        new(
            $"Authorization: Bearer {Secret}",
            $"authorization: bearer  {Secret}",
            $"X-Api-Key: {Secret}",
            $"Authorization: {Basic("publish", Secret)}",
            $"Authorization: {Basic("publish", Secret).Replace("Basic", "BASIC", StringComparison.Ordinal)}"
        );

    public static TheoryData<string> Refused =>
        new(
            "Authorization: Bearer wrong-secret-of-the-key",
            $"Authorization: Bearer {Secret}x",
            $"Authorization: Bearer {Secret[..^1]}",
            $"Authorization: Bearer {Secret.ToUpperInvariant()}",
            "Authorization: Bearer",
            "Authorization: Bearer ",
            "Authorization: ",
            "X-Api-Key:",
            "X-Api-Key: wrong",
            $"Authorization: {Secret}",
            $"Authorization: Digest {Secret}",
            $"Authorization: Bearer {new string('a', 20_000)}",
            $"X-Api-Key: {new string('a', 20_000)}",
            $"Authorization: Bearer {Utf8("gehe\u00efm-\u20ac-\U0001f511-gehe\u00efm")}",
            $"X-Api-Key: {Utf8("\u20ac")}",
            $"Authorization: {Basic("register", Secret)}",
            $"Authorization: {Basic("", Secret)}",
            $"Authorization: {Basic("publish", "")}",
            $"Authorization: {Basic("publish", "wrong")}",
            "Authorization: Basic",
            "Authorization: Basic !!!",
            $"Authorization: Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes(Secret))}",
            $"Authorization: Basic {Convert.ToBase64String([0xff, 0xfe, (byte)':', 0x80])}",
            $"Authorization: Bearer {Secret}\nAuthorization: Bearer {Secret}"
        );

    [Theory]
    [MemberData(nameof(Shown))]
    public async Task A_key_is_shown_as_Bearer_as_X_Api_Key_or_as_Basic_with_its_name(string header)
    {
        (await RawHttp.AskAsync(Node, "POST /_notify/call", "1", header)).TakenId();
    }

    [Theory]
    [MemberData(nameof(Refused))]
    public async Task Invalid_credentials_are_refused_before_the_body_arrives_without_a_delivery(string header)
    {
        await using var watching = await guarded.ConnectAsync("admin key");
        Expect.Accepted(await watching.AckAsync("subscribe", "\"calls\""));
        await watching.ReadAllAsync();

        using var http = await RawHttp.ConnectAsync(Node);
        await http.SendAsync($"POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: 100\n{header}");
        var answer = await http.ReadAsync();
        answer.IsProblem(401, "unauthenticated");
        Assert.Equal("Bearer", answer.Headers["WWW-Authenticate"]);
        Assert.True(answer.SaysClose);
        Assert.DoesNotContain(Secret, answer.Body, StringComparison.OrdinalIgnoreCase);

        (await GuardedNode.AskWithAsync(Node, "POST /_notify/call", Secret, "\"good\"")).TakenId();
        Assert.Equal("\"good\"", await watching.ReadDataAsync("call"));
    }

    [Fact]
    public async Task A_secret_may_have_colons_spaces_and_letters_of_any_kind()
    {
        const string odd = "se:cr et:p\u00e4ssw\u00f6rd-\u20ac-\U0001f511";
        await using var node = await Node.StartAsync(("Keys", $"odd:{odd}:publish"));
        foreach (
            var header in new[]
            {
                $"Authorization: Bearer {Utf8(odd)}",
                $"X-Api-Key: {Utf8(odd)}",
                $"Authorization: {Basic("odd", odd)}",
            }
        )
        {
            (await RawHttp.AskAsync(node, "POST /_notify/call", "1", header)).TakenId();
        }

        (
            await RawHttp.AskAsync(
                node,
                "POST /_notify/call",
                "1",
                $"Authorization: {Basic("odd", odd["se:".Length..])}"
            )
        ).IsProblem(401, "unauthenticated");
    }

    [Fact]
    public async Task A_header_of_invalid_UTF_8_is_refused()
    {
        var answer = await RawHttp.AskAsync(
            Node,
            "POST /_notify/call",
            "1",
            "X-Api-Key: p\u00e4ssw\u00f6rd-of-latin-one"
        );
        Assert.Equal(400, answer.Status);
    }

    [Theory]
    [InlineData("false")]
    [InlineData("true")]
    public async Task A_key_in_a_URL_is_refused_with_the_reason(string tokenInQuery)
    {
        await using var node = await GuardedNode.StartAsync(("TokenInQuery", tokenInQuery));
        var answer = await RawHttp.AskAsync(node, $"POST /_notify/call?access_token={Secret}", "1");
        answer.IsProblem(401, "unauthenticated");
        Assert.Contains(
            "No key is taken from a URL",
            answer.Json.GetProperty("detail").GetString(),
            StringComparison.Ordinal
        );
        Assert.DoesNotContain(Secret, answer.Body, StringComparison.Ordinal);

        (await RawHttp.AskAsync(node, $"POST /_notify/call?api_key={Secret}&key={Secret}", "1")).IsProblem(
            401,
            "unauthenticated"
        );
    }

    [Theory]
    [InlineData("Content-Length: 0", "")]
    [InlineData("Content-Length: 7", "{\"a\":1}")]
    [InlineData("Transfer-Encoding: chunked", "7\r\n{\"a\":1}\r\n0\r\n\r\n")]
    public async Task After_a_refused_push_the_next_request_is_answered_or_the_response_closes_the_connection(
        string length,
        string body
    )
    {
        foreach (var header in new[] { "X-Api-Key: wrong", $"X-Api-Key: {GuardedNode.SecretOf("read")}" })
        {
            using var http = await RawHttp.ConnectAsync(Node);
            await http.SendAsync(
                Encoding.ASCII.GetBytes(
                    $"POST /_notify/call HTTP/1.1\r\nHost: localhost\r\n{header}\r\n{length}\r\n\r\n{body}GET "
                        + "/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                )
            );
            var answer = await http.ReadAsync();
            Assert.True(answer.Status is 401 or 403, $"{answer.Status} {answer.Body}");
            Assert.Equal(body.Length > 0, answer.SaysClose);
            if (answer.SaysClose)
            {
                Assert.Equal("", await http.ReadToEndAsync());
            }
            else
            {
                Assert.Equal(200, (await http.ReadAsync()).Status);
            }
        }
    }

    [Fact]
    public async Task A_large_unread_body_does_not_delay_the_response_of_a_refusal()
    {
        var body = new byte[1_000_000];
        using var http = await RawHttp.ConnectAsync(Node);
        await http.SendAsync(
            $"POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: {body.Length}\nX-Api-Key: wrong"
        );
        var answer = await http.ReadAsync();
        answer.IsProblem(401, "unauthenticated");
        await http.SendAsync(body);
        Assert.Equal("", await http.ReadToEndAsync());

        using var waiting = await RawHttp.ConnectAsync(Node);
        await waiting.SendAsync(
            "POST /_notify/call HTTP/1.1\nHost: localhost\nContent-Length: 7\nExpect: 100-continue\nX-Api-Key: wrong"
        );
        (await waiting.ReadAsync()).IsProblem(401, "unauthenticated");
    }

    [Fact]
    public async Task A_key_changed_in_the_file_applies_without_a_restart_and_closes_its_sessions()
    {
        await using var keys = await KeysFile.WriteAsync($"# ours\n{Old}\n\n{Other}\n");
        await using var node = await Node.StartAsync(
            ("KeysFile", keys.Path),
            ("Keys", "fixed:the-fixed-secret-of-env:admin")
        );
        await using var gone = await node.ConnectAsync(("X-Api-Key", SecretOf(Old)));
        await using var stays = await node.ConnectAsync(("X-Api-Key", SecretOf(Other)));
        await using var fixedOne = await node.ConnectAsync(("X-Api-Key", "the-fixed-secret-of-env"));
        using var oldHttp = GuardedNode.HttpOf(SecretOf(Old));
        using var otherHttp = GuardedNode.HttpOf(SecretOf(Other));
        using var goneStream = await EventReader.OpenAsync(oldHttp, new Uri(node.Url, "/events?room=calls"));
        using var stayingStream = await EventReader.OpenAsync(otherHttp, new Uri(node.Url, "/events?room=calls"));
        Assert.Equal(": connected", await goneStream.ReadAsync());
        Assert.Equal(": connected", await stayingStream.ReadAsync());

        await keys.SetAsync($"{New}\n{Other}\n");
        await AcceptsAsync(node, Old);
        node.Time.Advance(Round);
        await AcceptsAsync(node, Old);
        await RefusesAsync(node, New);

        node.Time.Advance(Round);
        await AcceptsAsync(node, New);
        await AcceptsAsync(node, Other);
        await AcceptsAsync(node, "fixed:the-fixed-secret-of-env:admin");
        await RefusesAsync(node, Old);

        node.Time.Advance(Round);
        await Expect.ClosedAsync(4103, reconnect: true, gone);
        Assert.Equal(
            "event: bye\ndata: {\"code\":4103,\"reconnect\":true,\"after_ms\":0}",
            await goneStream.ReadAsync()
        );
        await Assert.ThrowsAsync<EndOfStreamException>(goneStream.ReadAsync);
        Expect.Accepted(await stays.AckAsync("subscribe", "\"calls\""));
        Expect.Accepted(await fixedOne.AckAsync("subscribe", "\"calls\""));
        var id = (await GuardedNode.AskWithAsync(node, "POST /_notify/call", SecretOf(New), "1")).TakenId();
        Assert.Equal($"event: call\ndata: 1\nid: {id}", await stayingStream.ReadAsync());
        Assert.Empty(node.Warnings);
    }

    [Fact]
    public async Task A_key_with_changed_scopes_is_a_new_key()
    {
        await using var keys = await KeysFile.WriteAsync(Old);
        await using var node = await Node.StartAsync(("KeysFile", keys.Path));
        await using var client = await node.ConnectAsync(("X-Api-Key", SecretOf(Old)));
        await keys.SetAsync(Old.Replace(":admin", ":read", StringComparison.Ordinal));
        node.Time.Advance(Round * 3);
        await Expect.ClosedAsync(4103, reconnect: true, client);
        (await GuardedNode.AskWithAsync(node, "POST /_notify/call", SecretOf(Old), "1")).IsProblem(
            403,
            "forbidden_publish"
        );
    }

    [Fact]
    public async Task A_key_is_told_the_scope_that_a_room_needs_and_a_user_that_the_room_is_another_ones()
    {
        await using var node = await GuardedNode.StartAsync();
        var key = await GuardedNode.AskWithAsync(node, "GET /rooms/support", GuardedNode.SecretOf("publish"));
        key.IsProblem(403, "forbidden_room");
        Assert.Contains("This needs the scope read.", key.Body, StringComparison.Ordinal);
        var user = await GuardedNode.AskWithAsync(
            node,
            "GET /rooms/support",
            Token.Of("ann", node.Time.GetUtcNow().AddHours(1))
        );
        user.IsProblem(403, "forbidden_room");
        Assert.Contains("support is not among your rooms.", user.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_partly_written_key_file_is_not_applied()
    {
        await using var keys = await KeysFile.WriteAsync($"{Old}\n{Other}\n");
        await using var node = await Node.StartAsync(("KeysFile", keys.Path));
        await keys.SetAsync(New);
        node.Time.Advance(Round);
        await keys.SetAsync($"{New}\n{Other}");
        node.Time.Advance(Round);
        await AcceptsAsync(node, Old);
        await RefusesAsync(node, New);

        node.Time.Advance(Round);
        await AcceptsAsync(node, New);
        await AcceptsAsync(node, Other);
        await RefusesAsync(node, Old);
    }

    [Theory]
    [InlineData("the-secret-that-nobody-is-to-see-in-a-log")]
    [InlineData("ops:the-secret-that-nobody-is-to-see-in-a-log")]
    [InlineData("ops:the-secret-that-nobody-is-to-see-in-a-log:sing")]
    [InlineData("the-secret-that-nobody-is-to-see-in-a-log:ops:admin")]
    [InlineData("ops:half;the-secret-that-nobody-is-to-see-in-a-log:admin")]
    [InlineData("ops:sixteen-or-more-letters:admin;the-secret-that-nobody-is-to-see-in-a-log:admin")]
    [InlineData(
        "the-secret-that-nobody-is-to-see-in-a-log:sixteen-or-more-letters:read;the-secret-that-nobody-is-to-see-in-a-log:sixteen-or-more-letters:read"
    )]
    public async Task An_invalid_key_file_changes_no_keys_and_is_logged_once_without_secrets(string bad)
    {
        await using var keys = await KeysFile.WriteAsync(Old);
        await using var node = await Node.StartAsync(("KeysFile", keys.Path));
        await keys.SetAsync(bad);
        node.Time.Advance(Round * 10);
        await AcceptsAsync(node, Old);
        var warning = Assert.Single(node.Warnings);
        Assert.Contains(keys.Path, warning, StringComparison.Ordinal);
        Assert.DoesNotContain("the-secret", warning, StringComparison.Ordinal);

        await keys.SetAsync(New);
        node.Time.Advance(Round * 2);
        await AcceptsAsync(node, New);
        await RefusesAsync(node, Old);
        Assert.Single(node.Warnings);
    }

    [Fact]
    public async Task A_missing_key_file_changes_no_keys_and_is_logged_once_until_it_is_readable()
    {
        await using var keys = await KeysFile.WriteAsync(Old);
        await using var node = await Node.StartAsync(("KeysFile", keys.Path));
        await using var client = await node.ConnectAsync(("X-Api-Key", SecretOf(Old)));
        keys.Delete();
        node.Time.Advance(Round * 10);
        await AcceptsAsync(node, Old);
        Expect.Accepted(await client.AckAsync("subscribe", "\"calls\""));
        Assert.Contains(keys.Path, Assert.Single(node.Warnings), StringComparison.Ordinal);

        await keys.SetAsync(New);
        node.Time.Advance(Round * 2);
        await AcceptsAsync(node, New);
        keys.Delete();
        node.Time.Advance(Round * 10);
        Assert.Equal(2, node.Warnings.Length);
    }

    [Fact]
    public async Task A_key_file_restored_after_an_invalid_version_stays_valid()
    {
        await using var keys = await KeysFile.WriteAsync(Old);
        await using var node = await Node.StartAsync(("KeysFile", keys.Path));
        await keys.SetAsync("nonsense");
        node.Time.Advance(Round * 3);
        await keys.SetAsync(Old);
        node.Time.Advance(Round * 3);
        await AcceptsAsync(node, Old);
        Assert.Single(node.Warnings);
    }

    [Fact]
    public async Task A_key_file_replaced_by_a_rename_is_applied()
    {
        await using var keys = await KeysFile.WriteAsync(Old);
        await using var node = await Node.StartAsync(("KeysFile", keys.Path));
        await File.WriteAllTextAsync(keys.Path + ".new", New);
        File.Move(keys.Path + ".new", keys.Path, overwrite: true);
        node.Time.Advance(Round * 2);
        await AcceptsAsync(node, New);
        await RefusesAsync(node, Old);
    }

    /// <summary>
    /// As Kubernetes changes a mounted secret: <c>keys</c> → <c>..data/keys</c>, <c>..data</c> → a directory for each
    /// version.
    /// </summary>
    [Fact]
    public async Task A_key_file_behind_a_swapped_symbolic_link_is_applied()
    {
        await using var mounted = await KeysFile.WriteAsync("");
        var directory = Path.GetDirectoryName(mounted.Path)!;
        mounted.Delete();
        foreach (var (version, key) in new[] { ("..1", Old), ("..2", New) })
        {
            Directory.CreateDirectory(Path.Combine(directory, version));
            await File.WriteAllTextAsync(Path.Combine(directory, version, "keys"), key);
        }

        Directory.CreateSymbolicLink(Path.Combine(directory, "..data"), "..1");
        File.CreateSymbolicLink(mounted.Path, Path.Combine("..data", "keys"));
        await using var node = await Node.StartAsync(("KeysFile", mounted.Path));
        await AcceptsAsync(node, Old);

        Directory.CreateSymbolicLink(Path.Combine(directory, "..data_tmp"), "..2");
        await using var move = ChildProcess.Start("mv", ["-T", "..data_tmp", "..data"], directory);
        Assert.Equal(0, await move.EndAsync());
        node.Time.Advance(Round * 2);
        await AcceptsAsync(node, New);
        await RefusesAsync(node, Old);
    }

    [Fact]
    public async Task An_empty_key_file_revokes_all_its_keys()
    {
        await using var keys = await KeysFile.WriteAsync(Old);
        await using var node = await Node.StartAsync(("KeysFile", keys.Path));
        await keys.SetAsync("# nobody\n");
        node.Time.Advance(Round * 2);
        await RefusesAsync(node, Old);
        (await RawHttp.AskAsync(node, "POST /_notify/call", "1")).IsProblem(401, "unauthenticated");
    }

    private static string Basic(string name, string secret) =>
        $"Basic {Convert.ToBase64String(Encoding.UTF8.GetBytes($"{name}:{secret}"))}";

    /// <summary>As a header has it whose bytes are sent as Latin-1.</summary>
    private static string Utf8(string text) => Encoding.Latin1.GetString(Encoding.UTF8.GetBytes(text));

    private static string SecretOf(string entry) => entry.Split(':')[1];

    private static async Task AcceptsAsync(Node node, string entry) =>
        (await GuardedNode.AskWithAsync(node, "POST /_notify/report_csr", SecretOf(entry), "1")).TakenId();

    [Fact]
    public async Task An_idempotency_key_of_one_caller_is_not_one_of_another()
    {
        Assert.NotEqual(await PushAsync("publish"), await PushAsync("admin"));
        Assert.Equal(await PushAsync("publish"), await PushAsync("publish"));

        async Task<string> PushAsync(string caller) =>
            JsonElement
                .Parse(
                    (
                        await RawHttp.AskAsync(
                            Node,
                            "POST /_notify/call",
                            "1",
                            "Authorization: Bearer " + GuardedNode.SecretOf(caller),
                            "Idempotency-Key: shared"
                        )
                    ).Body
                )
                .GetProperty("id")
                .GetString()!;
    }

    private static async Task RefusesAsync(Node node, string entry) =>
        (await GuardedNode.AskWithAsync(node, "POST /_notify/report_csr", SecretOf(entry), "1")).IsProblem(
            401,
            "unauthenticated"
        );
}
