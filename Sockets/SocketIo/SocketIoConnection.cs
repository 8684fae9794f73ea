using System.Net;
using Dmb.Access;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>
/// The Socket.IO layer of one session: its CONNECT, its events, and the attachments that are dropped (Socket.IO
/// Protocol
/// 4 and 5; docs/protocol.md §5).
/// </summary>
/// <param name="session">The session of the client.</param>
/// <param name="version">The generation of Engine.IO below.</param>
/// <param name="broker">The parts of the broker that it uses.</param>
/// <param name="table">Makes the wires of sessions.</param>
/// <param name="address">The client's address.</param>
/// <param name="refusal">Why the credentials of the handshake are refused; null if they are not.</param>
/// <param name="isRecoveryAsked">Whether the query of the handshake asks for recovery.</param>
internal sealed class SocketIoConnection(
    Session session,
    EngineIoVersion version,
    SocketBroker broker,
    EngineIoSessions table,
    IPAddress? address,
    CloseReason? refusal,
    bool isRecoveryAsked
)
{
    private const int PidLengthMax = 64;
    private static readonly byte[] InvalidNamespace = "\"Invalid namespace\""u8.ToArray();

    private readonly TaskCompletionSource<ReadOnlyMemory<byte>?> _connect = new(
        TaskCreationOptions.RunContinuationsAsynchronously
    );
    private readonly TaskCompletionSource<SocketClient> _client = new(
        TaskCreationOptions.RunContinuationsAsynchronously
    );

    /// <summary>The packet whose attachments are awaited, and how many.</summary>
    private SocketIoPacket _incomplete;
    private int _attachments;

    /// <summary>From here on events are carried out.</summary>
    public void Begin(SocketClient client) => _client.TrySetResult(client);

    /// <summary>The client is gone: what waits for it ends.</summary>
    public void End()
    {
        _connect.TrySetResult(null);
        _client.TrySetCanceled();
    }

    /// <summary>Completes when the client has connected, with its caller and rooms set.</summary>
    public async ValueTask<ClientOpening> OpenAsync()
    {
        if (version == EngineIoVersion.V3)
        {
            // It was connected in the answer to its handshake.
            return new ClientOpening(IsOpen: true);
        }

        var timeout = new CancellationTokenSource(broker.Options.SilentTimeout, broker.Time);
        using (timeout)
        await using (timeout.Token.Register(() => _connect.TrySetResult(null)))
        {
            var opened = await Task.WhenAny(_connect.Task, session.Ended) == _connect.Task ? await _connect.Task : null;
            if (opened is not { } json)
            {
                session.Close(CloseReason.Silent);
                return default;
            }

            return await ConnectAsync(json);
        }
    }

    /// <summary>Carries out one text packet.</summary>
    /// <param name="text">It, without the type of Engine.IO; borrowed.</param>
    public ValueTask ReceiveAsync(ReadOnlyMemory<byte> text)
    {
        if (_attachments > 0 || !SocketIoPacket.TryRead(text, out var packet))
        {
            return CloseAsync();
        }

        if (!packet.Namespace.IsEmpty)
        {
            return RefuseNamespaceAsync(packet);
        }

        switch (packet.Type)
        {
            case SocketIoType.Connect when version == EngineIoVersion.V3:
                return ValueTask.CompletedTask;
            case SocketIoType.Connect:
                return _connect.TrySetResult(packet.Json.ToArray()) ? ValueTask.CompletedTask : CloseAsync();
            case SocketIoType.ConnectError:
                return CloseAsync();
            case var _ when version == EngineIoVersion.V4 && !_connect.Task.IsCompleted:
                return CloseAsync();
            case SocketIoType.Disconnect:
                session.Finish(
                    WebSocketFrames.Close((int)System.Net.WebSockets.WebSocketCloseStatus.NormalClosure, "")
                );
                return ValueTask.CompletedTask;
            case SocketIoType.BinaryEvent or SocketIoType.BinaryAck when packet.Attachments > 0:
                _attachments = packet.Attachments;
                _incomplete = packet with { Id = packet.Id.ToArray(), Json = packet.Json.ToArray() };
                return ValueTask.CompletedTask;
            case SocketIoType.Event or SocketIoType.BinaryEvent:
                return HandleAsync(packet);
            default:
                // An ack of an event that asked for none.
                return ValueTask.CompletedTask;
        }
    }

    /// <summary>Counts one attachment. The event that it belongs to is refused when all are there.</summary>
    public ValueTask ReceiveBinaryAsync()
    {
        if (_attachments == 0)
        {
            return CloseAsync();
        }

        return --_attachments > 0 || _incomplete.Type == SocketIoType.BinaryAck
            ? ValueTask.CompletedTask
            : HandleAsync(_incomplete);
    }

    private async ValueTask HandleAsync(SocketIoPacket packet)
    {
        var client = await _client.Task;
        if (session.IsClosing)
        {
            return;
        }

        ClientFrame frame;
        try
        {
            if (!packet.TryReadEvent(broker.Publisher.ReaderOptions, out frame))
            {
                await CloseAsync();
                return;
            }
        }
        catch (RefusedException refused)
        {
            client.Refuse(default, refused);
            return;
        }

        if (packet.Type == SocketIoType.BinaryEvent)
        {
            client.Refuse(
                frame,
                new RefusedException(ErrorCode.BadFrame, "Binary data has no JSON form and is not taken.")
            );
            return;
        }

        await client.HandleAsync(frame);
    }

    private async ValueTask<ClientOpening> ConnectAsync(ReadOnlyMemory<byte> json)
    {
        JsonMembers members;
        try
        {
            members = JsonMembers.Read(
                json.IsEmpty ? JsonText.EmptyObject : json,
                broker.Routing.MaxJsonDepth,
                ErrorCode.BadFrame
            );
            if (refusal is not null)
            {
                return Refuse(
                    refusal.Code == CloseReason.TokenExpired.Code ? ErrorCode.TokenExpired : ErrorCode.Unauthenticated,
                    refusal.Text
                );
            }

            if (members.TextOrNull("token") is { } token && session.Caller.IsAnonymous)
            {
                session.Caller = await broker.Credentials.FindAsync(token);
            }
        }
        catch (RefusedException refused)
        {
            return Refuse(refused.Code, refused.Message);
        }

        var isRecoverable = broker.Options.SocketioRecovery switch
        {
            "off" => false,
            "on" => true,
            _ => isRecoveryAsked || members.Raw("recovery").Span.SequenceEqual("true"u8),
        };
        if (!isRecoverable)
        {
            return Opened(session.Queue(Connected(pid: null)));
        }

        return await RecoverAsync(members.TextOrNull("pid"), SocketIoOffset.Read(members.TextOrNull("offset")));
    }

    /// <summary>
    /// Joins the rooms of a client that comes back. It keeps its <c>pid</c> only if all of them recover.
    /// </summary>
    private async ValueTask<ClientOpening> RecoverAsync(string? pid, List<RoomRequest>? rooms)
    {
        JoinOperation? join = null;
        var isRecovered = false;
        if (rooms is not null)
        {
            var asked = rooms.Count;
            rooms.RemoveAll(room => !broker.Rules.May(session.Caller, Operation.Join, room.Room));
            isRecovered = rooms.Count == asked;
        }

        // The welcome's offset has the room that every session is in.
        rooms ??= [];
        var returning = rooms.Count;
        if (rooms.TrueForAll(room => room.Room != AccessRules.OpenBus))
        {
            rooms.Add(new RoomRequest(AccessRules.OpenBus));
        }

        try
        {
            broker.CheckRoomCount(session, rooms.Select(room => room.Room));
            broker.Limits.Join(session.Caller, address, rooms.Count);
            join = await broker.Joins.JoinAsync(session, rooms, isHeld: true);
            isRecovered &= join.Rooms.Take(returning).All(room => room.Recovered == true);
        }
        catch (RefusedException)
        {
            // Not possible now: the client joins its rooms by itself.
            isRecovered = false;
        }

        var isKept = isRecovered && pid is { Length: > 0 and <= PidLengthMax } && pid.All(char.IsAsciiLetterOrDigit);
        return Opened(
            session.SwapWire(
                table.RecoverableWire(new SocketIoOffset(session)),
                Connected(isKept ? pid : Guid.NewGuid().ToString("N"))
            ),
            join
        );
    }

    private static ClientOpening Opened(bool mustFlush, JoinOperation? recovered = null) =>
        new(IsOpen: true, mustFlush, recovered);

    private ClientOpening Refuse(string code, string message)
    {
        session.Send(
            Error(
                default,
                [
                    .. "{\"message\":"u8,
                    .. JsonText.Quote(message),
                    .. ",\"data\":{\"code\":"u8,
                    .. JsonText.Quote(code),
                    .. "}}"u8,
                ]
            )
        );
        session.Close(code == ErrorCode.TokenExpired ? CloseReason.TokenExpired : CloseReason.BadCredentials);
        return default;
    }

    private byte[] Connected(string? pid) =>
        WebSocketFrames.Text([
            .. "40{\"sid\":"u8,
            .. JsonText.Quote(session.Id),
            .. pid is null ? [] : (byte[])[.. ",\"pid\":"u8, .. JsonText.Quote(pid)],
            .. "}"u8,
        ]);

    private ValueTask RefuseNamespaceAsync(in SocketIoPacket packet)
    {
        if (packet.Type == SocketIoType.Connect)
        {
            session.Send(
                Error(
                    packet.Namespace.Span,
                    version == EngineIoVersion.V3
                        ? InvalidNamespace
                        : [.. "{\"message\":"u8, .. InvalidNamespace, .. "}"u8]
                )
            );
            return ValueTask.CompletedTask;
        }

        return packet.Type == SocketIoType.Disconnect ? ValueTask.CompletedTask : CloseAsync();
    }

    private static byte[] Error(ReadOnlySpan<byte> name, ReadOnlySpan<byte> json) =>
        WebSocketFrames.Text(JsonText.Concat("44"u8, name, name.IsEmpty ? [] : ","u8, json, []));

    private ValueTask CloseAsync()
    {
        session.Close(CloseReason.Protocol);
        return ValueTask.CompletedTask;
    }
}
