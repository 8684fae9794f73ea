using System.Diagnostics.Metrics;
using System.Text;
using System.Text.RegularExpressions;
using Dmb.Endpoints;
using Dmb.Tests.Access;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Endpoints;

/// <summary>Pushes and handshakes that are answered before the server does: nobody can tell by the answer.</summary>
public sealed partial class PlainConnectionTests
{
    /// <summary>A header that makes a request the server's.</summary>
    private const string Servers = "X-Not-Plain: 1";

    private const string Handshake = "Upgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Version: 13";

    [Theory]
    [InlineData("call", "{}")]
    [InlineData("call", "")]
    [InlineData("call", " \t\r\n")]
    [InlineData("call", "\u00EF\u00BB\u00BF[1]")]
    [InlineData("call", "\"\u00E9\"")]
    [InlineData("call", "{")]
    [InlineData("call", "{} {}")]
    [InlineData("call", "{\"_in\":[\"a:1\",\"a:2\",\"a:3\"]}")]
    [InlineData("call", "\"0123456789012345678901234567890123456789012345678901234567890123456789\"")]
    [InlineData("unheard", "{}")]
    [InlineData("a,b", "{}")]
    [InlineData("c%61ll", "{}")]
    [InlineData("call/", "{}")]
    [InlineData("call?x=1", "{}")]
    [InlineData("call", "{}", "Idempotency-Key: the-key-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789")]
    [InlineData("call", "{}", "Idempotency-Key: ")]
    [InlineData("call", "{}", "Connection: close")]
    [InlineData("call", "{}", "Origin: https://evil.example")]
    [InlineData("call", "{}", "Prefer: handling=strict")]
    [InlineData("call", "{}", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    [InlineData("call", "{}", "Expect: 100-continue")]
    public async Task A_push_is_answered_as_the_server_would(string @event, string body, string header = "Accept: */*")
    {
        await using var node = await Node.StartAsync(("MaxIn", "2"), ("MaxMessageBytes", "64"));
        await SameAsync(node, "POST /_notify/" + @event, Encoding.Latin1.GetBytes(body), header);
    }

    [Theory]
    [InlineData("Authorization: Bearer secret-of-the-key-publish")]
    [InlineData("authorization: bearer   secret-of-the-key-publish")]
    [InlineData("Authorization: Basic cHVibGlzaDpzZWNyZXQtb2YtdGhlLWtleS1wdWJsaXNo")]
    [InlineData("X-Api-Key: secret-of-the-key-publish")]
    [InlineData("X-Api-Key: secret-of-the-key-read")]
    [InlineData("X-Api-Key: secret-of-nobody")]
    [InlineData("Authorization: secret-of-the-key-publish")]
    [InlineData("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.e30")]
    [InlineData("Accept: */*")]
    public async Task Who_pushes_is_asked_as_by_the_server(string header)
    {
        await using var node = await GuardedNode.StartAsync();
        await SameAsync(node, "POST /_notify/call", "{}"u8.ToArray(), header);
    }

    [Theory]
    [InlineData("Accept: */*")]
    [InlineData("Origin: https://evil.example")]
    [InlineData("Sec-WebSocket-Protocol: other, dmb.v1")]
    [InlineData("Sec-WebSocket-Protocol: DMB.V1")]
    [InlineData("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")]
    [InlineData("X-Api-Key: secret-of-the-key-read")]
    [InlineData("X-Api-Key: secret-of-nobody")]
    public async Task A_handshake_is_answered_as_the_server_would(string header)
    {
        foreach (var compression in new[] { "false", "true" })
        {
            await using var node = await GuardedNode.StartAsync(("WsCompression", compression));
            var first = await OpenAsync(node, header);
            var second = await OpenAsync(node, header, Servers);

            Assert.Equal(second.Answer.Status, first.Answer.Status);
            Assert.Equal(Told(second.Answer), Told(first.Answer));
            Assert.Equal(second.Frame, first.Frame);
        }
    }

    [Fact]
    public async Task Pushes_handshakes_and_what_is_the_servers_follow_each_other_on_one_connection()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        var push = $"POST /_notify/call HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{}}";
        var handshake = "GET /ws HTTP/1.1\r\nHost: a\r\n" + Handshake.ReplaceLineEndings("\r\n") + "\r\n\r\n";
        await http.SendAsync(Encoding.ASCII.GetBytes(push + push + "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" + push + handshake));

        (await http.ReadAsync()).TakenId();
        (await http.ReadAsync()).TakenId();
        Assert.Equal(200, (await http.ReadAsync()).Status);
        (await http.ReadAsync()).TakenId();
        Assert.Equal(101, (await http.ReadAsync()).Status);

        using var other = await RawHttp.ConnectAsync(node);
        await other.SendAsync(Encoding.ASCII.GetBytes(push + handshake));
        (await other.ReadAsync()).TakenId();
        Assert.Equal(101, (await other.ReadAsync()).Status);
    }

    [Fact]
    public async Task A_push_in_two_pieces_is_taken_once_wherever_it_is_cut()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("calls");
        using var other = await RawHttp.ConnectAsync(node);
        using var http = await RawHttp.ConnectAsync(node);
        var push = Encoding.ASCII.GetBytes("POST /_notify/call HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"a\":1}");
        for (var cut = 1; cut < push.Length; cut++)
        {
            await http.SendAsync(push[..cut]);
            Assert.Equal(200, (await other.AskAsync("GET /healthz")).Status);
            await http.SendAsync(push[cut..]);
            await client.GetsAsync("call", "{\"a\":1}", (await http.ReadAsync()).TakenId());
        }
    }

