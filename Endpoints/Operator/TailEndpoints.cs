using Dmb.Access;
using Dmb.Routing;
using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>Maps GET /tail: streams the outcome of each publish.</summary>
internal static class TailEndpoints
{
    private const string Path = "/tail";

    public static void MapTail(this IEndpointRouteBuilder routes)
    {
        // Created here, so that it registers its questions before the start.
        routes.ServiceProvider.GetRequiredService<TailFeed>();
        routes
            .MapGet(Path, StreamAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("tail")
            .WithSummary("Stream the outcome of each publish on all nodes, and why a message reached no session.")
            .WithDescription(
                "Server-sent events: one `trace` a publish, `{\"time\",\"event\",\"id\",\"from\",\"caller\",\"rooms\","
                    + "\"left_out\",\"nodes\",\"sessions\",\"why\"}`. `why` is null for a message that reached a "
                    + "session; else `unknown_event`, `no_room`, `no_subscriber`, `duplicate`, `refused:<code>` or "
                    + "`spooled`. At most 1,000 traces a second are sent; then `left_out` says how many were not, "
                    + "`{\"count\":n}`."
            )
            .WithMetadata(
                new QueryParameter("event", "Only publishes of this event."),
                new QueryParameter("room", "Only publishes to this room, or that named it in vain."),
                new QueryParameter(
                    "data",
                    "With `1` a trace also has `pos`, the position in each room's history, and `data`, the message's "
                        + "data, or null if it is larger than 4,096 bytes."
                ),
                EventStreamEndpoints.Heartbeat
            )
            .Produces<string>(StatusCodes.Status200OK, "text/event-stream")
            .ProducesProblems(400, 401, 403, 429, 503)
            .Requires(Operation.Administer);

        routes
            .MapMethods(Path, [HttpMethods.Head], (Delegate)StreamAsync)
            .ExcludeFromDescription()
            .Requires(Operation.Administer);
    }

    private static Task StreamAsync(HttpContext context, SessionTable sessions, TailFeed feed)
    {
        var query = context.Request.Query;
        var filter = new TailFilter(
            Given(query["event"], name => Names.IsEvent(name), Names.EventForm),
            Given(query["room"], name => Names.IsRoom(name), Names.RoomForm)
        );
        var wantsData = query["data"] == "1";
        return EventStreamSession.RunAsync(context, sessions, async session =>
        {
            try
            {
                await feed.OpenAsync(session, filter, wantsData);
                return new StreamStart(EndAsync: () => feed.CloseAsync(session));
            }
            catch
            {
                await feed.CloseAsync(session);
                throw;
            }
        });
    }

    private static string? Given(string? value, Func<string, bool> isName, string form) =>
        value is null or "" ? null
        : isName(value) ? value
        : throw new RefusedException(ErrorCode.BadName, form);
}
