using System.Text;
using Dmb.Routing;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Sockets;

/// <summary>
/// The position of a session in each of its rooms, as the last argument of its events: a client that comes back shows
/// it (Socket.IO, connection state recovery). Recovery needs nothing else, so any node can do it:
/// <c>1?public=k3f9:431&amp;endpoint:1234=k3f9:17</c>, with nothing behind the <c>=</c> of a room without history.
/// Guarded by its session.
/// </summary>
/// <param name="session">The session.</param>
internal sealed class SocketIoOffset(Session session)
{
    /// <summary>Rooms of a session that can be recovered.</summary>
    public const int RoomsMax = 32;

    private const string Version = "1?";
    private const int LengthMax = 2_048;

    /// <summary>The argument of a session that can't be recovered.</summary>
    private static readonly byte[] NoneArgument = ",\"1\"]"u8.ToArray();

    /// <summary>The positions of the rooms of which the session was sent messages.</summary>
    private readonly Dictionary<string, StreamPosition> _positions = [];

    /// <summary>Reads the offset of a client that comes back.</summary>
    /// <returns>Its rooms with their positions; null if nothing can be recovered by it.</returns>
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

        return rooms.Count > 0 ? rooms : null;
    }

    /// <summary>
    /// Moves on by a message, never back: a message of several rooms may be replayed by one of them after the session
    /// was sent newer ones by another.
    /// </summary>
    public void MoveTo(Envelope envelope)
    {
        for (var i = 0; i < envelope.Positions?.Length; i++)
        {
            var (room, position) = (envelope.Rooms[i], envelope.Positions[i]);
            if (!position.IsNone && IsIn(room) && !PositionIn(room).IsAfter(position))
            {
                _positions[room] = position;
            }
        }
    }

    /// <summary>The offset as the last item of an array, with what precedes and follows it.</summary>
    public byte[] LastArgument()
    {
        var text = new StringBuilder(",\"").Append(Version);
        var (memberships, rooms) = (session.Memberships, 0);
        lock (memberships)
        {
            foreach (var room in memberships.Keys)
            {
                // A room of a backend service is joined again by its client, which joins the service again.
                if (++rooms > RoomsMax || !Names.IsRoom(room))
                {
                    return NoneArgument;
                }

                var position = PositionIn(room);
                text.Append(rooms == 1 ? "" : "&")
                    .Append(Escape(room))
                    .Append('=')
                    .Append(position.IsNone ? "" : position.ToString());
            }

            if (_positions.Count > rooms)
            {
                foreach (var left in _positions.Keys.Where(room => !memberships.ContainsKey(room)).ToArray())
                {
                    _positions.Remove(left);
                }
            }
        }

        return rooms == 0 || text.Length > LengthMax
            ? NoneArgument
            : Encoding.ASCII.GetBytes(text.Append("\"]").ToString());
    }

    /// <summary>Whether the session is in a room, and does not just get its messages by a pattern.</summary>
    private bool IsIn(string room)
    {
        lock (session.Memberships)
        {
            return session.Memberships.ContainsKey(room);
        }
    }

    /// <summary>
    /// Before the first message of a room: where the session said that it was, until it is sent what it missed; then
    /// where it joined.
    /// </summary>
    private StreamPosition PositionIn(string room)
    {
        if (_positions.TryGetValue(room, out var position))
        {
            return position;
        }

        lock (session.Memberships)
        {
            return !session.Memberships.TryGetValue(room, out var membership) ? default
                : StreamPosition.TryParse(membership.Since, out var since) ? since
                : membership.Room.StartOf(membership);
        }
    }

    private static string Escape(string room) =>
        Uri.EscapeDataString(room).Replace("%3A", ":", StringComparison.Ordinal);
}
