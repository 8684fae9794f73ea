using System.Net.WebSockets;
using System.Text;
using System.Text.Json.Nodes;
using Dmb.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Dmb.Tests.Clients;

/// <summary>The .NET client against a node of this file, which sends what a test wants it to.</summary>
public sealed class DotNetClientTests
{
    private const string Good =
        """{"event":"call","data":{"a":[1,"ä"]},"id":"1","room":"a:1","pos":"k3f9:431","also":{"b:2":"x:1"}}""";

    private static readonly string[] Lies =
    [
        "",
        "null",
        "42",
        "\"x\"",
        "[]",
        "{}",
        """{"event":7}""",
        """{"ack":99,"ok":true}""",
        """{"ack":{},"ok":false}""",
        """{"ack":1e999}""",
        """{"event":"gap"}""",
        """{"event":"bye","data":7}""",
        """{"event":"welcome","data":null}""",
        """{"event":"call","id":"2","room":"a:1"}""",
        """{"event":"call","id":"3","room":"a:1","pos":"x"}""",
        """{"event":"call","id":"4","room":7,"pos":7}""",
        """{"event":"call","id":"5","room":"a:1","pos":"k:1","also":{"b":null}}""",
    ];

    [Fact]
    public async Task What_a_lying_node_sends_changes_nothing()
    {
        await using var node = await LyingNode.StartAsync();
        await using var client = new DmbClient(node.Options("a:1"));
        await client.ConnectedAsync().WaitAsync(Node.Patience);
        var cutOff = Enumerable.Range(0, Good.Length).Select(length => Good[..length]);
        var altered = Enumerable.Range(0, Good.Length).Select(at => $"{Good[..at]}}}{Good[(at + 1)..]}");
        foreach (var lie in (string[])[.. Lies, .. cutOff, .. altered])
        {
            await node.SendAsync(lie);
        }

        await node.SendAsync("""{"event":"call","data":"last","id":"last"}""");

        var failures = 0;
        await foreach (var notice in client.ReadAllAsync())
        {
            failures += notice is DmbFailure { Error.Code: "bad_frame" } ? 1 : 0;
            Assert.False(notice is DmbState { State: DmbConnectionState.Waiting }, $"{notice}");
            if (notice is DmbMessage { Id: "last" })
            {
                break;
            }
        }

        Assert.InRange(failures, Good.Length, (2 * Good.Length) + Lies.Length);
    }

    [Fact]
    public async Task What_a_lying_node_says_in_a_stream_changes_nothing()
    {
        await using var node = await LyingNode.StartAsync();
        node.Events = """
            id: a:1=k:1

            data: {

            event: call

            event: call
            data: {"n":

            id: a:1=x
            event: call
            data: 1

            event: gap
            data: null

            event: bye
            data: 7

            retry: soon
            no field
            : a comment

            id: 1
            event: call
            data: "first"

            id: 1
            event: call
            data: "again"

            id: last
            event: call
            data: "last"


            """;
        var options = node.Options("a:1");
        options.Transport = DmbTransport.ServerSentEvents;
        await using var client = new DmbClient(options);
        List<string> data = [];
        await foreach (var notice in client.ReadAllAsync())
        {
            Assert.False(notice is DmbState { State: DmbConnectionState.Waiting }, $"{notice}");
            Assert.False(notice is DmbFailure { Error.Code: not "bad_frame" }, $"{notice}");
            data.AddRange(notice is DmbMessage message ? [message.Data.GetRawText()] : []);
            if (notice is DmbMessage { Id: "last" })
            {
                break;
            }
        }

        Assert.Equal(["\"first\"", "\"last\""], data);
    }

    [Fact]
    public async Task A_clock_that_is_wrong_or_jumps_neither_ends_the_connection_nor_asks_for_tokens_without_end()
    {
        var time = new ManualTime();
        await using var node = await LyingNode.StartAsync();
        node.Answer = new JsonObject { ["expires"] = "1999-01-01T00:00:00Z" };
        var options = node.Options();
        var asked = 0;
        options.Token = _ => ValueTask.FromResult($"token {++asked}");
        await using var client = new DmbClient(options, time);
        await client.ConnectedAsync().WaitAsync(Node.Patience);
        Assert.Equal("token 1", await node.TokenAsync());

        node.Answer = new JsonObject { ["expires"] = "9999-12-31T23:59:59Z" };
        time.Jump(TimeSpan.FromDays(400));
        time.Advance(TimeSpan.FromSeconds(29));
        Assert.Equal(1, asked);
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal("token 2", await node.TokenAsync());
        await client.SendAsync("call", null);
        time.Jump(TimeSpan.FromDays(-800));
        time.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal(2, asked);
        Assert.Equal(DmbConnectionState.Connected, client.State.State);
    }

    [Fact]
    public async Task A_room_that_is_heard_by_a_pattern_alone_has_no_position()
    {
        await using var node = await LyingNode.StartAsync();
        await using var client = new DmbClient(node.Options("a:1", "a:*"));
        await client.ConnectedAsync().WaitAsync(Node.Patience);
        await node.SendAsync("""{"event":"call","id":"1","room":"a:1","pos":"k:7","also":{"a:3":"k:1"}}""");
        await node.SendAsync("""{"event":"call","id":"2","room":"a:2","pos":"k:9"}""");

        // The answer comes behind them.
        await client.SendAsync("call", null);
        Assert.Equal([new("a:1", "k:7")], client.Positions);
    }

