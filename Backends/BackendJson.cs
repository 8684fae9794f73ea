using System.Globalization;
using System.Text;
using Dmb.Routing;

namespace Dmb.Backends;

/// <summary>Encodes messages to and about backends as JSON, members in the order of docs/protocol.md §6.</summary>
internal static class BackendJson
{
    /// <summary>A presence message without its end: the number of the user's sessions and a brace.</summary>
    public static byte[] PresenceStart(string type, string bkid, string user, string session) =>
        [
            .. "{\"type\":\""u8,
            .. Ascii(type),
            .. "\",\"bkid\":\""u8,
            .. Ascii(bkid),
            .. "\",\"user\":"u8,
            .. JsonText.Quote(user),
            .. ",\"session\":\""u8,
            .. Ascii(session),
            .. "\",\"sessions\":"u8,
        ];

    /// <summary>A presence message: a user's session connected or disconnected.</summary>
    public static byte[] Presence(string type, string bkid, string user, string session, int sessions) =>
        [.. PresenceStart(type, bkid, user, session), .. Number(sessions), .. "}"u8];

    /// <summary>A user's message to a backend.</summary>
    public static byte[] Message(BackendUser user, string id, ReadOnlySpan<byte> data, DateTimeOffset when) =>
        [
            .. "{\"type\":\"message\",\"bkid\":\""u8,
            .. Ascii(user.Bkid),
            .. "\",\"user\":"u8,
            .. JsonText.Quote(user.User),
            .. ",\"session\":\""u8,
            .. Ascii(user.Subscriber.Id),
            .. "\",\"id\":"u8,
            .. JsonText.Quote(id),
            .. ",\"data\":"u8,
            .. data,
            .. ",\"time\":\""u8,
            .. Ascii(when.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture)),
            .. "\"}"u8,
        ];

    /// <summary>The data of `dmb:connected` to a user.</summary>
    public static byte[] Joined(BackendUser user) =>
        [.. "{\"service\":\""u8, .. Ascii(user.Bkid), .. "\",\"user\":"u8, .. JsonText.Quote(user.User), .. "}"u8];

    /// <summary>The data of `dmb:disconnected`.</summary>
    public static byte[] Left(string bkid) => [.. "{\"service\":\""u8, .. Ascii(bkid), .. "\"}"u8];

    /// <summary>The data of `dmb:connected` to a backend.</summary>
    public static byte[] Connected(string bkid) => [.. "{\"bkid\":\""u8, .. Ascii(bkid), .. "\"}"u8];

    /// <summary>The data of a socket's ack to a backend's message.</summary>
    public static byte[] Sent(string id, Sent sent) =>
        [
            .. "{\"id\":"u8,
            .. JsonText.Quote(id),
            .. ",\"nodes\":"u8,
            .. Number(sent.Nodes),
            .. sent.IsDuplicate ? ",\"duplicate\":true}"u8 : "}"u8,
        ];

    /// <summary>A positive ack of a type.</summary>
    public static byte[] Ack(string type, ReadOnlySpan<byte> members) =>
        [.. "{\"type\":\""u8, .. Ascii(type), .. "\""u8, .. members, .. ",\"ok\":true}"u8];

    /// <summary>A negative ack of a type.</summary>
    public static byte[] Refused(string type, ReadOnlySpan<byte> members, RefusedException refused) =>
        [
            .. "{\"type\":\""u8,
            .. Ascii(type),
            .. "\""u8,
            .. members,
            .. ",\"ok\":false,\"error\":"u8,
            .. refused.ToJson(),
            .. "}"u8,
        ];

    /// <summary>A member after others; empty without a value.</summary>
    public static byte[] Member(string name, ReadOnlySpan<byte> json) =>
        json.IsEmpty ? [] : [.. ",\""u8, .. Ascii(name), .. "\":"u8, .. json];

    /// <summary>A member after others, with a string.</summary>
    public static byte[] Member(string name, string text) => Member(name, JsonText.Quote(text));

    /// <summary>A positive <c>bk_connect_ack</c>.</summary>
    public static byte[] ConnectAck(
        string bkid,
        string channel,
        string ack,
        string uplink,
        TimeSpan ttl,
        ReadOnlySpan<byte> nonce
    ) =>
        [
            .. "{\"type\":\"bk_connect_ack\",\"ok\":true"u8,
            .. Member("bkid", bkid),
            .. Member("channel", channel),
            .. Member("ack", ack),
            .. Member("uplink", uplink),
            .. Member("ttl_s", Number((int)ttl.TotalSeconds)),
            .. nonce,
            .. "}"u8,
        ];

    /// <summary>A positive <c>bk_message_ack</c> without its end: the number of nodes and a brace.</summary>
    public static byte[] MessageAckStart(ReadOnlySpan<byte> id) =>
        [.. "{\"type\":\"bk_message_ack\""u8, .. id, .. ",\"ok\":true,\"nodes\":"u8];

    private static byte[] Ascii(string text) => Encoding.ASCII.GetBytes(text);

    private static byte[] Number(int number) => Ascii(number.ToString(CultureInfo.InvariantCulture));
}
