using System.Text;
using Dmb.Tests.Sockets;

namespace Dmb.Tests.Access;

/// <summary>docs/protocol.md §10: the keys of hosts, however they are shown, and when they change.</summary>
public sealed class HostKeyTests(GuardedNode guarded) : IClassFixture<GuardedNode>
{
    private const string Old = "a:the-first-secret-of-a:publish,read";
    private const string New = "a:the-second-secret-of-a:publish,read";
    private const string Other = "b:the-only-secret-of-b:admin";

    private static string Basic(string name, string secret) => "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes($"{name}:{secret}"));

    public static TheoryData<string> GoodHeaders =>
    [
        "Authorization: Bearer " + GuardedNode.SecretOf("publish"),
        "authorization: bearer  " + GuardedNode.SecretOf("publish"),
        "X-Api-Key: " + GuardedNode.SecretOf("publish"),
        "Authorization: " + Basic("publish", GuardedNode.SecretOf("publish")),
    ];

    public static TheoryData<string> BadHeaders =>
    [
        "Authorization: Bearer",
        "Authorization: Bearer wrong",
        "Authorization: Bearer " + GuardedNode.SecretOf("publish") + "x",
        "Authorization: Bearer " + GuardedNode.SecretOf("publish")[..^1],
        "Authorization: Bearer " + new string('x', 8_000),
        "Authorization: Bearer a.b.c",
        "Authorization: Bearer eyJ.e30.x",
        "Authorization: Basic",
        "Authorization: Basic ***",
        "Authorization: " + Basic("admin", GuardedNode.SecretOf("publish")),
        "Authorization: " + Basic("", GuardedNode.SecretOf("publish")),
        "Authorization: Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes(GuardedNode.SecretOf("publish"))),
        "Authorization: Digest username=publish",
        "Authorization: " + GuardedNode.SecretOf("publish"),
        "X-Api-Key: wrong",
        "X-Api-Key: publish:" + GuardedNode.SecretOf("publish"),
    ];

    [Theory]
    [MemberData(nameof(GoodHeaders))]
    public async Task A_key_is_taken_as_bearer_api_key_or_basic(string header)
    {
        (await RawHttp.AskAsync(guarded.Node, "POST /_notify/call", "1", header)).TakenId();
    }

    [Theory]
    [MemberData(nameof(BadHeaders))]
    public async Task Anything_else_is_refused_and_its_body_not_waited_for(string header)
    {
        using var http = await RawHttp.ConnectAsync(guarded.Node);
        await http.SendAsync($"POST /_notify/call HTTP/1.1\nHost: localhost:{guarded.Node.Port}\nContent-Length: 100000\n{header}");
        var answer = await http.ReadAsync();
        answer.IsProblem(401, "unauthenticated");
        Assert.Equal("Bearer", answer.Headers["WWW-Authenticate"]);
        Assert.True(answer.SaysClose);
    }

