using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>The JSON of what the broker itself says to a client, members in the order of docs/protocol.md §4.</summary>
internal static class ServerFrames
{
    [ThreadStatic]
    private static ArrayBufferWriter<byte>? _place;

    [ThreadStatic]
    private static ArrayBufferWriter<byte>? _text;

    [ThreadStatic]
    private static Utf8JsonWriter? _json;

    /// <summary>An event of the broker's own: <c>joined</c>, <c>configured</c>, …</summary>
    public static byte[] Event(string @event, ReadOnlySpan<byte> data) =>
        JsonText.Concat("{\"event\":\""u8, Encoding.ASCII.GetBytes(@event), "\",\"data\":"u8, data, "}"u8);

    /// <summary>The answer to an ack, yes.</summary>
    public static byte[] Ack(ReadOnlySpan<byte> ack, ReadOnlySpan<byte> data) =>
        JsonText.Concat("{\"ack\":"u8, ack, ",\"ok\":true,\"data\":"u8, data, "}"u8);

    /// <summary>The answer to an ack, no: what is wrong, and whether the same may pass later.</summary>
    public static byte[] Refused(ReadOnlySpan<byte> ack, RefusedException refused) =>
        JsonText.Concat("{\"ack\":"u8, ack, ",\"ok\":false,\"error\":"u8, refused.ToJson(), "}"u8);

    /// <summary>The data of <c>failed</c>.</summary>
    public static byte[] Failure(RefusedException refused) =>
        [.. "{\"code\":"u8, .. JsonText.Quote(refused.Code), .. ",\"msg\":"u8, .. JsonText.Quote(refused.Message), .. "}"u8];

    /// <summary>The data of <c>bye</c>.</summary>
    public static byte[] Bye(CloseReason reason) => Write(json =>
    {
        json.WriteNumber("code"u8, reason.Code);
        json.WriteBoolean("reconnect"u8, reason.Reconnect);
        json.WriteNumber("after_ms"u8, reason.AfterMs);
    });

    /// <summary>The data of <c>drain</c>: how long the session still has.</summary>
    public static byte[] Drain(int afterMs) => Write(json => json.WriteNumber("after_ms"u8, afterMs));

    /// <summary>The data of <c>welcome</c>, the first frame of a session.</summary>
    public static byte[] Welcome(string sessionId, string version, bool isPublic, BrokerOptions options) => Write(json =>
    {
        json.WriteString("id"u8, sessionId);
        json.WriteString("name"u8, "dmb"u8);
        json.WriteString("version"u8, version);
        json.WriteBoolean("public"u8, isPublic);
        json.WriteStartObject("limits"u8);
        json.WriteNumber("message_bytes"u8, options.MaxMessageBytes);
        json.WriteNumber("rooms"u8, options.MaxRoomsPerSession);
        json.WriteNumber("rooms_per_subscribe"u8, options.MaxRoomsPerSubscribe);
        json.WriteNumber("in"u8, options.MaxIn);
        json.WriteNumber("ping_s"u8, options.PingInterval.TotalSeconds);
        json.WriteNumber("silent_s"u8, options.SilentTimeout.TotalSeconds);
        json.WriteEndObject();
    });

    /// <summary>The data of an ack to <c>auth</c>: who the session is, and until when.</summary>
    public static byte[] Caller(Caller caller) => Write(json =>
    {
        json.WriteString("name"u8, caller.Name);
        if (caller.ExpiresAt is { } end)
        {
            json.WriteString("expires"u8, end.UtcDateTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture));
        }
    });

    /// <summary>The data of an ack to a publish.</summary>
    public static byte[] Id(string id) => [.. "{\"id\":"u8, .. JsonText.Quote(id), .. "}"u8];

    /// <summary>The data of an ack to one room or to several, with their places in history where they have one.</summary>
    public static byte[] Joined(IReadOnlyList<JoinedRoom> rooms, bool isArray) => Write(json =>
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
    public static byte[] Connected(string service, string user, IReadOnlyList<JoinedRoom> rooms) => Write(json =>
    {
        json.WriteString("service"u8, service);
        json.WriteString("user"u8, user);
        WritePositions(json, rooms);
    });

    /// <summary>What follows the id of a message with positions: its room and place there, and its places in its other rooms.</summary>
    public static byte[] Place(Envelope envelope, int room)
    {
        if (envelope.Positions is not { } positions || envelope.Id.Length == 0)
        {
            return [];
        }

        var place = _place ??= new ArrayBufferWriter<byte>(256);
        place.ResetWrittenCount();
        if (!positions[room].IsNone)
        {
            place.Append(",\"room\":"u8);
            Put(place, envelope.Rooms[room]);
            place.Append(",\"pos\":"u8);
            Put(place, positions[room]);
        }

        var others = 0;
        for (var i = 0; i < positions.Length; i++)
        {
            if (i != room && !positions[i].IsNone)
            {
                place.Append(others++ == 0 ? ",\"also\":{"u8 : ","u8);
                Put(place, envelope.Rooms[i]);
                place.Append(":"u8);
                Put(place, positions[i]);
            }
        }

        return (others == 0 ? place : place.Append("}"u8)).WrittenSpan.ToArray();
    }

    private static void Put(ArrayBufferWriter<byte> target, string text) => target.Advance(JsonText.Quote(text, target.GetSpan(JsonText.QuotedLength(text))));

    private static void Put(ArrayBufferWriter<byte> target, StreamPosition position)
    {
        Utf8.TryWrite(target.GetSpan(64), CultureInfo.InvariantCulture, $"\"{position.Epoch}:{position.Seq}\"", out var written);
        target.Advance(written);
    }

    /// <summary>The data of an ack to <c>register</c>.</summary>
    public static byte[] Registered(EventRegistration registration, bool alreadyRegistered) => Write(json =>
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
        var (text, json) = (_text ??= new ArrayBufferWriter<byte>(), _json ??= new Utf8JsonWriter(_text, new JsonWriterOptions { Encoder = JsonText.Encoder }));
        text.ResetWrittenCount();
        json.Reset();
        json.WriteStartObject();
        members(json);
        json.WriteEndObject();
        json.Flush();
        return text.WrittenSpan.ToArray();
    }
}
