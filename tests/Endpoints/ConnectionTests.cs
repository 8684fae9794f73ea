using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Endpoints;

/// <summary>A SIP server keeps its connection, and pushes again when it ends without an answer.</summary>
public sealed class ConnectionTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private readonly Node _node = fixture.Node;

    [Fact]
    public async Task One_connection_serves_many_requests()
    {
        using var http = await RawHttp.ConnectAsync(_node);
        for (var i = 0; i < 3; i++)
        {
            var answer = await http.AskAsync("POST /_notify/call", "{}");
            answer.TakenId();
            Assert.False(answer.SaysClose);
        }
    }

    [Fact]
    public async Task Requests_sent_without_waiting_are_answered_in_order()
    {
        await using var client = await _node.JoinAsync("calls");
        using var http = await RawHttp.ConnectAsync(_node);
        string Push(string body)
        {
            return $"POST /_notify/call HTTP/1.1\r\nHost: localhost\r\nContent-Length: {body.Length}\r\n\r\n{body}";
        }

        await http.SendAsync(Encoding.ASCII.GetBytes(Push("1") + Push("{") + Push("") + Push("[4]")));

        var first = (await http.ReadAsync()).TakenId();
        (await http.ReadAsync()).IsProblem(400, "bad_json");
        var third = (await http.ReadAsync()).TakenId();
        var fourth = (await http.ReadAsync()).TakenId();
        await client.GetsAsync("call", "1", first);
        await client.GetsAsync("call", "{}", third);
        await client.GetsAsync("call", "[4]", fourth);
    }

    [Fact]
    public async Task Pushes_of_many_connections_at_once_do_not_mix_and_each_keeps_its_order()
    {
        const int Connections = 8,
            Pushes = 50;
        await using var client = await _node.JoinAsync("calls");
        string Data(int connection, int push)
        {
            return $"[{connection},{push},\"{new string((char)('a' + connection), push * 100)}\"]";
        }

        var sending = Task.WhenAll(
            Enumerable
                .Range(0, Connections)
                .Select(async connection =>
                {
                    using var http = await RawHttp.ConnectAsync(_node);
                    for (var push = 0; push < Pushes; push++)
                    {
                        (await http.AskAsync("POST /_notify/call", Data(connection, push))).TakenId();
                    }
                })
        );

        var next = new int[Connections];
        for (var i = 0; i < Connections * Pushes; i++)
        {
            var data = JsonElement.Parse(await client.ReadAsync()).GetProperty("data");
            var connection = data[0].GetInt32();
            Assert.Equal(Data(connection, next[connection]++), data.GetRawText());
        }

        await sending;
    }

    [Theory]
    [InlineData("POST /_notify/call", "{", 400)]
    [InlineData("POST /_notify/a,b", "{}", 400)]
    [InlineData("POST /_notify/unheard", "{}", 200)]
    [InlineData("POST /nowhere", "{}", 404)]
    [InlineData("PUT /_notify/call", "{}", 405)]
    [InlineData("GET /healthz", "", 200)]
    [InlineData("DELETE /register/call", "", 204)]
    public async Task A_connection_can_be_used_after_an_answer_of_any_kind(string request, string body, int status)
    {
        using var http = await RawHttp.ConnectAsync(_node);
        var answer = await http.AskAsync(request, body);
        Assert.Equal(status, answer.Status);
        Assert.False(answer.SaysClose);
        (await http.AskAsync("POST /_notify/call", "{}")).TakenId();
    }

    [Theory]
    [InlineData("Origin: https://evil.example\nContent-Length: 6000000", "", 403)]
    [InlineData("Origin: https://evil.example\nTransfer-Encoding: chunked", "5b8d80\r\n", 403)]
    [InlineData("Content-Encoding: x-rot13\nContent-Length: 6000000", "", 400)]
    [InlineData("Content-Length: 6000000\nConnection: Upgrade\nUpgrade: h2c", "", 413)]
    [InlineData("Content-Length: 6000000", "", 413)]
    [InlineData("Transfer-Encoding: chunked", "5b8d80\r\n", 413)]
    public async Task A_body_that_is_not_read_does_not_cost_its_sender_the_answer(
        string header,
        string chunk,
        int status
    )
    {
        using var http = await RawHttp.ConnectAsync(_node);
        await http.SendAsync("POST /_notify/call HTTP/1.1\nHost: localhost\n" + header, Encoding.ASCII.GetBytes(chunk));
        await http.SendAsync(new byte[6_000_000]);
        await http.SendAsync(Encoding.ASCII.GetBytes(chunk == "" ? "" : "\r\n0\r\n\r\n"));

        var answer = await http.ReadAsync();
        Assert.Equal(status, answer.Status);
        if (!answer.SaysClose)
        {
            (await http.AskAsync("POST /_notify/call", "{}")).TakenId();
        }
    }

    [Fact]
    public async Task A_connection_is_closed_after_the_response_if_requested()
    {
        using var http = await RawHttp.ConnectAsync(_node);
        var answer = await http.AskAsync("POST /_notify/call", "{}", "Connection: close");
        answer.TakenId();
        Assert.True(answer.SaysClose);
        Assert.Equal("", await http.ReadToEndAsync());
    }
}
