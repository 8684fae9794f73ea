using System.Net;
using System.Net.Sockets;
using Dmb.Tests.Access;

namespace Dmb.Tests.SocketIo;

/// <summary>Who a client of Socket.IO is, and that its session is its own (docs/protocol.md §5 and §10).</summary>
public sealed class SocketIoCredentialTests(GuardedNode guarded) : IClassFixture<GuardedNode>
{
    private const string UnknownSession = """{"code":1,"message":"Session ID unknown"}""";

    private Node Node => guarded.Node;

    [Fact]
    public async Task A_client_of_protocol_4_connects_with_a_token()
    {
        await using var client = await SocketIoSocket.OpenAsync(Node, 4);
        await client.SendAsync($$"""40{"token":"{{guarded.TokenOf("ann")}}"}""");
        Assert.StartsWith("40{\"sid\":", await client.ReadAsync(), StringComparison.Ordinal);
        Assert.Contains("\"public\":false", await client.ReadAsync(), StringComparison.Ordinal);
        await client.SendAsync("""421["subscribe","everyone"]""");
        Assert.Equal("""42["joined","everyone"]""", await client.ReadAsync());
        Assert.Equal("431[true]", await client.ReadAsync());
    }

    [Fact]
    public async Task A_client_of_protocol_4_without_a_token_is_in_public_alone()
    {
        await using var client = await SocketIoSocket.ConnectAsync(Node, 4);
        await client.SendAsync("""421["subscribe","everyone"]""");
        Assert.StartsWith(
            """431[false,{"code":"unauthenticated",""",
            await client.ReadAsync(),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("wrong", "unauthenticated", 4000)]
    [InlineData("expired", "token_expired", 4103)]
    public async Task A_token_that_is_not_accepted_refuses_the_CONNECT(string token, string error, int code)
    {
        token = token == "expired" ? Token.Of("ann", Node.Time.GetUtcNow()) : token;
        await using var client = await SocketIoSocket.OpenAsync(Node, 4);
        await client.SendAsync($$"""40{"token":"{{token}}"}""");
        Assert.Equal(code, await client.ReadCloseAsync());
        Assert.Matches($$$""""^44\{"message":"[^"]+","data":\{"code":"{{{error}}}"\}\}$"""", await client.ReadAsync());
    }

    [Fact]
    public async Task Credentials_of_the_handshake_that_are_not_accepted_refuse_the_CONNECT()
    {
        await using var client = await SocketIoSocket.OpenAsync(Node, 4, "", ("Authorization", "Bearer wrong"));
        await client.SendAsync("40");
        Assert.Equal(4000, await client.ReadCloseAsync());
        Assert.Matches("""^44\{"message":"[^"]+","data":\{"code":"unauthenticated"\}\}$""", await client.ReadAsync());
    }

    [Fact]
    public async Task A_client_of_protocol_3_that_is_refused_is_told_so_and_to_stay_away()
    {
        await using var client = await SocketIoSocket.OpenAsync(Node, 3, "", ("Authorization", "Bearer wrong"));
        Assert.Equal(4000, await client.ReadCloseAsync());
        string[] packets = await client.ReadAllAsync();
        Assert.Matches("^44\"[^\"]+\"$", packets[0]);
        Assert.Equal("41", packets[^1]);
    }

    [Fact]
    public async Task A_client_of_protocol_3_shows_its_token_in_the_header_or_in_an_event()
    {
        var shown = ("Authorization", "Bearer " + guarded.TokenOf("ann"));
        await using (var client = await SocketIoSocket.OpenAsync(Node, 3, "", shown))
        {
            Assert.Equal("40", await client.ReadAsync());
            Assert.Contains("\"public\":false", await client.ReadAsync(), StringComparison.Ordinal);
        }

        await using var later = await SocketIoSocket.ConnectAsync(Node, 3);
        await later.SendAsync($$"""421["auth",{"token":"{{guarded.TokenOf("ann")}}"}]""");
        Assert.StartsWith("""431[true,{"name":"ann",""", await later.ReadAsync(), StringComparison.Ordinal);
        await later.SendAsync("""422["subscribe","everyone"]""");
        Assert.Equal("""42["joined","everyone"]""", await later.ReadAsync());
    }

    [Fact]
    public async Task A_client_of_protocol_3_shows_its_token_in_the_query_where_that_is_allowed()
    {
        await using var node = await GuardedNode.StartAsync(("TokenInQuery", "true"));
        var token = Token.Of("ann", node.Time.GetUtcNow().AddHours(1));
        await using var client = await SocketIoSocket.OpenAsync(node, 3, "&access_token=" + token);
        Assert.Equal("40", await client.ReadAsync());
        Assert.Contains("\"public\":false", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(4)]
    public async Task A_session_ends_with_its_token(int version)
    {
        await using var node = await GuardedNode.StartAsync();
        var token = Token.Of("ann", node.Time.GetUtcNow().AddSeconds(10));
        await using var client = await SocketIoSocket.OpenAsync(
            node,
            version,
            "",
            ("Authorization", "Bearer " + token)
        );
        if (version == 4)
        {
            await client.SendAsync("40");
        }

        Assert.StartsWith("40", await client.ReadAsync(), StringComparison.Ordinal);
        Assert.StartsWith("42[\"welcome\",", await client.ReadAsync(), StringComparison.Ordinal);
        node.Time.Advance(TimeSpan.FromSeconds(10));

        // The client should come back, with another token: so nothing tells it to stay away.
        Assert.Equal(4103, await client.ReadCloseAsync());
        Assert.Equal(["""42["bye",{"code":4103,"reconnect":true,"after_ms":0}]"""], await client.ReadAllAsync());
    }

    [Fact]
    public async Task A_session_that_polls_ends_with_its_token()
    {
        await using var node = await GuardedNode.StartAsync();
        var token = Token.Of("ann", node.Time.GetUtcNow().AddSeconds(10));
        await using var client = await PollingClient.ConnectAsync(node, 4, "Authorization: Bearer " + token);
        node.Time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(400, (await client.GetAsync()).Status);
        node.Time.Advance(TimeSpan.FromSeconds(10));
    }

    [Fact]
    public async Task A_session_serves_only_the_caller_that_opened_it()
    {
        string[] callers =
        [
            "X-Api-Key: " + GuardedNode.SecretOf("read"),
            "X-Api-Key: " + GuardedNode.SecretOf("publish"),
            "Authorization: Bearer " + guarded.TokenOf("ann"),
            "Authorization: Bearer " + guarded.TokenOf("bob"),
            "Authorization: Bearer wrong",
            "X-Nobody: 1",
        ];
        foreach (var owner in callers.Where(caller => !caller.EndsWith("wrong", StringComparison.Ordinal)))
        {
            await using var client = await PollingClient.ConnectAsync(Node, 3, owner);
            foreach (var other in callers.Where(caller => caller != owner))
            {
                if (
                    owner.StartsWith("X-Nobody", StringComparison.Ordinal)
                    && other.EndsWith("wrong", StringComparison.Ordinal)
                )
                {
                    // Credentials that are not accepted are none.
                    continue;
                }

                var posted = await RawHttp.AskAsync(Node, "POST " + client.Target, "1:1", other);
                Assert.Equal((400, UnknownSession), (posted.Status, posted.Body));
                var polled = await RawHttp.AskAsync(Node, "GET " + client.Target, "", other);
                Assert.Equal((400, UnknownSession), (polled.Status, polled.Body));
            }

            await client.SendAsync("""421["dmb:ping"]""");
            Assert.Equal("431[true,{}]", await client.ReadAsync());
        }
    }

    [Fact]
    public async Task Another_token_of_the_same_user_goes_on_with_the_session()
    {
        await using var client = await PollingClient.ConnectAsync(
            Node,
            3,
            "Authorization: Bearer " + guarded.TokenOf("ann")
        );
        var renewed = "Authorization: Bearer " + guarded.TokenOf("ann", "\"jti\":\"2\"");
        Assert.Equal(200, (await RawHttp.AskAsync(Node, "POST " + client.Target, "1:2", renewed)).Status);
        Assert.Equal("1:3", (await RawHttp.AskAsync(Node, "GET " + client.Target, "", renewed)).Body);
    }

    [Fact]
    public async Task A_session_without_credentials_serves_only_its_address()
    {
        await using var client = await PollingClient.ConnectAsync(Node, 3);
        using var handler = new SocketsHttpHandler();
        handler.ConnectCallback = async (context, cancellation) =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.Bind(new IPEndPoint(IPAddress.Parse("127.0.0.2"), 0));
            await socket.ConnectAsync(IPAddress.Loopback, Node.Port, cancellation);
            return new NetworkStream(socket, ownsSocket: true);
        };
        using var http = new HttpClient(handler) { BaseAddress = Node.Url, Timeout = Node.Patience };
        using var polled = await http.GetAsync(new Uri(Node.Url, client.Target));
        Assert.Equal(HttpStatusCode.BadRequest, polled.StatusCode);
        Assert.Equal(UnknownSession, await polled.Content.ReadAsStringAsync());

        await client.SendAsync("""421["dmb:ping"]""");
        Assert.Equal("431[true,{}]", await client.ReadAsync());
    }
}
