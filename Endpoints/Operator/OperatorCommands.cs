using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Dmb.Access;
using Dmb.Routing;
using Dmb.Sockets;

namespace Dmb.Endpoints;

/// <summary>
/// Maps the operators' commands: close and move sessions, read and clear histories. Changes are logged.
/// </summary>
internal static partial class OperatorCommands
{
    private const string SessionExample = "0123456789abcdef0123456789abcdef";
    private const int CloseCodeMin = 4_000;
    private const int CloseCodeMax = 4_099;
    private const int ReasonBytesMax = 123;
    private const int HistoryLimit = 50;
    private const int HistoryLimitMax = 500;

    public static void MapOperatorCommands(this IEndpointRouteBuilder routes)
    {
        routes
            .MapDelete("/sessions/{id}", CloseAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("closeSession")
            .WithSummary("Close a session on any node.")
            .WithMetadata(new RouteExample("id", SessionExample))
            .WithMetadata(
                new QueryParameter("code", "The close code: 4001, or 4000 to 4099."),
                new QueryParameter("reason", "The reason sent to the client, at most 123 bytes; default `kicked`.")
            )
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(400, 401, 403, 404, 503)
            .Requires(Operation.Administer);

        routes
            .MapDelete("/users/{user}/sessions", CloseAllAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("closeUserSessions")
            .WithSummary("Close all sessions of a user, by the name of its key or token.")
            .WithMetadata(new RouteExample("user", "ann"))
            .Produces<ClosedAnswer>()
            .ProducesProblems(401, 403, 503)
            .Requires(Operation.Administer);

        routes
            .MapPut("/sessions/{id}/rooms/{room}", JoinAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("joinSession")
            .WithSummary("Make a session join a room; it receives `joined`.")
            .WithMetadata(new RouteExample("id", SessionExample), new RouteExample("room", "support"))
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(400, 401, 403, 404, 503)
            .Requires(Operation.Administer);

        routes
            .MapDelete("/sessions/{id}/rooms/{room}", LeaveAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("leaveSession")
            .WithSummary("Make a session leave a room; it receives `left`.")
            .WithMetadata(new RouteExample("id", SessionExample), new RouteExample("room", "support"))
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(400, 401, 403, 404, 503)
            .Requires(Operation.Administer);

        routes
            .MapGet("/rooms/{room}/history", HistoryAsync)
            .WithTags("Rooms")
            .WithName("readHistory")
            .WithSummary("Read a room's history, in order of publication.")
            .WithDescription(
                "For callers that may join the room. Without `since` the newest, with it the first messages after it."
            )
            .WithMetadata(new RouteExample("room", "support"))
            .WithMetadata(new QueryParameter("since", "A position: only messages after it."), OperatorEndpoints.Limit)
            .Produces<HistoryAnswer>()
            .ProducesProblems(400, 401, 403, 503)
            .Requires(Operation.Join);

        routes
            .MapDelete("/rooms/{room}/history", ClearAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("clearHistory")
            .WithSummary("Clear a room's history; its positions continue.")
            .WithMetadata(new RouteExample("room", "support"))
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(400, 401, 403, 503)
            .Requires(Operation.Administer);
    }

    private static async Task<IResult> CloseAsync(
        HttpContext context,
        string id,
        ICluster cluster,
        ILogger<NodeAnswers> logger,
        int? code = null,
        string? reason = null
    )
    {
        var (closeCode, text) = (code ?? CloseReason.KickedCode, reason ?? CloseReason.Kicked().Text);
        if (closeCode is < CloseCodeMin or > CloseCodeMax || Encoding.UTF8.GetByteCount(text) > ReasonBytesMax)
        {
            throw new RefusedException(ErrorCode.BadName, "A code is 4000 to 4099, a reason at most 123 bytes.");
        }

        await DoAsync(
            cluster,
            NodeAnswers.Close,
            new CloseCommand(id, null, closeCode, text),
            ApiJson.Wire.CloseCommand,
            id
        );
        LogClosed(logger, context.Caller().Name, id, closeCode, text);
        return Results.NoContent();
    }

    private static async Task<IResult> CloseAllAsync(
        HttpContext context,
        string user,
        ICluster cluster,
        ILogger<NodeAnswers> logger
    )
    {
        var command = new CloseCommand(null, user, CloseReason.KickedCode, CloseReason.Kicked().Text);
        var answers = await AskAsync(cluster, NodeAnswers.Close, command, ApiJson.Wire.CloseCommand);
        var closed = answers.Sum(answer => answer.Found);
        LogClosedAll(logger, context.Caller().Name, closed, user);
        return Results.Json(new ClosedAnswer(closed), ApiJson.Wire.ClosedAnswer);
    }

    private static Task<IResult> JoinAsync(
        HttpContext context,
        string id,
        string room,
        ICluster cluster,
        ILogger<NodeAnswers> logger
    ) => MoveAsync(context, id, room, isJoin: true, cluster, logger);

    private static Task<IResult> LeaveAsync(
        HttpContext context,
        string id,
        string room,
        ICluster cluster,
        ILogger<NodeAnswers> logger
    ) => MoveAsync(context, id, room, isJoin: false, cluster, logger);

    private static async Task<IResult> MoveAsync(
        HttpContext context,
        string id,
        string room,
        bool isJoin,
        ICluster cluster,
        ILogger<NodeAnswers> logger
    )
    {
        room = RoomRoute.NameOf(context, room);
        await DoAsync(cluster, NodeAnswers.Move, new MoveCommand(id, room, isJoin), ApiJson.Wire.MoveCommand, id);
        LogMoved(logger, context.Caller().Name, id, isJoin ? "join" : "leave", room);
        return Results.NoContent();
    }

    private static async Task<IResult> HistoryAsync(
        HttpContext context,
        string room,
        IBackplane backplane,
        HistoryPolicy policy,
        AccessRules rules,
        string? since = null,
        int? limit = null
    )
    {
        room = RoomRoute.NameOf(context, room);
        await rules.AskAsync(context.Caller(), [room]);
        rules.Demand(context.Caller(), Operation.Join, room);
        if (!policy.Keeps(room))
        {
            return Results.Json(new HistoryAnswer([], null), ApiJson.Wire.HistoryAnswer);
        }

        var position = (await backplane.ReadHistoryAsync([new RoomRequest(room)]))[0].Position;
        var from =
            since is null ? position with { Seq = 0 }
            : StreamPosition.TryParse(since, out var parsed) ? parsed
            : throw new RefusedException(ErrorCode.BadName, StreamPosition.Form);
        var history = (await backplane.ReadHistoryAsync([new RoomRequest(room, from)]))[0];
        var max = Math.Clamp(limit ?? HistoryLimit, 1, HistoryLimitMax);
        var messages = history.Messages ?? [];
        HistoryEntry[] items =
        [
            .. (since is null ? messages.TakeLast(max) : messages.Take(max)).Select(message => new HistoryEntry(
                message.Event,
                JsonElement.Parse(message.Data.Span),
                message.Id,
                message.PositionIn(room).ToString()
            )),
        ];
        return Results.Json(new HistoryAnswer(items, history.Position.ToString()), ApiJson.Wire.HistoryAnswer);
    }

    private static async Task<IResult> ClearAsync(
        HttpContext context,
        string room,
        IBackplane backplane,
        ILogger<NodeAnswers> logger
    )
    {
        room = RoomRoute.NameOf(context, room);
        await backplane.ClearHistoryAsync(room);
        LogCleared(logger, context.Caller().Name, room);
        return Results.NoContent();
    }

    /// <summary>Executes a command on the node that has the session.</summary>
    /// <exception cref="RefusedException">No node has it, or that node refused.</exception>
    private static async Task DoAsync<T>(ICluster cluster, string name, T command, JsonTypeInfo<T> type, string session)
    {
        var found = (await AskAsync(cluster, name, command, type)).FirstOrDefault(answer => answer.Found > 0)
            ?? throw new RefusedException(ErrorCode.UnknownSession, $"There is no session {session}.");
        if (found is { Code: { } code, Message: { } message })
        {
            throw new RefusedException(code, message);
        }
    }

    private static async Task<CommandAnswer[]> AskAsync<T>(
        ICluster cluster,
        string name,
        T command,
        JsonTypeInfo<T> type
    )
    {
        var asked = await cluster.AskAsync(name, JsonSerializer.Serialize(command, type));
        return [.. asked.Answers.Select(answer => JsonSerializer.Deserialize(answer, ApiJson.Wire.CommandAnswer)!)];
    }

    [LoggerMessage(5001, LogLevel.Information, "{Caller} closed session {Session} with {Code}, {Reason}.")]
    private static partial void LogClosed(ILogger logger, string caller, string session, int code, string reason);

    [LoggerMessage(5002, LogLevel.Information, "{Caller} closed {Sessions} sessions of {User}.")]
    private static partial void LogClosedAll(ILogger logger, string caller, int sessions, string user);

    [LoggerMessage(5003, LogLevel.Information, "{Caller} made session {Session} {Change} room {Room}.")]
    private static partial void LogMoved(ILogger logger, string caller, string session, string change, string room);

    [LoggerMessage(5004, LogLevel.Information, "{Caller} cleared the history of room {Room}.")]
    private static partial void LogCleared(ILogger logger, string caller, string room);
}
