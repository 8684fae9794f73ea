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
/// All settings of a node, by the folder that owns them: each class has meaning, range and default of its settings in
/// one place. A property <c>MaxMessageBytes</c> is set by <c>DMB_MAX_MESSAGE_BYTES</c> in the environment, by
/// <c>Dmb:MaxMessageBytes</c> in appsettings.json and by <c>--Dmb:MaxMessageBytes=</c>, the later one winning.
/// Durations are given in seconds, lists with commas.
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
