using System.Text;
using Dmb.Routing;
using Microsoft.AspNetCore.WebUtilities;

namespace Dmb.Sockets;

/// <summary>
/// The position of a stream of server-sent events in each of its rooms, as its id lines and <c>Last-Event-ID</c> carry
/// it: <c>support=k3f9:431&amp;endpoint:1234=k3f9:17</c>, names escaped as in a query. Not thread-safe; its session
/// serializes access.
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

    /// <summary>Encodes one room's entry.</summary>
    public static string Entry(string room, StreamPosition position) =>
        $"{Uri.EscapeDataString(room).Replace("%3A", ":", StringComparison.Ordinal)}={position}";

    /// <summary>Parses <c>Last-Event-ID</c>; null for text that is not a cursor, such as a message id.</summary>
    /// <exception cref="RefusedException">An entry's value is not a position.</exception>
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

    /// <summary>Advances by a message.</summary>
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

    /// <summary>True when the message's own id line equals the cursor's, so that streams share its bytes.</summary>
    public bool MatchesIdOf(Envelope envelope, int room) =>
        _rooms.Length == 1
        && envelope.Positions is { } positions
        && !positions[room].IsNone
        && envelope.Rooms[room] == _rooms[0];

    /// <summary>The current id line, and the end of its event.</summary>
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
