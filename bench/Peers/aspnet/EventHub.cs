using System.Text.Json;
using Microsoft.AspNetCore.SignalR;

namespace Dmb.Bench.Peers.AspNet;

/// <summary>SignalR as it comes: a hub whose clients join groups, and a route that sends to one.</summary>
internal sealed class EventHub : Hub
{
    public Task Join(string room) => Groups.AddToGroupAsync(Context.ConnectionId, room);

    public static void Run(WebApplicationBuilder builder)
    {
        // The subscribers of a benchmark do not ping.
        builder.Services.AddSignalR(hub => hub.ClientTimeoutInterval = TimeSpan.FromHours(1));
        var app = builder.Build();
        app.MapHub<EventHub>("/hub");
        app.MapPost("/pub/{room}", async (HttpContext context, string room, IHubContext<EventHub> hub) =>
        {
            var data = await context.Request.ReadFromJsonAsync<JsonElement>();
            await hub.Clients.Group(room).SendAsync("report_csr", data);
            await context.Response.WriteAsync("{\"ok\":true}");
        });
        app.Run();
    }
}
