using Dmb.Access;
using Dmb.Backends;
using Dmb.Routing;
using Dmb.Sockets;
using Microsoft.Extensions.Primitives;

namespace Dmb.Endpoints;

/// <summary>Maps GET /events: rooms as server-sent events, for curl and clients without WebSocket.</summary>
internal static class EventStreamEndpoints
{
    private const string Path = "/events";

    /// <summary>The query parameter of all streams that requests heartbeats.</summary>
    public static readonly QueryParameter Heartbeat = new(
        "heartbeat",
        "With `1` keep-alives are an event `ping` every `ping_s` (25 s) instead of a comment every 15 s."
    );

    public static void MapEventStream(this IEndpointRouteBuilder routes)
    {
        routes
            .MapGet(Path, StreamAsync)
            .WithTags("Subscribe")
            .WithName("streamEvents")
            .WithSummary("Stream the messages of rooms, or those of a backend service to one of its users.")
            .WithDescription(
                "Server-sent events: each message as `event:`, `data:` and `id:`; a comment line every 15 seconds. "
                    + "`curl -N` shows them as they arrive. With `service` and `user` the stream is that user's "
                    + "session: "
                    + "it receives `dmb:direct` and `dmb:broadcast`, and the service is notified. In rooms with a "
                    + "history "
                    + "the id lines carry the stream's positions; a client that sends the last one as `Last-Event-ID` "
                    + "first receives the missed messages or, for those no longer kept, an event `gap`. A stream "
                    + "begins "
                    + "with `retry:`, and has another one before the broker closes it. A browser's EventSource "
                    + "(`Accept: text/event-stream` without `X-Api-Key`) that cannot be served now gets a 200 with "
                    + "only "
                    + "`retry:` instead of a 429 or 503, after which it would not reconnect."
            )
            .WithMetadata(
                new QueryParameter(
                    "room",
                    "A room, or a pattern of rooms such as `endpoint:*`; repeatable. Required without `service`.",
                    "support",
                    IsList: true
                )
            )
            .WithMetadata(
                new RequestHeader(
                    "Last-Event-ID",
                    "The last id line of an earlier stream, such as `support=k3f9:431`: what came after it is sent "
                        + "first."
                )
            )
            .WithMetadata(new QueryParameter("service", "The `bkid` of a backend service."))
            .WithMetadata(new QueryParameter("user", "The user's name: 1 to 200 bytes. Required with `service`."))
            .WithMetadata(
                new QueryParameter("lastEventId", "The same as the header `Last-Event-ID`, which takes precedence.")
            )
            .WithMetadata(Heartbeat)
            .Produces<string>(StatusCodes.Status200OK, "text/event-stream")
            .ProducesProblems(400, 401, 403, 404, 429, 503)
            .Requires(Operation.Join);

        routes
            .MapMethods(Path, [HttpMethods.Head], (Delegate)StreamAsync)
            .ExcludeFromDescription()
            .Requires(Operation.Join);
    }

    private static async Task StreamAsync(
        HttpContext context,
        SessionTable sessions,
        RoomJoins joins,
        BackendServices backends,
        AccessRules rules,
        Limits limits,
        SocketOptions options
    )
    {
        var query = context.Request.Query;
        var (service, user) = (query["service"].ToString(), query["user"].ToString());
        if (service.Length > 0 && !Names.IsUser(user))
        {
            throw new RefusedException(
                ErrorCode.BadName,
                $"Name the user: /events?service={service}&user=1234. {Names.UserForm}"
            );
        }

        var names = Rooms(query["room"], mayBeEmpty: service.Length > 0, options);
        var caller = context.Caller();
        await rules.AskAsync(caller, names);
        Array.ForEach(names, name => rules.Demand(caller, Operation.Join, name));
        if (service.Length > 0)
        {
            rules.Demand(caller, Operation.ActAsUser, user);
            await backends.TouchAsync(service);
        }

        limits.Join(caller, context.Connection.RemoteIpAddress, names.Length + (service.Length > 0 ? 1 : 0));
        var since = ReadPositions(context.Request);
        await EventStreamSession.RunAsync(context, sessions, async session =>
        {
            if (service.Length == 0)
            {
                return new StreamStart(await joins.JoinAsync(session, [.. names.Select(Request)], isHeld: true));
            }

            var joined = new BackendUser(service, user, session);
            var join = await backends.ConnectAsync(joined, [.. names.Concat(joined.Rooms).Select(Request)]);
            return new StreamStart(join, () => backends.DisconnectAsync(joined));
        });

        RoomRequest Request(string room) =>
            new(room, since?.TryGetValue(room, out var position) == true ? position : null);
    }

    /// <summary>The positions in <c>Last-Event-ID</c> (HTML Living Standard §9.2.4); null if there are none.</summary>
    private static Dictionary<string, StreamPosition>? ReadPositions(HttpRequest request)
    {
        var header = request.Headers["Last-Event-ID"].ToString();
        var id = header.Length > 0 ? header : request.Query["lastEventId"].ToString();
        return id.Length > 0 ? StreamCursor.Read(id) : null;
    }

    private static string[] Rooms(StringValues query, bool mayBeEmpty, SocketOptions options)
    {
        string[] names = [.. query.Select(name => name ?? "").Distinct()];
        if (names.Length == 0 && !mayBeEmpty)
        {
            throw new RefusedException(ErrorCode.BadName, "Name at least one room: /events?room=support.");
        }

        if (names.Length > options.MaxRoomsPerSubscribe)
        {
            throw new RefusedException(
                ErrorCode.TooManyRooms,
                $"One stream may name {options.MaxRoomsPerSubscribe} rooms."
            );
        }

        return Array.TrueForAll(names, name => Names.IsRoom(name) || Names.IsPattern(name))
            ? names
            : throw new RefusedException(ErrorCode.BadName, Names.SubscriptionForm);
    }
}
