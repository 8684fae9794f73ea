using System.Text.Json;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>Maps the operators' views of the cluster: /nodes, /stats, /rooms, /sessions.</summary>
internal static class OperatorEndpoints
{
    /// <summary>The OpenAPI tag of operators' routes.</summary>
    public const string Tag = "Operator";

    private const int LimitDefault = 50;
    private const int LimitMax = 500;

    /// <summary>The query parameter for a list's length.</summary>
    public static readonly QueryParameter Limit = new("limit", "Maximum number of items: 1 to 500, default 50.");

    /// <summary>The query parameter for a list's next page.</summary>
    public static readonly QueryParameter After = new("after", "The `next` of the previous page.");

    public static void MapOperator(this IEndpointRouteBuilder routes)
    {
        var answers = routes.ServiceProvider.GetRequiredService<NodeAnswers>();
        answers.AddTo(routes.ServiceProvider.GetRequiredService<ClusterQuestions>());

        routes
            .MapGet("/nodes", NodesAsync)
            .WithTags(Tag)
            .WithName("listNodes")
            .WithSummary("List the nodes of the cluster.")
            .WithMetadata(new QueryParameter("transports", "With `1` each node counts its sessions by transport."))
            .Produces<NodesAnswer>()
            .ProducesProblems(401, 403)
            .Requires(Operation.Administer);

        routes
            .MapGet("/stats", StatsAsync)
            .WithTags(Tag)
            .WithName("showStats")
            .WithSummary("The last 15 minutes of the cluster in steps of 5 seconds, the oldest first.")
            .Produces<StatsAnswer>()
            .ProducesProblems(401, 403)
            .Requires(Operation.Administer);

        routes
            .MapGet("/rooms", RoomsAsync)
            .WithTags(Tag)
            .WithName("listRooms")
            .WithSummary("List the rooms that have sessions, by name.")
            .WithMetadata(new QueryParameter("prefix", "Prefix of their names."), Limit, After)
            .Produces<RoomsAnswer>()
            .ProducesProblems(400, 401, 403)
            .Requires(Operation.Administer);

        routes
            .MapGet("/rooms/{room}/sessions", PresenceAsync)
            .WithTags("Rooms")
            .WithName("listPresence")
            .WithSummary("List the sessions in a room, the newest first.")
            .WithDescription("For callers that may join the room; operators see `address` too.")
            .WithMetadata(new RouteExample("room", "support"))
            .WithMetadata(Limit, After)
            .Produces<PresenceAnswer>()
            .ProducesProblems(400, 401, 403)
            .Requires(Operation.Join);

        routes
            .MapGet("/sessions", SessionsAsync)
            .WithTags(Tag)
            .WithName("listSessions")
            .WithSummary("List sessions, the newest first.")
            .WithDescription(
                "With `Accept: application/x-ndjson` all of them are streamed, one a line; `limit` and `after` are "
                    + "ignored. The last line is `{\"missing\":[…]}`, with the ids of nodes that did not answer in time: "
                    + "a stream without it is not complete."
            )
            .WithMetadata(
                new QueryParameter("user", "Only those of a user, by the name of their key or token."),
                new QueryParameter("room", "Only those in a room."),
                new QueryParameter("address", "Only those from an address."),
                Limit,
                After
            )
            .Produces<SessionsAnswer>()
            .ProducesProblems(400, 401, 403)
            .Requires(Operation.Administer);
    }

    private static async Task<IResult> NodesAsync(ICluster cluster, string? transports = null)
    {
        var asked = await cluster.AskAsync(NodeAnswers.Node, transports == "1" ? NodeAnswers.Transports : "");
        var nodes = asked.Answers.Select(answer => JsonSerializer.Deserialize(answer, ApiJson.Wire.NodeEntry)!);
        return Results.Json(
            new NodesAnswer([.. nodes.OrderByDescending(node => node.Started)], null, asked.Missing),
            ApiJson.Wire.NodesAnswer
        );
    }

    private static async Task<IResult> StatsAsync(ICluster cluster)
    {
        var asked = await cluster.AskAsync(NodeAnswers.Stats, "");
        var entries = asked.Answers.SelectMany(answer =>
            JsonSerializer.Deserialize(answer, ApiJson.Wire.StatsEntryArray)!
        );
        return Results.Json(
            new StatsAnswer((int)StatsSampler.Step.TotalSeconds, StatsSampler.Sum(entries), asked.Missing),
            ApiJson.Wire.StatsAnswer
        );
    }

