using System.Globalization;
using System.Text;

namespace Dmb.Routing;

/// <summary>
/// Encodes the event <c>gap</c>, which reports messages that a room's sessions will not get (docs/protocol.md §7).
/// </summary>
internal static class Gap
{
    public const string Event = "gap";

    /// <summary>The data: the number of missing messages, null if unknown, and the reason.</summary>
    public static byte[] ToJson(string room, long? lost, string? why) =>
        [
            .. "{\"room\":"u8,
            .. JsonText.Quote(room),
            .. ",\"lost\":"u8,
            .. Encoding.ASCII.GetBytes(lost?.ToString(CultureInfo.InvariantCulture) ?? "null"),
            .. why is null ? "}"u8 : [.. ",\"why\":"u8, .. JsonText.Quote(why), .. "}"u8],
        ];

    /// <summary>
    /// The envelope that replaces lost messages of a room, up to the position <paramref name="last"/>.
    /// </summary>
    public static Envelope ToEnvelope(string room, long lost, StreamPosition last) =>
        new(Event, "", [room], ToJson(room, lost, why: null), isKept: true) { Positions = [last] };
}
