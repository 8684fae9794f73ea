using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// One message from a client, whatever its wire format: <c>{"event":E,"data":D,"ack":A}</c> on /ws (docs/protocol.md
/// §4). All memory is borrowed until <see cref="SocketClient.HandleAsync"/> completes.
/// </summary>
/// <param name="Event">The event's name, not validated; null when there is none.</param>
/// <param name="Data">The data as received, one JSON value in UTF-8; the JSON <c>null</c> when it was left out.</param>
/// <param name="Address">The rooms that the data names (docs/protocol.md §2).</param>
/// <param name="Ack">
/// What the session's <see cref="Wire"/> needs for its answer, passed on unread: on /ws the ack as received, a JSON
/// number or string. Empty when no answer is requested.
/// </param>
internal readonly record struct ClientFrame(
    string? Event,
    ReadOnlyMemory<byte> Data,
    Address Address,
    ReadOnlyMemory<byte> Ack
)
{
    /// <summary>Ignores data of an unknown shape, unless an answer is requested (docs/protocol.md §4).</summary>
    /// <exception cref="RefusedException">An answer is requested.</exception>
    public void Ignore(string why)
    {
        if (!Ack.IsEmpty)
        {
            throw new RefusedException(ErrorCode.BadFrame, why);
        }
    }
}