    [Theory]
    [InlineData("/_notify/call?access_token=")]
    [InlineData("/events?room=calls&access_token=")]
    public async Task A_key_is_not_taken_from_a_URL(string path)
    {
        await using var node = await GuardedNode.StartAsync(("TokenInQuery", "true"));
        var method = path.StartsWith("/_notify", StringComparison.Ordinal) ? "POST " : "GET ";
        var answer = await RawHttp.AskAsync(node, method + path + GuardedNode.SecretOf("admin"));
        answer.IsProblem(401, "unauthenticated");
        Assert.Contains("No key is taken from a URL", answer.Body, StringComparison.Ordinal);
        Assert.DoesNotContain(GuardedNode.SecretOf("admin"), answer.Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_secret_may_have_colons_and_two_keys_may_have_different_scopes()
    {
        await using var node = await Node.StartAsync(("Keys", "a:with:colons:in:it:read;b:another-secret-of-16:publish"));
        Assert.Equal(200, (await RawHttp.AskAsync(node, "GET /register", "", "X-Api-Key: with:colons:in:it")).Status);
        (await RawHttp.AskAsync(node, "POST /_notify/call", "1", "X-Api-Key: with:colons:in:it")).IsProblem(403, "forbidden_publish");
        (await RawHttp.AskAsync(node, "POST /_notify/call", "1", "X-Api-Key: another-secret-of-16")).TakenId();
    }

    [Fact]
    public async Task A_refused_connection_serves_the_next_request_if_there_was_no_body()
    {
        using var http = await RawHttp.ConnectAsync(guarded.Node);
        await http.SendAsync("GET /register HTTP/1.1\nHost: localhost");
        (await http.ReadAsync()).IsProblem(401, "unauthenticated");
        await http.SendAsync("GET /register HTTP/1.1\nHost: localhost\nX-Api-Key: " + GuardedNode.SecretOf("read"));
        Assert.Equal(200, (await http.ReadAsync()).Status);
    }

    [Fact]
    public async Task A_changed_file_is_taken_once_it_has_stayed_the_same_and_sessions_of_a_key_that_is_gone_are_closed()
    {
        using var file = FileOf(Old, Other);
        await using var node = await Node.StartAsync(("KeysFile", file.Path));
        await using var first = await node.ConnectAsync(("X-Api-Key", "the-first-secret-of-a"));
        await using var second = await node.ConnectAsync(("X-Api-Key", "the-only-secret-of-b"));
        using var stream = await EventReader.OpenAsync(node.Http, new Uri(node.Url, "/events?room=calls"), "X-Api-Key", "the-first-secret-of-a");
        Assert.Equal(": connected", await stream.ReadAsync());

        Write(file, New, Other);
        Assert.Equal(401, await PushAsync(node, "the-second-secret-of-a"));
        node.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(401, await PushAsync(node, "the-second-secret-of-a"));
        Assert.Equal(200, await PushAsync(node, "the-first-secret-of-a"));
        Assert.StartsWith("event: call", await stream.ReadAsync(), StringComparison.Ordinal);

        node.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(200, await PushAsync(node, "the-second-secret-of-a"));
        Assert.Equal(401, await PushAsync(node, "the-first-secret-of-a"));
        await Expect.ClosedAsync(4103, reconnect: true, first);
        Assert.Contains("\"code\":4103", await stream.ReadAsync(), StringComparison.Ordinal);
        Expect.Published(await second.AckAsync("call", "1"));
    }

    [Fact]
    public async Task Half_a_file_is_not_taken()
    {
        using var file = FileOf(Old, Other);
        await using var node = await Node.StartAsync(("KeysFile", file.Path));
        Write(file, New);
        node.Time.Advance(TimeSpan.FromSeconds(1));
        Write(file, New, Other);
        node.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(200, await PushAsync(node, "the-only-secret-of-b"));
        Assert.Equal(200, await PushAsync(node, "the-first-secret-of-a"));
        node.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(200, await PushAsync(node, "the-second-secret-of-a"));
    }

    [Fact]
    public async Task A_file_that_is_broken_or_gone_leaves_the_keys_as_they_were_and_is_told_once_without_a_secret()
    {
        using var file = FileOf(Old);
        await using var node = await Node.StartAsync(("KeysFile", file.Path));
        Write(file, "a:the-second-secret-of-a:everything");
        node.Time.Advance(TimeSpan.FromSeconds(5));
        File.Delete(file.Path);
        node.Time.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(200, await PushAsync(node, "the-first-secret-of-a"));
        Assert.Equal(2, node.Warnings.Length);
        Assert.Contains("a scope that is none of", node.Warnings[0], StringComparison.Ordinal);
        Assert.All(node.Warnings, line => Assert.DoesNotContain("secret-of", line, StringComparison.Ordinal));

        Write(file, New);
        node.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(200, await PushAsync(node, "the-second-secret-of-a"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_file_may_be_replaced_by_a_rename_or_by_a_link_to_another(bool isLink)
    {
        using var file = FileOf(Old);
        using var next = FileOf(New);
        var path = isLink ? file.Path + ".link" : file.Path;
        if (isLink)
        {
            File.CreateSymbolicLink(path, file.Path);
        }

        await using var node = await Node.StartAsync(("KeysFile", path));
        if (isLink)
        {
            File.CreateSymbolicLink(path + ".new", next.Path);
            File.Move(path + ".new", path, overwrite: true);
        }
        else
        {
            File.Move(next.Path, path, overwrite: true);
        }

        node.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(200, await PushAsync(node, "the-second-secret-of-a"));
        Assert.Equal(401, await PushAsync(node, "the-first-secret-of-a"));
        File.Delete(path);
    }

    private static async Task<int> PushAsync(Node node, string secret) =>
        (await RawHttp.AskAsync(node, "POST /_notify/call", "1", "X-Api-Key: " + secret)).Status;

    private static TemporaryFile FileOf(params string[] keys) => new(TextOf(keys));

    private static void Write(TemporaryFile file, params string[] keys) => File.WriteAllText(file.Path, TextOf(keys));

    /// <summary>Keys, with what people write beside them.</summary>
    private static string TextOf(string[] keys) => $"# keys\n\n{string.Join("\r\n", keys)}\n";
}
