using System.Text;
using Dmb.Routing;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Sockets;

/// <summary>
/// How far a session has come in each of its rooms, as the last argument of its events: a client that comes back shows
/// it (Socket.IO, connection state recovery). It is all that recovery needs, so any node can do it:
/// <c>1?public=k3f9:431&amp;endpoint:1234=k3f9:17</c>, rooms without history with nothing behind their <c>=</c>.
/// Guarded by its session.
/// </summary>
/// <param name="positions">Up to where the client has the rooms that it comes back for.</param>
internal sealed class SocketIoOffset(Dictionary<string, StreamPosition> positions)
{
    /// <summary>Rooms of a session that can be recovered.</summary>
    public const int RoomsMax = 32;

    private const string Version = "1?";
    private const int LengthMax = 2_048;

    /// <summary>What a session shows that can't be recovered.</summary>
    private static readonly byte[] NoneArgument = ",\"1\"]"u8.ToArray();

    /// <summary>The session whose rooms count. Set before the first event.</summary>
    public Session? Session { get; set; }

    /// <summary>Reads the offset of a client that comes back.</summary>
    /// <returns>Its rooms with their positions; null if there is nothing to recover by.</returns>
    public static List<RoomRequest>? Read(string? text)
    {
        if (text is null || text.Length > LengthMax || !text.StartsWith(Version, StringComparison.Ordinal))
        {
            return null;
        }

        var rooms = new List<RoomRequest>();
        foreach (var (room, values) in QueryHelpers.ParseQuery(text[Version.Length..]))
        {
            if (!Names.IsRoom(room) || rooms.Count == RoomsMax)
            {
                return null;
            }

            rooms.Add(
                new RoomRequest(room, StreamPosition.TryParse(values.ToString(), out var position) ? position : null)
            );
        }

        return rooms;
    }

    /// <summary>Moves on by a message.</summary>
    public void MoveTo(Envelope envelope)
    {
        for (var i = 0; i < envelope.Positions?.Length; i++)
        {
            if (!envelope.Positions[i].IsNone)
            {
                positions[envelope.Rooms[i]] = envelope.Positions[i];
            }
        }
    }

    /// <summary>The offset as the last item of an array, with what is before and behind it.</summary>
    public byte[] LastArgument()
    {
        var text = new StringBuilder(",\"").Append(Version);
        var memberships = Session!.Memberships;
        lock (memberships)
        {
            if (memberships.Count > RoomsMax)
            {
                return NoneArgument;
            }

            foreach (var (room, membership) in memberships)
            {
                if (!Names.IsRoom(room))
                {
                    // A room of a backend service: its client joins the service again.
                    return NoneArgument;
                }

                if (!positions.TryGetValue(room, out var position))
                {
                    position = membership.Room.StartOf(membership);
                }

                text.Append(text[^1] == '?' ? "" : "&")
                    .Append(Escape(room))
                    .Append('=')
                    .Append(position.IsNone ? "" : position.ToString());
            }

            foreach (var room in positions.Keys.Where(room => !memberships.ContainsKey(room)).ToArray())
            {
                positions.Remove(room);
            }
        }

        return text.Length > LengthMax ? NoneArgument : Encoding.ASCII.GetBytes(text.Append("\"]").ToString());
    }

    private static string Escape(string room) =>
        Uri.EscapeDataString(room).Replace("%3A", ":", StringComparison.Ordinal);
}