    [Fact]
    public async Task A_slow_reader_is_told_how_many_messages_it_lost()
    {
        await using var node = await LyingNode.StartAsync();
        var options = node.Options();
        options.PendingMax = 2;
        await using var client = new DmbClient(options);
        await client.ConnectedAsync().WaitAsync(Node.Patience);
        for (var i = 0; i < 5; i++)
        {
            await node.SendAsync($$"""{"event":"call","data":{{i}},"id":"{{i}}"}""");
        }

        // The answer comes behind them.
        await client.SendAsync("call", null);
        var told = new List<DmbNotice>();
        await foreach (var notice in client.ReadAllAsync())
        {
            if (notice is DmbMessage or DmbGap)
            {
                told.Add(notice);
            }

            if (notice is DmbGap)
            {
                break;
            }
        }

        Assert.Equal(["0", "1"], told.OfType<DmbMessage>().Select(message => message.Id));
        Assert.Equal(new DmbGap(null, 3, "slow_reader"), told[^1]);
    }

    [Fact]
    public async Task A_token_that_could_not_be_renewed_is_asked_for_again()
    {
        var time = new ManualTime();
        await using var node = await LyingNode.StartAsync();
        node.Answer = new JsonObject { ["expires"] = time.GetUtcNow().AddSeconds(70).ToString("O") };
        var options = node.Options();
        var asked = 0;
        options.Token = _ =>
            ++asked == 2 ? throw new InvalidOperationException("no login") : ValueTask.FromResult($"token {asked}");
        await using var client = new DmbClient(options, time);
        await client.ConnectedAsync().WaitAsync(Node.Patience);

        time.Advance(TimeSpan.FromSeconds(41));
        await foreach (var notice in client.ReadAllAsync())
        {
            if (notice is DmbFailure { Error.Message: "no login" })
            {
                break;
            }
        }

        time.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal("token 1", await node.TokenAsync());
        Assert.Equal("token 3", await node.TokenAsync());
    }

    [Theory]
    [InlineData("localhost:8082")]
    [InlineData("ftp://localhost")]
    [InlineData("localhost")]
    public void A_node_that_is_no_URL_is_refused_when_the_client_is_made(string url)
    {
        var options = new DmbClientOptions { Urls = { new Uri(url, UriKind.RelativeOrAbsolute) } };
        var refused = Assert.Throws<ArgumentException>(() => new DmbClient(options));
        Assert.StartsWith($"'{url}' is no URL such as ", refused.Message.Replace("/'", "'", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_registered_client_is_one_has_the_registered_clock_and_ends_with_the_services()
    {
        await using var node = await LyingNode.StartAsync();
        DmbClient client;
        await using (
            var services = new ServiceCollection()
                .AddSingleton<TimeProvider>(new ManualTime())
                .AddDmbClient(options => options.Urls.Add(node.Url))
                .BuildServiceProvider()
        )
        {
            client = services.GetRequiredService<DmbClient>();
            Assert.Same(client, services.GetRequiredService<DmbClient>());
            await client.ConnectedAsync().WaitAsync(Node.Patience);
        }

        Assert.Equal(DmbConnectionState.Closed, client.State.State);
        var error = await Assert.ThrowsAsync<DmbException>(() => client.SendAsync("call", "x"));
        Assert.Equal("closed", error.Code);
    }

    /// <summary>A node that greets, acks whatever it is asked, and else sends what a test sends.</summary>
    private sealed class LyingNode : IAsyncDisposable
    {
        private readonly WebApplication _app;
        private readonly System.Threading.Channels.Channel<string> _tokens =
            System.Threading.Channels.Channel.CreateUnbounded<string>();
        private readonly SemaphoreSlim _sending = new(1);
        private WebSocket? _socket;

        private LyingNode(WebApplication app) => _app = app;

        public JsonNode? Answer { get; set; }

        /// <summary>What its stream of server-sent events says.</summary>
        public string Events { get; set; } = "";

        public Uri Url => new(_app.Urls.First());

        public static async Task<LyingNode> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            builder.Logging.ClearProviders();
            var node = new LyingNode(builder.Build());
            node._app.UseWebSockets();
            node._app.Run(node.ServeAsync);
            await node._app.StartAsync();
            return node;
        }

        public DmbClientOptions Options(params string[] rooms) => new() { Urls = { Url }, Rooms = [.. rooms] };

        public async Task<string> TokenAsync() => await _tokens.Reader.ReadAsync().AsTask().WaitAsync(Node.Patience);

        public async Task SendAsync(string text)
        {
            await _sending.WaitAsync();
            await _socket!.SendAsync(Encoding.UTF8.GetBytes(text), WebSocketMessageType.Text, true, default);
            _sending.Release();
        }

        public async ValueTask DisposeAsync()
        {
            await _app.DisposeAsync();
            _sending.Dispose();
        }

        private async Task ServeAsync(HttpContext context)
        {
            if (!context.WebSockets.IsWebSocketRequest)
            {
                context.Response.ContentType = "text/event-stream";
                await context.Response.WriteAsync(Events);
                await context.Response.Body.FlushAsync();
                await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, context.RequestAborted)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                return;
            }

            _socket = await context.WebSockets.AcceptWebSocketAsync();
            await SendAsync("""{"event":"welcome","data":{"id":"s1","limits":{"ping_s":600,"silent_s":1200}}}""");
            var buffer = new byte[64 * 1024];
            try
            {
                while (await _socket.ReceiveAsync(buffer, default) is { Count: > 0 } received)
                {
                    var frame = JsonNode.Parse(buffer.AsSpan(0, received.Count))!;
                    if ((string?)frame["event"] == "auth")
                    {
                        await _tokens.Writer.WriteAsync((string)frame["data"]!["token"]!);
                    }

                    var data = (Answer ?? new JsonObject()).ToJsonString();
                    await SendAsync($$"""{"ack":{{frame["ack"]}},"ok":true,"data":{{data}}}""");
                }
            }
            catch (WebSocketException)
            {
                // The client is gone.
            }
        }
    }
}
