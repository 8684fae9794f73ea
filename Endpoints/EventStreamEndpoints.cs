using Dmb.Access;
using Dmb.Backends;
using Dmb.Connections;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>A stream whose session is where it belongs.</summary>
/// <param name="Join">What it joined, and may have missed there.</param>
/// <param name="EndAsync">What is to be done when it ends.</param>
internal readonly record struct StreamStart(JoinOperation? Join = null, Func<ValueTask>? EndAsync = null);

/// <summary>GET /events: rooms as server-sent events, for curl and for what has no WebSocket.</summary>
internal static class EventStreamEndpoints
{
    public static void MapEventStream(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/events", StreamAsync)
            .WithTags("Subscribe")
            .WithName("streamEvents")
            .WithSummary("Stream the messages of rooms, or those of a backend service to one of its users.")
            .WithDescription("Server-sent events: each message as `event:`, `data:` and `id:`; a comment line every 15 seconds. `curl -N` shows them as they come. With `service` and `user` the stream is that user's: `dmb:direct` and `dmb:broadcast` come, and the service is told that the user is there. Of rooms that keep a history the id lines say up to where the stream has come; `Last-Event-ID` repeats the last one, and what was missed is sent first, or, as an event `gap`, how much can't be.")
            .WithMetadata(new QueryParameter("room", "A room; may be given several times. Needed where there is no `service`.", "support", IsList: true))
            .WithMetadata(new RequestHeader("Last-Event-ID", "The last id line of an earlier stream, such as `support=k3f9:431`: what came after it is sent first."))
            .WithMetadata(new QueryParameter("service", "The `bkid` of a backend service."))
            .WithMetadata(new QueryParameter("user", "Which of its users this is: 1 to 200 bytes. Needed with `service`."))
            .Produces<string>(StatusCodes.Status200OK, "text/event-stream")
            .ProducesProblems(400, 401, 403, 404, 429, 503)
            .Requires(Operation.Join);

    private static Task StreamAsync(
        HttpContext context, SessionTable sessions, RoomJoins joins, BackendServices backends, AccessRules rules, Limits limits, SocketOptions options)
    {
        var query = context.Request.Query;
        var (service, user) = (query["service"].ToString(), query["user"].ToString());
        if (service.Length > 0 && !Names.IsUser(user))
        {
            throw new RefusedException(ErrorCode.BadName, $"Name the user: /events?service={service}&user=1234. {Names.UserForm}");
        }

        var names = Rooms(query["room"], mayBeEmpty: service.Length > 0, options);
        var caller = context.Caller();
        Array.ForEach(names, name => rules.Demand(caller, Operation.Join, name));
        if (service.Length > 0)
        {
            rules.Demand(caller, Operation.BeUser, user);
        }

        limits.Join(caller, context.Connection.RemoteIpAddress, names.Length + (service.Length > 0 ? 1 : 0));
        var since = Since(context.Request);
        return RunAsync(context, sessions, async session =>
        {
            if (service.Length == 0)
            {
                return new StreamStart(await joins.JoinAsync(session, [.. names.Select(Request)], isHeld: true));
            }

            var joined = new BackendUser(service, user, session);
            var join = await backends.ConnectAsync(joined, [.. names.Concat(joined.Rooms).Select(Request)]);
            return new StreamStart(join, () => backends.DisconnectAsync(joined));
        });

        RoomRequest Request(string room) => new(room, since?.TryGetValue(room, out var place) == true ? place : null);
    }

    /// <summary>
    /// What a client that comes back says it has seen (HTML Living Standard §9.2.4); null for one that says nothing of
    /// places.
    /// </summary>
    private static Dictionary<string, StreamPosition>? Since(HttpRequest request) =>
        request.Headers["Last-Event-ID"].ToString() is { Length: > 0 } id ? StreamCursor.Read(id) : null;

    /// <summary>Answers with a stream of what a session gets, until its client goes.</summary>
    /// <param name="context">The request.</param>
    /// <param name="sessions">Where the session is listed.</param>
    /// <param name="joinAsync">Puts the session where it belongs. What it refuses is the answer.</param>
    public static async Task RunAsync(HttpContext context, SessionTable sessions, Func<Session, Task<StreamStart>> joinAsync)
    {
        using var place = sessions.Reserve(context.Connection.RemoteIpAddress);
        var response = context.Response;
        response.ContentType = "text/event-stream";
        response.Headers.CacheControl = "no-store";
        response.Headers["X-Accel-Buffering"] = "no";
        context.Features.Get<IHttpResponseBodyFeature>()!.DisableBuffering();

        var session = new Session(sessions, context.Caller(), EventStreamWire.WithoutCursor, new StreamFrameOutput(response.Body, context.Abort));
        sessions.Add(session);
        StreamStart start = default;
        try
        {
            // Nothing is written before it is let in: what is refused is answered with a problem.
            var mustFlush = session.Queue(EventStreamFrames.Connected);
            start = await joinAsync(session);
            if (start.Join?.Rooms.Any(room => !room.Position.IsNone) == true)
            {
                var cursor = new StreamCursor(start.Join.Rooms);
                mustFlush |= session.SwapWire(new CursorEventStreamWire(cursor), cursor.Line());
            }

            if (mustFlush)
            {
                session.Flush();
            }

            context.Features.Get<SocketConnection>()?.Watch();
            await using (context.RequestAborted.Register(static s => ((Session)s!).Finish([]), session))
            {
                await using (start.Join)
                {
                    start.Join?.SendGaps();
                }

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
            if (start.EndAsync is not null)
            {
                await start.EndAsync();
            }

            await sessions.RemoveAsync(session);
        }
    }

    private static string[] Rooms(Microsoft.Extensions.Primitives.StringValues query, bool mayBeEmpty, SocketOptions options)
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
