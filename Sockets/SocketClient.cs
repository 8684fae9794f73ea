using System.Net;
using System.Text;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>Executes the frames of one duplex client (docs/protocol.md §4), independent of their wire format.</summary>
internal sealed class SocketClient(Session session, SocketBroker broker, IPAddress? address)
{
    private const int BadFramesMax = 10;
    private const int RefusedMax = 100;
    private static readonly TimeSpan FailedInterval = TimeSpan.FromSeconds(1);

    private ViolationCounter _badFrames;
    private ViolationCounter _tooFast;
    private long? _lastFailed;

    /// <summary>Null for a client that has been neither a backend service nor a user of one.</summary>
    private DuplexClient? _duplex;

    private RoomClient Rooms => new(session, broker, address);

    /// <summary>Executes one frame. A refusal is sent to the client, never thrown.</summary>
    public async ValueTask HandleAsync(ClientFrame frame)
    {
        session.CountFrame();
        try
        {
            await DispatchAsync(frame);
        }
        catch (RefusedException refused)
        {
            if (broker.Publisher.Tail.IsOpen && IsPublish(frame.Event))
            {
                broker.Publisher.Tail.Refused(OriginOf(frame.Event), refused);
            }

            Refuse(frame, refused);
        }
    }

    /// <summary>
    /// Answers a refused frame: with a refusal if it requests an ack, else with <c>failed</c>, at most once a second.
    /// Too many refusals in a minute close the session.
    /// </summary>
    /// <param name="frame">The frame; <c>default</c> for bytes that are not a frame.</param>
    /// <param name="refused">Why it is refused.</param>
    public void Refuse(ClientFrame frame, RefusedException refused)
    {
        if (refused.Code == ErrorCode.TooBig)
        {
            session.Close(CloseReason.TooBig);
            return;
        }

        if (frame.Ack.IsEmpty)
        {
            Fail(refused);
        }
        else
        {
            session.Send(session.Wire.Refusal(frame.Ack.Span, refused));
        }

        if (frame.Event is null && _badFrames.Add(BadFramesMax, broker.Time))
        {
            session.Close(CloseReason.Protocol);
        }
        else if (refused.Code == ErrorCode.RateLimited && _tooFast.Add(RefusedMax, broker.Time))
        {
            session.Close(CloseReason.TooFast);
        }
    }

    /// <summary>Disconnects the client's users from their backends, after the client has disconnected.</summary>
    public ValueTask EndAsync() => _duplex?.EndAsync() ?? ValueTask.CompletedTask;

    private ValueTask DispatchAsync(ClientFrame frame)
    {
        switch (frame.Event)
        {
            case null:
                throw new RefusedException(ErrorCode.BadFrame, "A frame needs the member event, a string.");
            case "auth":
                return AuthenticateAsync(frame);
            case "subscribe" or "join":
                return Rooms.SubscribeAsync(frame);
            case "unsubscribe" or "leave":
                Rooms.Unsubscribe(frame);
                return ValueTask.CompletedTask;
            case "configure":
                return Rooms.ConfigureAsync(frame);
            case "register":
                return RegisterAsync(frame);
            case "dmb:ping" when !frame.Ack.IsEmpty:
                // With an ack it is a liveness check; without, it is ping for clients that cannot send ping.
                Acknowledge(frame, JsonText.EmptyObject);
                return ValueTask.CompletedTask;
            case "dmb:pong":
                return PublishAsync(frame with { Event = "pong" });
            case "ping" or "dmb:ping":
                return PublishToAsync("ping", broker.Routing.HostBuses, frame.Data, frame);
            case "shout":
                byte[] shout = JsonText.Concat(
                    "{\"id\":\""u8,
                    Encoding.ASCII.GetBytes(session.Id),
                    "\",\"data\":"u8,
                    frame.Data.Span,
                    "}"u8
                );
                return PublishToAsync("shouted", ["internal"], shout, frame);
            case "notify_users":
                return PublishToAsync("notify", ["internal", "everyone"], frame.Data, frame);
            case "dmb:reconnect"
            or "dmb:broadcast"
            or "dmb:direct"
            or "dmb:connect"
            or "dmb:message"
            or "dmb:disconnect":
                return DuplexAsync(frame);
            default:
                return PublishAsync(frame);
        }
    }

