using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>GET /events: rooms as server-sent events, for curl and for what has no WebSocket.</summary>
internal static class EventStreamEndpoints
{
    public static void MapEventStream(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/events", StreamAsync)
            .WithTags("Subscribe")
            .WithName("streamEvents")
            .WithSummary("Stream the messages of rooms.")
            .WithDescription("Server-sent events: each message as `event:`, `data:` and `id:`; a comment line every 15 seconds. `curl -N` shows them as they come.")
            .WithMetadata(new QueryExample("room", "support"))
            .Produces<string>(StatusCodes.Status200OK, "text/event-stream")
            .ProducesProblems(400, 403, 503);

    private static async Task StreamAsync(HttpContext context, SessionTable sessions, RoomTable rooms, IBackplane backplane, BrokerOptions options)
    {
        var names = Rooms(context.Request.Query["room"], options);
        sessions.Reserve();
        try
        {
            var response = context.Response;
            response.ContentType = "text/event-stream";
            response.Headers.CacheControl = "no-store";
            response.Headers["X-Accel-Buffering"] = "no";
            context.Features.Get<IHttpResponseBodyFeature>()!.DisableBuffering();

            var session = new Session(sessions, response.Body, WireFormat.EventStream, context.Abort);
            sessions.Add(session);
            try
            {
                await rooms.JoinAsync(session, names, backplane);

                session.Send(EventStreamFrames.Connected);
                await using (context.RequestAborted.Register(static s => ((Session)s!).Finish([]), session))
                {
                    await session.Ended;
                }
            }
            finally
            {
                session.Finish([]);
                await sessions.RemoveAsync(session);
            }
        }
        finally
        {
            sessions.Release();
        }
    }

    private static string[] Rooms(Microsoft.Extensions.Primitives.StringValues query, BrokerOptions options)
    {
        string[] names = [.. query.Select(name => name ?? "").Distinct()];
        if (names.Length == 0)
        {
            throw new RefusedException(ErrorCode.BadName, "Name at least one room: /events?room=support.");
        }

        if (names.Length > options.MaxRoomsPerSubscribe)
        {
            throw new RefusedException(ErrorCode.TooManyRooms, $"One stream may name {options.MaxRoomsPerSubscribe} rooms.");
        }

        return Array.TrueForAll(names, name => Names.IsRoom(name))
            ? names
            : throw new RefusedException(ErrorCode.BadName, Names.RoomForm);
    }
}
