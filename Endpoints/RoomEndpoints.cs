using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>The current state of a room.</summary>
/// <param name="Room">Its name.</param>
/// <param name="Sessions">Number of its sessions.</param>
/// <param name="Pos">Its position in history; null without history, and while Redis is down.</param>
internal sealed record RoomAnswer(string Room, int Sessions, string? Pos);

/// <summary>Maps GET /rooms/{room}.</summary>
internal static class RoomEndpoints
{
    public static void MapRooms(this IEndpointRouteBuilder routes) =>
        routes
            .MapGet("/rooms/{room}", ShowAsync)
            .WithTags("Rooms")
            .WithName("showRoom")
            .WithSummary("Count a room's sessions.")
            .WithMetadata(new RouteExample("room", "support"))
            .Produces<RoomAnswer>()
            .ProducesProblems(400, 401, 403)
            .Requires(Operation.Join);

    private static async Task<IResult> ShowAsync(
        HttpContext context,
        string room,
        IBackplane backplane,
        HistoryPolicy policy,
        AccessRules rules
    )
    {
        room = RoomRoute.NameOf(context, room);
        await rules.AskAsync(context.Caller(), [room]);
        rules.Demand(context.Caller(), Operation.Join, room);
        return Results.Json(
            new RoomAnswer(room, await backplane.CountAsync(room), await PositionAsync(room, backplane, policy)),
            ApiJson.Wire.RoomAnswer
        );
    }

    /// <summary>The room's position in history; null without history, or while the backplane is down.</summary>
    private static async ValueTask<string?> PositionAsync(string room, IBackplane backplane, HistoryPolicy policy)
    {
        try
        {
            return policy.Keeps(room)
                ? (await backplane.ReadHistoryAsync([new RoomRequest(room)]))[0].Position.ToString()
                : null;
        }
        catch (RefusedException away) when (away.Code == ErrorCode.BackplaneDown)
        {
            return null;
        }
    }
}
