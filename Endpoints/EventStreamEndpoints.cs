using Dmb.Backends;
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
            .WithSummary("Stream the messages of rooms, or those of a backend service to one of its users.")
            .WithDescription("Server-sent events: each message as `event:`, `data:` and `id:`; a comment line every 15 seconds. `curl -N` shows them as they come. With `service` and `user` the stream is that user's: `dmb:direct` and `dmb:broadcast` come, and the service is told that the user is there.")
            .WithMetadata(new QueryParameter("room", "A room; may be given several times. Needed where there is no `service`.", "support", IsList: true))
            .WithMetadata(new QueryParameter("service", "The `bkid` of a backend service."))
            .WithMetadata(new QueryParameter("user", "Which of its users this is: 1 to 200 bytes. Needed with `service`."))
            .Produces<string>(StatusCodes.Status200OK, "text/event-stream")
            .ProducesProblems(400, 403, 404, 503);

    private static Task StreamAsync(
        HttpContext context, SessionTable sessions, RoomTable rooms, IBackplane backplane, BackendServices backends, BrokerOptions options)
    {
        var query = context.Request.Query;
        var (service, user) = (query["service"].ToString(), query["user"].ToString());
        if (service.Length > 0 && !Names.IsUser(user))
        {
            throw new RefusedException(ErrorCode.BadName, $"Name the user: /events?service={service}&user=1234. {Names.UserForm}");
        }

        var names = Rooms(query["room"], mayBeEmpty: service.Length > 0, options);
        return RunAsync(context, sessions, async session =>
        {
            await rooms.JoinAsync(session, names, backplane);
            if (service.Length == 0)
            {
                return null;
            }

            var joined = new BackendUser(service, user, session);
            await backends.ConnectAsync(joined);
            return () => backends.DisconnectAsync(joined);
        });
    }

    /// <summary>Answers with a stream of what a session gets, until its client goes.</summary>
    /// <param name="context">The request.</param>
    /// <param name="sessions">Where the session is listed.</param>
    /// <param name="joinAsync">Puts the session where it belongs, and gives what is to be done when it ends. What it refuses is the answer.</param>
    public static async Task RunAsync(HttpContext context, SessionTable sessions, Func<Session, Task<Func<ValueTask>?>> joinAsync)
    {
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
            Func<ValueTask>? endAsync = null;
            try
            {
                // Nothing is written before it is let in: what is refused is answered with a problem.
                var mustFlush = session.Queue(EventStreamFrames.Connected);
                endAsync = await joinAsync(session);
                if (mustFlush)
                {
                    session.Flush();
                }

                await using (context.RequestAborted.Register(static s => ((Session)s!).Finish([]), session))
                {
                    await session.Ended;
                }
            }
            catch
            {
                session.Abandon();
                throw;
            }
            finally
            {
                session.Finish([]);
                if (endAsync is not null)
                {
                    await endAsync();
                }

                await sessions.RemoveAsync(session);
            }
        }
        finally
        {
            sessions.Release();
        }
    }

    private static string[] Rooms(Microsoft.Extensions.Primitives.StringValues query, bool mayBeEmpty, BrokerOptions options)
    {
        string[] names = [.. query.Select(name => name ?? "").Distinct()];
        if (names.Length == 0 && !mayBeEmpty)
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
