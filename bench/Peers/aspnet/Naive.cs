using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Threading.Channels;

namespace Dmb.Bench.Peers.AspNet;

/// <summary>The broker that one writes first: a channel for each socket, and a task that sends what is in it.</summary>
internal static class Naive
{
    private static readonly ConcurrentDictionary<string, ConcurrentDictionary<Channel<byte[]>, bool>> Rooms = new();

    public static void Run(WebApplicationBuilder builder)
    {
        var app = builder.Build();
        app.UseWebSockets();
        app.Map("/sub/{room}", SubscribeAsync);
        app.MapPost("/pub/{room}", PublishAsync);
        app.Run();
    }

    private static async Task PublishAsync(HttpContext context)
    {
        var data = new byte[(int)context.Request.ContentLength!];
        await context.Request.Body.ReadExactlyAsync(data);
        if (Rooms.TryGetValue((string)context.Request.RouteValues["room"]!, out var members))
        {
            foreach (var (channel, _) in members)
            {
                channel.Writer.TryWrite(data);
            }
        }

        await context.Response.WriteAsync("{\"ok\":true}");
    }

    private static async Task SubscribeAsync(HttpContext context)
    {
        var members = Rooms.GetOrAdd((string)context.Request.RouteValues["room"]!, _ => new());
        var channel = Channel.CreateBounded<byte[]>(1_024);
        using var socket = await context.WebSockets.AcceptWebSocketAsync();
        members[channel] = true;
        var sending = SendAsync(socket, channel.Reader);
        try
        {
            var buffer = new byte[1_024];
            while (
                (await socket.ReceiveAsync(buffer, context.RequestAborted)).MessageType != WebSocketMessageType.Close
            ) { }
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException) { }

        members.TryRemove(channel, out _);
        channel.Writer.Complete();
        await sending;
    }

    private static async Task SendAsync(WebSocket socket, ChannelReader<byte[]> messages)
    {
        try
        {
            await foreach (var message in messages.ReadAllAsync())
            {
                await socket.SendAsync(message, WebSocketMessageType.Text, true, CancellationToken.None);
            }
        }
        catch (Exception e) when (e is WebSocketException or ObjectDisposedException) { }
    }
}
