using System.Text;
using Dmb.Routing;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Sockets;

/// <summary>
/// Up to where a stream of server-sent events has come in each of its rooms, as its id lines say and
/// <c>Last-Event-ID</c> repeats:
/// <c>support=k3f9:431&amp;endpoint:1234=k3f9:17</c>, names escaped as in a query. Guarded by its session.
/// </summary>
internal sealed class StreamCursor
{
    private readonly string[] _rooms;
    private readonly StreamPosition[] _positions;

    /// <param name="rooms">The stream's rooms, those without history left out; at least one.</param>
    public StreamCursor(IEnumerable<JoinedRoom> rooms)
    {
        var keeping = rooms.Where(room => !room.Position.IsNone).ToArray();
        (_rooms, _positions) = ([.. keeping.Select(room => room.Room)], [.. keeping.Select(room => room.Position)]);
    }

    /// <summary>One room's part.</summary>
    public static string Entry(string room, StreamPosition position) =>
        $"{Uri.EscapeDataString(room).Replace("%3A", ":", StringComparison.Ordinal)}={position}";

    /// <summary>
    /// Reads what a client that comes back says that it has seen; null for what is no cursor, such as a message id.
    /// </summary>
    /// <exception cref="RefusedException">It names a room with what is no place.</exception>
    public static Dictionary<string, StreamPosition>? Read(string text)
    {
        if (!text.Contains('=', StringComparison.Ordinal))
        {
            return null;
        }

        var places = new Dictionary<string, StreamPosition>();
        foreach (var (room, values) in QueryHelpers.ParseQuery(text))
        {
            places[room] = StreamPosition.TryParse(values.ToString(), out var place)
                ? place
                : throw new RefusedException(
                    ErrorCode.BadName,
                    $"Last-Event-ID is an id line of the stream: room=pos, joined by &. {StreamPosition.Form}"
                );
        }

        return places;
    }

    /// <summary>Moves on by a message.</summary>
    public void MoveTo(Envelope envelope)
    {
        for (var i = 0; i < _rooms.Length; i++)
        {
            if (envelope.PositionIn(_rooms[i]) is { IsNone: false } position)
            {
                _positions[i] = position;
            }
        }
    }

    /// <summary>Whether a message's own id line says all there is to say, so that streams share its bytes.</summary>
    public bool IsSaidBy(Envelope envelope, int room) =>
        _rooms.Length == 1 && envelope.Positions is { } positions && !positions[room].IsNone;

    /// <summary>The id line as it is now, and the end of what it stands in.</summary>
    public byte[] Line()
    {
        var line = new StringBuilder();
        for (var i = 0; i < _rooms.Length; i++)
        {
            line.Append(i == 0 ? "" : "&").Append(Entry(_rooms[i], _positions[i]));
        }

        return EventStreamFrames.Id(line.ToString());
    }
}
