using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// Encodes the data of the broker's own events and acks as JSON, members in the order of docs/protocol.md §4.
/// </summary>
internal static class ServerEvents
{
    [ThreadStatic]
    private static ArrayBufferWriter<byte>? _text;

    [ThreadStatic]
    private static Utf8JsonWriter? _json;

    /// <summary>The data of <c>failed</c>.</summary>
    public static byte[] Failure(RefusedException refused) =>
        JsonText.Concat(
            "{\"code\":"u8,
            JsonText.Quote(refused.Code),
            ",\"msg\":"u8,
            JsonText.Quote(refused.Message),
            "}"u8
        );

    /// <summary>The data of <c>bye</c>.</summary>
    public static byte[] Bye(CloseReason reason) =>
        Write(json =>
        {
            json.WriteNumber("code"u8, reason.Code);
            json.WriteBoolean("reconnect"u8, reason.Reconnect);
            json.WriteNumber("after_ms"u8, reason.AfterMs);
        });

    /// <summary>The data of <c>drain</c>: milliseconds until the session closes.</summary>
    public static byte[] Drain(int afterMs) => Write(json => json.WriteNumber("after_ms"u8, afterMs));

    /// <summary>The data of <c>welcome</c>, the first frame of a session.</summary>
    public static byte[] Welcome(
        string sessionId,
        string version,
        bool isPublic,
        SocketOptions options,
        RoutingOptions routing
    ) =>
        Write(json =>
        {
            json.WriteString("id"u8, sessionId);
            json.WriteString("name"u8, "dmb"u8);
            json.WriteString("version"u8, version);
            json.WriteBoolean("public"u8, isPublic);
            json.WriteStartObject("limits"u8);
            json.WriteNumber("message_bytes"u8, routing.MaxMessageBytes);
            json.WriteNumber("rooms"u8, options.MaxRoomsPerSession);
            json.WriteNumber("rooms_per_subscribe"u8, options.MaxRoomsPerSubscribe);
            json.WriteNumber("in"u8, routing.MaxIn);
            json.WriteNumber("ping_s"u8, options.PingInterval.TotalSeconds);
            json.WriteNumber("silent_s"u8, options.SilentTimeout.TotalSeconds);
            json.WriteEndObject();
        });

    /// <summary>The data of an ack to <c>auth</c>: the caller and the expiry of its credentials.</summary>
    public static byte[] Caller(Caller caller) =>
        Write(json =>
        {
            json.WriteString("name"u8, caller.Name);
            if (caller.ExpiresAt is { } end)
            {
                json.WriteString(
                    "expires"u8,
                    end.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture)
                );
            }
        });

    /// <summary>The data of an ack to a publish.</summary>
    public static byte[] Id(string id) => [.. "{\"id\":"u8, .. JsonText.Quote(id), .. "}"u8];

    /// <summary>
    /// The data of an ack to one room or to several, with their positions in rooms that keep a history.
    /// </summary>
    public static byte[] Joined(IReadOnlyList<JoinedRoom> rooms, bool isArray) =>
        Write(json =>
        {
            if (!isArray)
            {
                WriteJoined(json, rooms[0]);
                return;
            }

            json.WriteStartArray("rooms"u8);
            foreach (var room in rooms)
            {
                json.WriteStringValue(room.Room);
            }

            json.WriteEndArray();
            WritePositions(json, rooms);
        });

    /// <summary>The data of an ack to <c>dmb:connect</c>.</summary>
    public static byte[] Connected(string service, string user, IReadOnlyList<JoinedRoom> rooms) =>
        Write(json =>
        {
            json.WriteString("service"u8, service);
            json.WriteString("user"u8, user);
            WritePositions(json, rooms);
        });

    /// <summary>The data of an ack to <c>register</c>.</summary>
    public static byte[] Registered(EventRegistration registration, bool alreadyRegistered) =>
        Write(json =>
        {
            json.WriteString("event"u8, registration.Event);
            json.WriteString("default_room"u8, registration.DefaultRoom);
            json.WriteBoolean("already_registered"u8, alreadyRegistered);
        });

    private static void WritePositions(Utf8JsonWriter json, IReadOnlyList<JoinedRoom> rooms)
    {
        if (rooms.Any(room => !room.Position.IsNone))
        {
            json.WriteStartArray("positions"u8);
            foreach (var room in rooms.Where(room => !room.Position.IsNone))
            {
                json.WriteStartObject();
                WriteJoined(json, room);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }
    }

    private static void WriteJoined(Utf8JsonWriter json, JoinedRoom room)
    {
        json.WriteString("room"u8, room.Room);
        if (!room.Position.IsNone)
        {
            json.WriteString("pos"u8, room.Position.ToString());
        }

        if (room.Recovered is { } recovered)
        {
            json.WriteBoolean("recovered"u8, recovered);
        }

        if (room.Why is { } why)
        {
            json.WriteString("why"u8, why);
        }

        if (room.Lost is { } lost)
        {
            json.WriteNumber("lost"u8, lost);
        }
    }

    private static byte[] Write(Action<Utf8JsonWriter> members)
    {
        var (text, json) = (
            _text ??= new ArrayBufferWriter<byte>(),
            _json ??= new Utf8JsonWriter(_text, new JsonWriterOptions { Encoder = JsonText.Encoder })
        );
        text.ResetWrittenCount();
        json.Reset();
        json.WriteStartObject();
        members(json);
        json.WriteEndObject();
        json.Flush();
        return text.WrittenSpan.ToArray();
    }
}
