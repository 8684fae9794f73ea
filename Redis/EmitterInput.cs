using System.Text;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Redis;

/// <summary>
/// A message from <c>@socket.io/redis-emitter</c> 5.x: MessagePack of
/// <c>["emitter",{type:2,data:[event,data],nsp:"/"},{rooms:[…],except:[],flags:{}}]</c>.
/// </summary>
internal sealed class EmitterInput(
    EventTable events,
    Publisher publisher,
    RoutingOptions options,
    RedisBackplane redis,
    TimeProvider time,
    Tail tail,
    BrokerTelemetry telemetry
)
{
    private const string Emitter = "emitter";
    private const int EventPacket = 2;
    private static readonly string[] Everyone = ["everyone"];

    /// <summary>The pattern of the channels <c>socket.io#/#</c> and <c>socket.io#/#room#</c> of a key prefix.</summary>
    public static string PatternOf(string prefix)
    {
        var pattern = new StringBuilder();
        foreach (var character in prefix)
        {
            pattern.Append(character is '*' or '?' or '[' or ']' or '\\' ? "\\" : "").Append(character);
        }

        return pattern.Append("#/#*").ToString();
    }

    /// <summary>Publishes it with history, if no node did yet.</summary>
    /// <exception cref="RefusedException">It is none, or asks for what has no form here.</exception>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public async Task ActAsync(string channel, ReadOnlyMemory<byte> body, InputCounts counts)
    {
        var message = Read(body.Span);
        var origin = new Origin(Origin.Redis, Event: message.Event);
        if (events.Find(message.Event) is null)
        {
            telemetry.Ignored.Add(1);
            if (tail.IsOpen)
            {
                tail.Dropped(origin, TraceReason.UnknownEvent, isOnEveryNode: true);
            }

            return;
        }

        var hash = InputCounts.Hash(channel, body.Span);
        var claim = counts.ByCount(hash);
        var envelope = new Envelope(message.Event, MessageId.New(time), message.Rooms, message.Data, isKept: true);
        using var publish = MessageSpans.Publish(envelope);
        if (!await redis.PublishOnceAsync(envelope, claim))
        {
            Tracing.Drop();
        }
        else
        {
            telemetry.Published.Add(1);
            await publisher.HandOverAsync(envelope);
            if (tail.IsOpen)
            {
                tail.Published(origin, envelope, leftOut: null, isDuplicate: false, PublishOutcome.Fully);
            }
        }

        counts.Note(hash, claim.Seen);
    }

    private Message Read(ReadOnlySpan<byte> body)
    {
        try
        {
            return ReadMessage(body);
        }
        catch (FormatException e)
        {
            throw new RefusedException(ErrorCode.BadFrame, e.Message);
        }
    }

    private Message ReadMessage(ReadOnlySpan<byte> body)
    {
        var reader = new MessagePackJson(body, options.MaxJsonDepth);
        if (reader.ReadArray() != 3 || reader.ReadString() != Emitter)
        {
            throw new FormatException("It is not an emitter's message.");
        }

        var (name, data) = ("", Array.Empty<byte>());
        for (var left = reader.ReadMap(); left > 0; left--)
        {
            switch (reader.ReadString())
            {
                case "data":
                    var items = reader.ReadArray();
                    if (items is < 1 or > 2)
                    {
                        throw new FormatException("An event has one argument.");
                    }

                    name = reader.ReadString();
                    data = items == 2 ? reader.ReadJson() : "null"u8.ToArray();
                    break;
                case "type" when !reader.ReadJson().AsSpan().SequenceEqual([(byte)('0' + EventPacket)]):
                    throw new FormatException("It is not an event.");
                case "nsp" when reader.ReadString() != "/":
                    throw new FormatException("There is no other namespace than the default one.");
                case "type" or "nsp":
                    break;
                default:
                    reader.Skip();
                    break;
            }
        }

        string[] rooms = [];
        for (var left = reader.ReadMap(); left > 0; left--)
        {
            var member = reader.ReadString();
            if (member is not ("rooms" or "except"))
            {
                reader.Skip();
                continue;
            }

            var names = new string[reader.TryReadNil() ? 0 : reader.ReadArray()];
            for (var i = 0; i < names.Length; i++)
            {
                names[i] = reader.ReadString();
            }

            if (member == "rooms")
            {
                rooms = names;
            }
            else if (names.Length > 0)
            {
                throw new FormatException("A message can't leave out rooms.");
            }
        }

        return
            Names.IsEvent(name) && Array.TrueForAll(rooms, room => Names.IsRoom(room)) && rooms.Length <= options.MaxIn
            ? new Message(name, data, rooms.Length == 0 ? Everyone : [.. rooms.Distinct()])
            : throw new FormatException("The event or a room has no valid name, or there are too many rooms.");
    }

    private readonly record struct Message(string Event, byte[] Data, string[] Rooms);
}
