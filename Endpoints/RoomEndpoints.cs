using Dmb.Routing;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>A room now.</summary>
/// <param name="Room">Its name.</param>
/// <param name="Sessions">How many sessions are in it.</param>
/// <param name="Pos">Its place in history, or null for a room that keeps none.</param>
internal sealed record RoomAnswer(string Room, int Sessions, string? Pos);

/// <summary>GET /rooms/{room}: who would get a message.</summary>
internal static class RoomEndpoints
{
    public static void MapRooms(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/rooms/{room}", ShowAsync)
            .WithTags("Rooms")
            .WithName("showRoom")
            .WithSummary("Count a room's sessions.")
            .WithMetadata(new RouteExample("room", "support"))
            .ProducesProblems(400, 403);

    private static async Task<RoomAnswer> ShowAsync(HttpContext context, string room, IBackplane backplane)
    {
        if (room.Contains('%', StringComparison.Ordinal))
        {
            // In the route's value a slash of the name is still escaped, and can't be told from an escaped escape.
            var path = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget.Split('?')[0];
            room = Uri.UnescapeDataString(path[(path.LastIndexOf('/') + 1)..]);
        }

        return Names.IsRoom(room)
            ? new RoomAnswer(room, await backplane.CountAsync(room), Pos: null)
            : throw new RefusedException(ErrorCode.BadName, Names.RoomForm);
    }
}
