using System.Net.WebSockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Dmb.Tests.Deploy;

/// <summary>deploy/asterisk/bridge.py, between the events of ARI and a broker.</summary>
public sealed class AsteriskTests
{
    private const string Caller = """
        {"id":"1.1","name":"PJSIP/ann-00000001","caller":{"name":"Ann \"the Ö\"; x","number":"ann"},"dialplan":{"exten":"500"}}
        """;

    private const string Peer = """{"id":"1.2","name":"PJSIP/12-34-00000002","caller":{"number":""}}""";

    [Fact]
    public async Task Calls_contacts_and_endpoints_are_published()
    {
        await using var node = await Node.StartAsync();
        await using var asterisk = await StartAsync();
        await using var bridge = Start(asterisk, node.Url, "dmb:secret");
        await bridge.LineAsync("Following Asterisk.");
        using var called = await EventReader.OpenAsync(node, "endpoint:12-34");
        using var number = await EventReader.OpenAsync(node, "number:500");
        using var caller = await EventReader.OpenAsync(node, "endpoint:ann");
        var socket = await asterisk.Socket;
        foreach (var status in new[] { "", "RINGING", "ANSWER" })
        {
            await SendAsync(
                socket,
                $$"""{"type":"Dial","dialstatus":"{{status}}","caller":{{Caller}},"peer":{{Peer}}}"""
            );
        }

        await SendAsync(socket, """{"type":"Dial","dialstatus":"ANSWER"}""");
        await SendAsync(socket, """{"type":"ChannelDestroyed","channel":{"id":"1.2"}}""");
        await SendAsync(socket, """{"type":"ChannelDestroyed","channel":{"id":"1.1"},"cause_txt":"Normal Clearing"}""");
        var calling = await SipEvent.NextAsync(called);
        Assert.Equal(("calling", "Ann \"the Ö\"; x"), (calling.Text("state"), calling.Text("from_name")));
        Assert.Equal("ringing", await SipEvent.StateAsync(called));
        Assert.Equal("answered", await SipEvent.StateAsync(called));
        var ended = await SipEvent.NextAsync(called);
        Assert.Equal(("ended", "Normal Clearing"), (ended.Text("state"), ended.Text("cause")));
        Assert.Equal("calling", await SipEvent.StateAsync(caller));
        Assert.Equal("calling", await SipEvent.StateAsync(number));

        await SendAsync(
            socket,
            """
            {"type":"ContactStatusChange","endpoint":{"resource":"12-34"},
             "contact_info":{"uri":"sip:12-34@127.0.0.1:5070","contact_status":"Created"}}
            """
        );
        await SendAsync(socket, """{"type":"EndpointStateChange","endpoint":{"resource":"12-34","state":"online"}}""");
        await SendAsync(
            socket,
            $$"""{"type":"Dial","dialstatus":"BUSY","caller":{{Caller.Replace("1.1", "1.3", StringComparison.Ordinal)}},"peer":{{Peer}}}"""
        );
        Assert.Equal("location registered", $"{await SipEvent.NextAsync(called)}");
        Assert.Equal("presentities online", $"{await SipEvent.NextAsync(called)}");
        var failed = await SipEvent.NextAsync(called);
        Assert.Equal(("failed", "BUSY"), (failed.Text("state"), failed.Text("cause")));
        await bridge.TerminateAsync();
        Assert.Equal(0, await bridge.EndAsync());
    }

    [Fact]
    public async Task A_lost_connection_is_opened_again_and_a_wrong_password_ends_the_bridge()
    {
        await using var node = await Node.StartAsync();
        await using var asterisk = await StartAsync();
        await using var bridge = Start(asterisk, node.Url, "dmb:secret");
        var first = await asterisk.Socket;
        await bridge.LineAsync("Following Asterisk.");
        first.Abort();
        await bridge.LineAsync("Following Asterisk.", 2);

        await using var refused = Start(asterisk, node.Url, "dmb:wrong");
        await refused.LineAsync("ARI_KEY");
        Assert.Equal(1, await refused.EndAsync());
    }

    private static ChildProcess Start(Ari asterisk, Uri broker, string key) =>
        ChildProcess.Start(
            "/usr/bin/python3",
            ["-B", Path.Combine(Repository.Root, "deploy", "asterisk", "bridge.py")],
            Repository.Root,
            ("DMB_URL", $"{broker}"),
            ("ARI_URL", $"{asterisk.Url}"),
            ("ARI_KEY", key)
        );

    private static Task SendAsync(WebSocket socket, string json) =>
        socket.SendAsync(Encoding.UTF8.GetBytes(json), WebSocketMessageType.Text, true, CancellationToken.None);

    private static async Task<Ari> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        var socket = new TaskCompletionSource<WebSocket>(TaskCreationOptions.RunContinuationsAsynchronously);
        app.UseWebSockets();
        app.Run(async context =>
        {
            var query = context.Request.Query;
            if (context.Request.Path != "/ari/events" || query["api_key"] != "dmb:secret")
            {
                context.Response.StatusCode = StatusCodes.Status401Unauthorized;
                return;
            }

            Assert.Equal(("dmb", "true"), (query["app"].ToString(), query["subscribeAll"].ToString()));
            using var accepted = await context.WebSockets.AcceptWebSocketAsync();
            socket.TrySetResult(accepted);
            try
            {
                await accepted.ReceiveAsync(new byte[100], context.RequestAborted);
            }
            catch (Exception e) when (e is OperationCanceledException or WebSocketException)
            {
                // The client has gone, or the test has cut it.
            }
        });
        await app.StartAsync();
        return new Ari(app, socket.Task.WaitAsync(Node.Patience));
    }

    /// <summary>The REST interface of an Asterisk, and the first socket to its events.</summary>
    private sealed record Ari(WebApplication App, Task<WebSocket> Socket) : IAsyncDisposable
    {
        public Uri Url => new(App.Urls.Single().Replace("http:", "ws:", StringComparison.Ordinal) + "/ari");

        public ValueTask DisposeAsync() => App.DisposeAsync();
    }
}
