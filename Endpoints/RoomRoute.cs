using Dmb.Routing;
using Microsoft.AspNetCore.Http.Features;

namespace Dmb.Endpoints;

/// <summary>Decodes the room in a route <c>…/rooms/{room}…</c>.</summary>
internal static class RoomRoute
{
    /// <summary>Decodes the room's name.</summary>
    /// <param name="context">The request.</param>
    /// <param name="room">The route's value.</param>
    /// <exception cref="RefusedException">It is not a room's name.</exception>
    public static string NameOf(HttpContext context, string room)
    {
        if (room.Contains('%', StringComparison.Ordinal))
        {
            // The route's value leaves %2F encoded, which is ambiguous with %252F; so the raw target is decoded.
            var path = context.Features.GetRequiredFeature<IHttpRequestFeature>().RawTarget.Split('?')[0].Split('/');
            room = Uri.UnescapeDataString(path[Array.FindIndex(path, IsRooms) + 1]);
        }

        return Names.IsRoom(room) ? room : throw new RefusedException(ErrorCode.BadName, Names.RoomForm);
    }

    private static bool IsRooms(string segment) => segment.Equals("rooms", StringComparison.OrdinalIgnoreCase);
}
