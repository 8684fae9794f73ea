using Dmb.Access;
using Dmb.Backends;
using Dmb.Endpoints;
using Dmb.Redis;
using Dmb.Routing;
using Dmb.Sockets;
using Dmb.Telemetry;
using Dmb.Transport;
using Dmb.Webhooks;

namespace Dmb;

/// <summary>
/// All settings of a node, by owning folder. Each class declares the meaning, range and default of its settings. A
/// property <c>MaxMessageBytes</c> is set by <c>Dmb:MaxMessageBytes</c> in appsettings.json,
/// <c>DMB_MAX_MESSAGE_BYTES</c> in the environment and <c>--Dmb:MaxMessageBytes=</c>; the latter takes precedence.
/// Durations are in seconds, lists separated by commas.
/// </summary>
internal sealed class NodeOptions
{
    public HttpOptions Http { get; } = new();
    public AccessOptions Access { get; } = new();
    public RoutingOptions Routing { get; } = new();
    public HistoryOptions History { get; } = new();
    public TransportOptions Transport { get; } = new();
    public SocketOptions Sockets { get; } = new();
    public BackendOptions Backends { get; } = new();
    public WebhookOptions Webhooks { get; } = new();
    public RedisOptions Redis { get; } = new();
    public LogOptions Log { get; } = new();
}