    /// <summary>
    /// Sets the session's caller. An authenticated session can only renew the credentials of the same caller.
    /// </summary>
    private async ValueTask AuthenticateAsync(ClientFrame frame)
    {
        var shown = JsonMembers.Read(frame.Data, broker.Routing.MaxJsonDepth, ErrorCode.BadFrame).Text("token")
            ?? throw new RefusedException(ErrorCode.BadFrame, "The member token is missing.");
        Caller caller;
        try
        {
            caller = await broker.Credentials.FindAsync(shown);
        }
        catch (RefusedException refused) when (session.Caller.IsAnonymous)
        {
            session.Close(CloseReason.Of(refused));
            return;
        }

        var before = session.Caller;
        if (!before.IsAnonymous && caller.LimitKey != before.LimitKey)
        {
            throw new RefusedException(
                ErrorCode.Unauthenticated,
                "A session stays who it is; open another one for another caller."
            );
        }

        session.Caller = caller;
        if ((before.Scopes & ~caller.Scopes) != Scopes.None)
        {
            // An operation that is no longer permitted may be in progress, so the session closes and the client
            // reconnects.
            session.Close(CloseReason.RightsReduced);
            return;
        }

        Rooms.LeaveForbidden(caller);
        Acknowledge(frame, ServerEvents.Caller(caller));
    }

    private async ValueTask DuplexAsync(ClientFrame frame)
    {
        AccessRules.DemandAuthenticated(session.Caller);
        var (data, join) = await (_duplex ??= new DuplexClient(session, broker, address)).HandleAsync(frame);
        await using (join)
        {
            Acknowledge(frame, data);
            if (frame.Ack.IsEmpty)
            {
                join?.SendGaps();
            }
        }
    }

    private async ValueTask RegisterAsync(ClientFrame frame)
    {
        if (RegisterRequest.Read(frame.Data.Span, broker.Publisher.ReaderOptions) is not { } request)
        {
            frame.Ignore("register takes {\"event\":…,\"default_room\":…}.");
            return;
        }

        broker.Rules.Demand(session.Caller, Operation.Register);
        var registration = broker.Events.Register(request.Event, request.DefaultRoom, out var alreadyRegistered);
        await broker.Backplane.ShareEventAsync(registration.Event);
        Acknowledge(frame, ServerEvents.Registered(registration, alreadyRegistered));
    }

    private async ValueTask PublishToAsync(string @event, string[] rooms, ReadOnlyMemory<byte> data, ClientFrame frame)
    {
        CheckPublish();
        var id = await broker.Publisher.PublishToAsync(@event, rooms, data, OriginOf(@event));
        Acknowledge(frame, ServerEvents.Id(id));
    }

    private async ValueTask PublishAsync(ClientFrame frame)
    {
        CheckPublish();

        // A socket's `endpoint` is data like any other (docs/protocol.md §2).
        var address = frame.Address with { Endpoint = null };
        var published = await broker.Publisher.PublishAsync(
            broker.Events.Find(frame.Event!),
            frame.Data,
            address,
            key: null,
            id: null,
            OriginOf(frame.Event)
        );
        if (!frame.Ack.IsEmpty)
        {
            Acknowledge(
                frame,
                published.Id is { } id
                    ? ServerEvents.Id(id)
                    : throw new RefusedException(ErrorCode.UnknownEvent, "The event is not registered.")
            );
        }
    }

    private Origin OriginOf(string? @event) => new(Origin.Socket, session.Caller.Name, @event);

    private static bool IsPublish(string? name) =>
        name is not (null or "auth" or "subscribe" or "join" or "unsubscribe" or "leave" or "configure" or "register")
        && !name.StartsWith("dmb:", StringComparison.Ordinal);

    private void Acknowledge(ClientFrame frame, ReadOnlySpan<byte> data) => session.Acknowledge(frame.Ack, data);

    private void Fail(RefusedException refused)
    {
        if (_lastFailed is { } last && broker.Time.GetElapsedTime(last) < FailedInterval)
        {
            return;
        }

        _lastFailed = broker.Time.GetTimestamp();
        session.Send("failed", ServerEvents.Failure(refused));
    }

    private void CheckPublish()
    {
        broker.Rules.Demand(session.Caller, Operation.Publish);
        broker.Limits.Publish(session.Caller, address);
    }
}
