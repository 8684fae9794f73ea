using System.Globalization;
using System.Text;

namespace Dmb.Routing;

/// <summary>What a room's sessions are told of messages that they will never get (docs/protocol.md §7).</summary>
internal static class Gap
{
    public const string Event = "gap";

    /// <summary>The data: how many messages of a room are missing, or null where that is unknown, and why.</summary>
    public static byte[] ToJson(string room, long? lost, string? why) =>
        [
            .. "{\"room\":"u8,
            .. JsonText.Quote(room),
            .. ",\"lost\":"u8,
            .. Encoding.ASCII.GetBytes(lost?.ToString(CultureInfo.InvariantCulture) ?? "null"),
            .. why is null ? "}"u8 : [.. ",\"why\":"u8, .. JsonText.Quote(why), .. "}"u8],
        ];

    /// <summary>What is told in the place of messages of a room, the last of which was at a position.</summary>
    public static Envelope ToEnvelope(string room, long lost, StreamPosition last) =>
        new(Event, "", [room], ToJson(room, lost, why: null), isKept: true) { Positions = [last] };
}
