using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Dmb.Routing;

namespace Dmb.Sockets;

/// <summary>The Engine.IO sessions of this node by their sids (docs/protocol.md §5).</summary>
internal sealed class EngineIoSessions(SocketSessions sessions, SessionTable table)
{
    private readonly ConcurrentDictionary<string, EngineIoSession> _sessions = [];
    private readonly SocketIoWire _wire3 = new(EngineIoVersion.V3, table.Telemetry);
    private readonly SocketIoWire _wire4 = new(EngineIoVersion.V4, table.Telemetry);
    private readonly string _node =
        table.Options.NodeName.Length > 0 ? table.Options.NodeName : Guid.NewGuid().ToString("N")[..8];

    /// <summary>Bytes of a POST body, and of a message on a socket.</summary>
    public int MaxPayloadBytes => table.Routing.MaxMessageBytes;

    /// <summary>Time of the deadlines.</summary>
    public TimeProvider Time => table.Time;

    /// <summary>The session of that name; null if this node has none.</summary>
    public EngineIoSession? Find(string sid) => _sessions.GetValueOrDefault(sid);

    /// <summary>The wire of a session that can be recovered.</summary>
    public SocketIoWire RecoverableWire(SocketIoOffset offset) =>
        new RecoverableSocketIoWire(EngineIoVersion.V4, table.Telemetry, offset);

    /// <summary>Opens a session. Its first packets are sent, and its client's are taken, from now on.</summary>
    /// <param name="version">The protocol of the client.</param>
    /// <param name="admitted">The admitted session.</param>
    /// <param name="socket">The socket that it is opened on; null for polling.</param>
    /// <param name="isRecoveryAsked">Whether the query asks for recovery.</param>
    public EngineIoSession Open(
        EngineIoVersion version,
        AdmittedSession admitted,
        EngineIoWebSocket? socket,
        bool isRecoveryAsked
    )
    {
        var polling = socket is null ? new PollingOutput(version) : null;
        var sid = $"{_node}-{Guid.NewGuid():N}";
        var refusal = admitted.Refusal;
        var answer = WebSocketFrames.Text(Encoding.ASCII.GetBytes(Opening(sid, version, isSocket: socket is not null)));
        if (version == EngineIoVersion.V3)
        {
            // Clients take the sid for the id of their socket.
            answer =
            [
                .. answer,
                .. WebSocketFrames.Text(refusal is null ? "40"u8 : [.. "44"u8, .. JsonText.Quote(refusal.Text)]),
            ];
        }

        if (socket?.TakeAnswer() is { } upgrade)
        {
            answer = [.. upgrade, .. answer];
        }

        admitted = admitted with
        {
            Wire = version == EngineIoVersion.V3 ? _wire3 : _wire4,
            Answer = answer,
            Refusal = version == EngineIoVersion.V3 ? refusal : null,
        };
        var session = sessions.Open(
            admitted,
            (IFrameOutput?)polling ?? socket!.Output,
            version == EngineIoVersion.V3 ? sid : null
        );
        var connection = new SocketIoConnection(
            session,
            version,
            sessions.Broker,
            this,
            admitted.Address,
            refusal,
            isRecoveryAsked
        );
        var engine = new EngineIoSession(this, session, sid, version, connection, polling, socket, admitted.Address);
        _sessions[sid] = engine;
        engine.Running = sessions.RunAsync(session, engine, admitted);
        return engine;
    }

    /// <summary>
    /// Completes when the sessions that poll now have ended; one whose client does not come back is cut after
    /// <see cref="SocketOptions.CloseTimeout"/>.
    /// </summary>
    public Task WhenPolledAsync() =>
        Task.WhenAll(_sessions.Values.Where(engine => engine.Polling is not null).Select(engine => engine.Running));

    /// <summary>Forgets a session that has ended.</summary>
    public void Remove(EngineIoSession engine) => _sessions.TryRemove(engine.Sid, out _);

    private string Opening(string sid, EngineIoVersion version, bool isSocket)
    {
        var (interval, timeout) = (
            table.Options.PingInterval,
            table.Options.SilentTimeout - table.Options.PingInterval
        );
        var upgrades = isSocket ? "" : "\"websocket\"";
        var maxPayload = version == EngineIoVersion.V4 ? $",\"maxPayload\":{MaxPayloadBytes}" : "";
        var times = string.Create(
            CultureInfo.InvariantCulture,
            $"\"pingInterval\":{interval.TotalMilliseconds},\"pingTimeout\":{timeout.TotalMilliseconds}"
        );
        return $"0{{\"sid\":\"{sid}\",\"upgrades\":[{upgrades}],{times}{maxPayload}}}";
    }
}
