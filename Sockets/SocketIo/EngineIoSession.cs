using System.Net;
using Dmb.Access;

namespace Dmb.Sockets;

/// <summary>
/// One session of Engine.IO: by polling, by a socket, or on its way from one to the other (Engine.IO Protocol,
/// "Transports").
/// </summary>
internal sealed class EngineIoSession : IClientTransport
{
    private readonly EngineIoSessions _table;
    private readonly Session _session;
    private readonly SocketIoConnection _connection;
    private readonly PollingOutput? _polling;
    private readonly string? _owner;
    private readonly IPAddress? _address;
    private readonly TaskCompletionSource _gone = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _isPosting;
    private int _isProbed;
    private volatile EngineIoWebSocket? _socket;

    public EngineIoSession(
        EngineIoSessions table,
        Session session,
        string sid,
        EngineIoVersion version,
        SocketIoConnection connection,
        PollingOutput? polling,
        EngineIoWebSocket? socket,
        IPAddress? address
    )
    {
        (_table, _session, Sid, Version, _connection, _polling, _socket) = (
            table,
            session,
            sid,
            version,
            connection,
            polling,
            socket
        );
        (_owner, _address) = (session.Caller.LimitKey, address);
    }

    /// <summary>Its name in the URLs of its client.</summary>
    public string Sid { get; }

    public EngineIoVersion Version { get; }

    /// <summary>The session that it carries.</summary>
    public Session Session => _session;

    /// <summary>The responses of a client that polls; null once it has a socket.</summary>
    public PollingOutput? Polling => _socket is null ? _polling : null;

    public bool IsOpenedByClient => Version == EngineIoVersion.V4;

    /// <summary>Completes when the session has ended and its connection is closed.</summary>
    public Task Running { get; set; } = Task.CompletedTask;

    /// <summary>
    /// Whether a request comes from who opened the session: the same key or user, or else the same address.
    /// </summary>
    public bool BelongsTo(Caller caller, IPAddress? address) =>
        _owner is null ? caller.LimitKey is null && Equals(address, _address) : caller.LimitKey == _owner;

    public ValueTask<ClientOpening> OpenAsync() => _connection.OpenAsync();

    public async Task ReadAsync(SocketClient client)
    {
        _connection.Begin(client);
        await Task.WhenAny(_gone.Task, _session.Ended);
        if (_socket is { } socket)
        {
            // The client answers the close frame; a client that doesn't is cut off.
            await socket.Ended;
        }
    }

    public void Close()
    {
        _table.Remove(this);
        _connection.End();
        _polling?.End(isClosedByClient: false);
        _socket?.Close();
    }

    /// <summary>Takes one packet of the client.</summary>
    /// <returns>False if it is none, or none that a client sends there: then the session is closed.</returns>
    public async ValueTask<bool> ReceiveAsync(EngineIoPacket packet)
    {
        if (packet.IsBinary)
        {
            await _connection.ReceiveBinaryAsync();
            return true;
        }

        switch (packet.Type)
        {
            case EngineIoPacket.Message:
                await _connection.ReceiveAsync(packet.Text[1..]);
                return true;
            case EngineIoPacket.Ping when Version == EngineIoVersion.V3:
                _session.Send(WebSocketFrames.Text([EngineIoPacket.Pong, .. packet.Text.Span[1..]]));
                return true;
            case EngineIoPacket.Pong when Version == EngineIoVersion.V4:
            case EngineIoPacket.Noop:
                return true;
            case EngineIoPacket.Close:
                End(isClosedByClient: true);
                return true;
            default:
                _session.Close(CloseReason.Protocol);
                return false;
        }
    }

    /// <summary>Begins a POST; false if one is under way.</summary>
    public bool TryBeginPost() => Interlocked.Exchange(ref _isPosting, 1) == 0;

    public void EndPost() => Volatile.Write(ref _isPosting, 0);

    /// <summary>Begins the probe of a socket; false if there is one, or the client has a socket.</summary>
    public bool TryBeginProbe() => Polling is not null && Interlocked.Exchange(ref _isProbed, 1) == 0;

    /// <summary>The probe was not completed: the client goes on polling.</summary>
    public void EndProbe()
    {
        _polling!.SetProbing(false);
        Volatile.Write(ref _isProbed, 0);
    }

    /// <summary>The socket takes the place of polling. What no GET has taken goes out there.</summary>
    public void Upgrade(EngineIoWebSocket socket)
    {
        _socket = socket;
        _session.SwapOutput(socket.Output);
        _polling!.Replace();
    }

    /// <summary>The client has closed, or is gone.</summary>
    public void End(bool isClosedByClient)
    {
        _polling?.End(isClosedByClient);
        if (_socket is null)
        {
            _session.Abandon();
        }
        else
        {
            _session.Finish(
                isClosedByClient
                    ? WebSocketFrames.Close((int)System.Net.WebSockets.WebSocketCloseStatus.NormalClosure, "")
                    : []
            );
        }

        _gone.TrySetResult();
    }
}
