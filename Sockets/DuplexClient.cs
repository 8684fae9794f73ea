using System.Net;
using Dmb.Access;
using Dmb.Backends;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// Executes the <c>dmb:*</c> frames of one client, as a backend service or as a user of backend services
/// (docs/protocol.md §4).
/// </summary>
internal sealed class DuplexClient(Session session, SocketBroker broker, IPAddress? address)
{
    private readonly Dictionary<string, BackendUser> _services = [];
    private string? _bkid;

    /// <summary>
    /// Executes one frame; returns the data of its ack, and the join to complete after the ack, if any.
    /// </summary>
    /// <exception cref="RefusedException">The frame is malformed or not permitted.</exception>
    public async ValueTask<(byte[] Data, JoinOperation? Join)> HandleAsync(ClientFrame frame)
    {
        if (frame.Event != "dmb:connect")
        {
            return (await AnswerAsync(frame), null);
        }

        var members = JsonMembers.Read(frame.Data, broker.Routing.MaxJsonDepth, ErrorCode.BadFrame);
        return await ConnectAsync(members.Text("service"), members.Text("user"), members.Raw("since"));
    }

    private async ValueTask<byte[]> AnswerAsync(ClientFrame frame)
    {
        if (frame.Event == "dmb:disconnect" && frame.Data.Span is not [(byte)'{', ..])
        {
            return await DisconnectAsync(service: null);
        }

        var members = JsonMembers.Read(frame.Data, broker.Routing.MaxJsonDepth, ErrorCode.BadFrame);
        return frame.Event switch
        {
            "dmb:reconnect" => await RegisterAsync(members.Text("name"), members.Text("bkid")),
            "dmb:broadcast" => await SendAsync(BackendMessage.Read(members, to: null, ErrorCode.BadFrame)),
            "dmb:direct" => await SendAsync(
                BackendMessage.Read(members, to: "user", ErrorCode.BadFrame) is { To: not null } message
                    ? message
                    : throw new RefusedException(ErrorCode.BadFrame, "The member user is missing.")
            ),
            "dmb:message" => await SendUserMessageAsync(members.Text("service"), members.Raw("data")),
            _ => await DisconnectAsync(members.Text("service")),
        };
    }

    /// <summary>Disconnects the client's users from their backends, after the client has disconnected.</summary>
    public async ValueTask EndAsync()
    {
        foreach (var user in _services.Values)
        {
            await broker.Backends.DisconnectAsync(user);
        }
    }

    private async ValueTask<byte[]> RegisterAsync(string? name, string? bkid)
    {
        if (_services.Values.Any(user => !user.IsFreed))
        {
            throw new RefusedException(
                ErrorCode.ForbiddenPublish,
                "This session is a user's; it can't be a backend as well."
            );
        }

        broker.Rules.Demand(session.Caller, Operation.Register);
        var backend = await broker.Backends.RegisterAsync(name, bkid);
        if (_bkid is not null && _bkid != backend.Bkid)
        {
            broker.Rooms.Leave(session, Backend.UplinkRoom(_bkid));
        }

        _bkid = backend.Bkid;
        await broker.Backends.ListenAsync(session, _bkid);
        return BackendJson.Connected(_bkid);
    }

    private async ValueTask<byte[]> SendAsync(BackendMessage message)
    {
        if (_bkid is null)
        {
            throw new RefusedException(
                ErrorCode.ForbiddenPublish,
                "SingleOrNull a backend sends this; dmb:reconnect makes a session one."
            );
        }

        broker.Rules.Demand(session.Caller, Operation.Publish);
        broker.Limits.Publish(session.Caller, address);
        var (id, sent) = await broker.Backends.SendAsync(_bkid, message);
        return BackendJson.Sent(id, sent);
    }

    private async ValueTask<(byte[] Data, JoinOperation Join)> ConnectAsync(
        string? service,
        string? user,
        ReadOnlyMemory<byte> since
    )
    {
        if (_bkid is not null)
        {
            throw new RefusedException(ErrorCode.BadFrame, "This session is a backend's; it can't be a user as well.");
        }

        if (user is null || !Names.IsUser(user))
        {
            throw new RefusedException(ErrorCode.BadName, Names.UserForm);
        }

        broker.Rules.Demand(session.Caller, Operation.ActAsUser, user);
        broker.Limits.Join(session.Caller, address, 1);
        var connecting = new BackendUser(
            service ?? throw new RefusedException(ErrorCode.BadFrame, "The member service is missing."),
            user,
            session
        );
        RoomRequest[] rooms = [.. connecting.Rooms.Select(room => new RoomRequest(room, ReadPosition(since, room)))];
        if (_services.Remove(service, out var joined))
        {
            await broker.Backends.DisconnectAsync(joined);
        }

        broker.CheckRoomCount(session, connecting.Rooms);
        var join = await broker.Backends.ConnectAsync(connecting, rooms);
        _services.Add(service, connecting);
        return (ServerEvents.Connected(service, user, join.Rooms), join);
    }

    /// <summary>Reads a room's last seen position from an object of positions by room.</summary>
    private StreamPosition? ReadPosition(ReadOnlyMemory<byte> positions, string room)
    {
        if (positions.Span is [] or [(byte)'n', ..])
        {
            return null;
        }

        var text = JsonMembers.Read(positions, broker.Routing.MaxJsonDepth, ErrorCode.BadFrame).Text(room);
        return text is null ? null
            : StreamPosition.TryParse(text, out var position) ? position
            : throw new RefusedException(ErrorCode.BadFrame, StreamPosition.Form);
    }

    private async ValueTask<byte[]> SendUserMessageAsync(string? service, ReadOnlyMemory<byte> data)
    {
        service ??= SingleOrNull(_services.Values.Where(user => !user.IsFreed))
            ?? SingleOrNull(_services.Values)
            ?? throw new RefusedException(ErrorCode.BadFrame, "The member service is missing.");
        if (!_services.TryGetValue(service, out var user))
        {
            throw new RefusedException(
                ErrorCode.ForbiddenPublish,
                "This session has not joined that service; dmb:connect does."
            );
        }

        if (user.IsFreed)
        {
            _services.Remove(service);
            throw Backend.Unknown(service);
        }

        broker.Limits.Publish(session.Caller, address);
        return data.IsEmpty
            ? throw new RefusedException(ErrorCode.BadFrame, "The member data is missing.")
            : ServerEvents.Id(await broker.Backends.SendUplinkAsync(user, data));
    }

    private async ValueTask<byte[]> DisconnectAsync(string? service)
    {
        if (_bkid is { } bkid)
        {
            try
            {
                await broker.Backends.FreeAsync(bkid);
            }
            catch (RefusedException refused) when (refused.Code == ErrorCode.UnknownBackend)
            {
                ClearBackend(bkid);
                throw;
            }

            ClearBackend(bkid);
            return BackendJson.Connected(bkid);
        }

        foreach (var user in _services.Values.Where(user => service is null || user.Bkid == service).ToArray())
        {
            _services.Remove(user.Bkid);
            await broker.Backends.DisconnectAsync(user);
        }

        return "{}"u8.ToArray();
    }

    private static string? SingleOrNull(IEnumerable<BackendUser> users) =>
        users.Take(2).ToArray() is [var only] ? only.Bkid : null;

    private void ClearBackend(string bkid)
    {
        _bkid = null;
        broker.Rooms.Leave(session, Backend.UplinkRoom(bkid));
    }
}
