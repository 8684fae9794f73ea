using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>A room now.</summary>
/// <param name="Room">Its name.</param>
/// <param name="Sessions">How many sessions are in it.</param>
/// <param name="Pos">Its place in history, or null for a room that keeps none, and while Redis is away.</param>
internal sealed record RoomAnswer(string Room, int Sessions, string? Pos);

/// <summary>GET /rooms/{room}: who would get a message.</summary>
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
        rules.Demand(context.Caller(), Operation.Join, room);
        return Results.Json(
            new RoomAnswer(room, await backplane.CountAsync(room), await PositionAsync(room, backplane, policy)),
            ApiJson.Wire.RoomAnswer
        );
    }

    /// <summary>The room's place in history; null where it keeps none, or no node can be asked.</summary>
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
