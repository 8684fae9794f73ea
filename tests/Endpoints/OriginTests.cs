namespace Dmb.Tests.Endpoints;

/// <summary>A page somewhere must not be able to use the broker through a visitor's localhost.</summary>
public sealed class OriginTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private readonly Node _node = fixture.Node;

    public static TheoryData<string> Foreign =>
        [
            "https://evil.example",
            "null",
            "http://localhost",
            "http://localhost:1",
            "https://localhost:{port}",
            "http://localhost:{port}.evil.example",
            "http://evil.example:{port}",
            "http://127.0.0.2:{port}",
            "http://user@localhost:{port}",
            "http://localhost:{port}/",
            "http://localhost:{port} http://evil.example",
            "file://",
            "garbage",
        ];

    [Theory]
    [MemberData(nameof(Foreign))]
    public async Task A_foreign_origin_is_refused(string origin)
    {
        await using var client = await _node.JoinAsync("calls");
        (await PushAsync(_node, origin)).IsProblem(403, "forbidden_origin");
        await _node.ReachesAsync(client, "call", "2");
    }

    [Theory]
    [InlineData("")]
    [InlineData("\nExpect: 100-continue")]
    public async Task A_foreign_origin_is_refused_before_its_body_is_read(string expect)
    {
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync(
            $"POST /_notify/call HTTP/1.1\nHost: localhost\nOrigin: https://evil.example\nContent-Length: 9{expect}"
        );
        (await http.ReadAsync()).IsProblem(403, "forbidden_origin");
    }

    [Fact]
    public async Task A_name_that_leads_to_loopback_is_not_an_origin_of_the_broker()
    {
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync(
            $"GET /register HTTP/1.1\nHost: evil.example:{_node.Port}\nOrigin: http://evil.example:{_node.Port}"
        );
        (await http.ReadAsync()).IsProblem(421, "forbidden_host");
    }

    [Theory]
    [InlineData("http://localhost:{port}")]
    [InlineData("http://127.0.0.1:{port}")]
    [InlineData("http://[::1]:{port}")]
    public async Task The_broker_s_own_pages_may_use_it(string origin)
    {
        (await PushAsync(_node, origin)).TakenId();
        await using var open = await Node.StartAsync(("AllowedOrigins:0", "https://desk.example.com"));
        (await PushAsync(open, origin)).TakenId();
    }

    private static Task<RawAnswer> PushAsync(Node node, string origin)
    {
        var header = "Origin: " + origin.Replace("{port}", $"{node.Port}", StringComparison.Ordinal);
        return RawHttp.AskAsync(node, "POST /_notify/call", "1", header);
    }
}