    private static async Task<IResult> RoomsAsync(
        ICluster cluster,
        IBackplane backplane,
        HistoryPolicy policy,
        string? prefix = null,
        int? limit = null,
        string? after = null
    )
    {
        var max = LimitOf(limit);
        var query = new RoomQuery(prefix ?? "", max + 1, after);
        var asked = await cluster.AskAsync(NodeAnswers.Rooms, JsonSerializer.Serialize(query, ApiJson.Wire.RoomQuery));
        var rooms = asked
            .Answers.SelectMany(answer => JsonSerializer.Deserialize(answer, ApiJson.Wire.RoomEntryArray)!)
            .GroupBy(room => room.Room)
            .OrderBy(room => room.Key, StringComparer.Ordinal)
            .Select(room => new RoomEntry(room.Key, room.Sum(part => part.Sessions)))
            .Take(max + 1)
            .ToArray();
        var items = await WithHistoryAsync(rooms[..Math.Min(max, rooms.Length)], backplane, policy);
        return Results.Json(
            new RoomsAnswer(items, rooms.Length > max ? items[^1].Room : null, asked.Missing),
            ApiJson.Wire.RoomsAnswer
        );
    }

    /// <summary>Adds positions and kept messages of rooms with a history; none while the backplane is down.</summary>
    private static async Task<RoomEntry[]> WithHistoryAsync(
        RoomEntry[] rooms,
        IBackplane backplane,
        HistoryPolicy policy
    )
    {
        var keeping = rooms.Where(room => policy.Keeps(room.Room)).Select(room => room.Room).ToArray();
        if (keeping.Length == 0)
        {
            return rooms;
        }

        try
        {
            var histories = await backplane.ReadHistoryAsync([.. keeping.Select(room => new RoomRequest(room))]);
            var kept = await backplane.CountKeptAsync(keeping);
            return
            [
                .. rooms.Select(room =>
                    Array.IndexOf(keeping, room.Room) is >= 0 and var i
                        ? room with
                        {
                            Pos = histories[i].Position.ToString(),
                            Kept = kept[i],
                        }
                        : room
                ),
            ];
        }
        catch (RefusedException away) when (away.Code == ErrorCode.BackplaneDown)
        {
            return rooms;
        }
    }

    private static async Task<IResult> PresenceAsync(
        HttpContext context,
        string room,
        ICluster cluster,
        AccessRules rules,
        int? limit = null,
        string? after = null
    )
    {
        room = RoomRoute.NameOf(context, room);
        await rules.AskAsync(context.Caller(), [room]);
        rules.Demand(context.Caller(), Operation.Join, room);
        var isOperator = rules.May(context.Caller(), Operation.Administer);
        var (items, next, missing) = await FindAsync(
            cluster,
            new SessionQuery(null, room, null, LimitOf(limit), after)
        );
        PresenceEntry[] present =
        [
            .. items.Select(item => new PresenceEntry(
                item.Session,
                item.User,
                item.Node,
                item.Since,
                isOperator ? item.Address : null
            )),
        ];
        return Results.Json(new PresenceAnswer(present, next, missing), ApiJson.Wire.PresenceAnswer);
    }

    private static async Task<IResult> SessionsAsync(
        HttpContext context,
        ICluster cluster,
        string? user = null,
        string? room = null,
        string? address = null,
        int? limit = null,
        string? after = null
    )
    {
        var query = new SessionQuery(user, room, address, LimitOf(limit), after);
        if (AcceptsLines(context.Request))
        {
            return new SessionStream(cluster, query);
        }

        var (items, next, missing) = await FindAsync(cluster, query);
        return Results.Json(new SessionsAnswer(items, next, missing), ApiJson.Wire.SessionsAnswer);
    }

    private static bool AcceptsLines(HttpRequest request) =>
        request.GetTypedHeaders().Accept.Any(type => type.MediaType == SessionStream.MediaType);

    private static async Task<(SessionEntry[] Items, string? Next, IReadOnlyList<string> Missing)> FindAsync(
        ICluster cluster,
        SessionQuery query
    )
    {
        var asked = await cluster.AskAsync(
            NodeAnswers.Sessions,
            JsonSerializer.Serialize(query with { Limit = query.Limit + 1 }, ApiJson.Wire.SessionQuery)
        );
        var found = asked
            .Answers.SelectMany(answer => JsonSerializer.Deserialize(answer, ApiJson.Wire.SessionEntryArray)!)
            .OrderBy(SessionKey.Of, SessionKey.NewestFirst)
            .Take(query.Limit + 1)
            .ToArray();
        var items = found[..Math.Min(query.Limit, found.Length)];
        return (items, found.Length > query.Limit ? SessionKey.Of(items[^1]).ToString() : null, asked.Missing);
    }

    public static int LimitOf(int? limit) => Math.Clamp(limit ?? LimitDefault, 1, LimitMax);
}