    [Fact]
    public async Task A_push_that_comes_byte_by_byte_is_the_servers_which_does_not_wait_for_all_of_it()
    {
        await using var node = await GuardedNode.StartAsync();
        using var other = await RawHttp.ConnectAsync(node);
        using var http = await RawHttp.ConnectAsync(node);
        await http.SendAsync("POST /_notify/call HTTP/1.1\nHost: localhost\nX-Api-Key: of-nobody\nContent-Length: 200000");
        var answer = http.ReadAsync();
        for (var sent = 0; sent < 100_000 && !answer.IsCompleted; sent++)
        {
            await http.SendAsync([(byte)' ']);
            await other.AskAsync("GET /healthz");
        }

        (await answer).IsProblem(401, "unauthenticated");
        await node.DisposeAsync();
        Assert.Empty(node.Warnings);
    }

    [Fact]
    public async Task A_push_that_is_larger_than_one_read_is_taken()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        for (var size = 1; size < 200_000; size *= 3)
        {
            (await http.AskAsync("POST /_notify/call", $"\"{new string('x', size)}\"")).TakenId();
        }
    }

    [Fact]
    public async Task A_connection_that_pushes_no_more_is_closed_after_a_time()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        (await http.AskAsync("POST /_notify/call", "{}")).TakenId();
        node.Time.Advance(PlainConnection.KeepAliveTimeout - TimeSpan.FromSeconds(1));
        (await http.AskAsync("POST /_notify/call", "{}")).TakenId();

        node.Time.Advance(PlainConnection.KeepAliveTimeout + TimeSpan.FromSeconds(1));

        Assert.Equal("", await http.ReadToEndAsync());
    }

    [Fact]
    public async Task A_client_that_takes_no_answers_is_cut_off()
    {
        await using var node = await Node.StartAsync();
        using var http = await RawHttp.ConnectAsync(node);
        var pushes = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("POST /_notify/unheard HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 1_000)));
        var sending = Task.Run(async () =>
        {
            // Ends when the other side has cut the connection.
            while (await http.TrySendAsync(pushes))
            {
            }
        });

        while (!sending.IsCompleted)
        {
            node.Time.Advance(PlainConnection.TakeTimeout);
            await node.NotifyAsync("call", "{}");
        }

        await sending;
    }

    [Fact]
    public async Task A_push_is_the_servers_while_somebody_wants_to_have_the_durations_of_its_requests()
    {
        await using var node = await Node.StartAsync();
        var meters = node.Services.GetRequiredService<IMeterFactory>();
        var measured = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var names = new List<string>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, self) =>
            {
                if (instrument.Meter.Scope == meters && instrument.Meter.Name == "Microsoft.AspNetCore.Hosting")
                {
                    names.Add(instrument.Name);
                    self.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<double>((instrument, _, _, _) => measured.TrySetResult(instrument.Name));
        listener.Start();

        await node.NotifyAsync("call", "{}");

        Assert.Equal("http.server.request.duration", await measured.Task.WaitAsync(Node.Patience));
        Assert.Equal(names.Distinct(), names);
    }

    [Fact]
    public async Task Hosts_that_are_not_allowed_are_refused()
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("AllowedHosts", "127.0.0.1"));
        foreach (var (host, status) in new[] { ("127.0.0.1", 200), ("rebound.example", 400) })
        {
            using var http = await RawHttp.ConnectAsync(node.Url.Port);
            await http.SendAsync($"POST /_notify/call HTTP/1.1\nHost: {host}\nContent-Length: 2", "{}"u8.ToArray());
            Assert.Equal(status, (await http.ReadAsync()).Status);
        }
    }

    private static async Task SameAsync(Node node, string request, byte[] body, string header)
    {
        var (plain, servers) = (await AskAsync(node, request, body, header), await AskAsync(node, request, body, header, Servers));
        Assert.Equal(servers.Status, plain.Status);
        Assert.Equal(WithoutIds(servers.Body), WithoutIds(plain.Body));
        Assert.Equal(Told(servers), Told(plain));
    }

    private static async Task<RawAnswer> AskAsync(Node node, string request, byte[] body, params string[] headers)
    {
        using var http = await RawHttp.ConnectAsync(node);
        await http.SendAsync($"{request} HTTP/1.1\nHost: localhost:{node.Port}\nContent-Length: {body.Length}\n{string.Join('\n', headers)}", body);
        var answer = await http.ReadAsync();
        return answer.Status == 100 ? await http.ReadAsync() : answer;
    }

    /// <summary>Opens a session; gives the answer and the first frame without what is each session's own.</summary>
    private static async Task<(RawAnswer Answer, string Frame)> OpenAsync(Node node, params string[] headers)
    {
        using var http = await RawHttp.ConnectAsync(node);
        await http.SendAsync($"GET /ws HTTP/1.1\nHost: localhost:{node.Port}\n{Handshake}\n{string.Join('\n', headers)}", TestClient.Encode(Frame.Close, [3, 232]));
        return (await http.ReadAsync(), WithoutIds(await http.ReadToEndAsync()));
    }

    /// <summary>The headers of an answer, but for the time.</summary>
    private static string[] Told(RawAnswer answer) =>
        [.. answer.Headers.Where(header => header.Key != "Date").Select(header => $"{header.Key}: {header.Value}").Order(StringComparer.OrdinalIgnoreCase)];

    private static string WithoutIds(string text) => AnyId().Replace(text, "");

    [GeneratedRegex("\"id\":\"[^\"]*\"")]
    private static partial Regex AnyId();
}
