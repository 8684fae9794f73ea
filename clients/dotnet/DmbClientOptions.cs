using System.Net.WebSockets;

namespace Dmb.Client;

/// <summary>The backend service that a client is.</summary>
public sealed class DmbBackend
{
    /// <summary>Its name.</summary>
    public required string Name { get; init; }

    /// <summary>Its identity, of an earlier registration; null: a new one.</summary>
    public string? Bkid { get; init; }

    /// <summary>The last uplink that was handled; those behind it are told.</summary>
    public string? After { get; init; }
}

/// <summary>How a client connects, and as what.</summary>
public sealed class DmbClientOptions
{
    /// <summary>The nodes, such as <c>http://localhost:8082</c>; one is taken at random each time.</summary>
    public IList<Uri> Urls { get; init; } = [];

    /// <summary>Rooms to join.</summary>
    public IList<string> Rooms { get; init; } = [];

    /// <summary>Backend services to be a user of: the user by the bkid.</summary>
    public IDictionary<string, string> Services { get; init; } = new Dictionary<string, string>();

    /// <summary>
    /// Where rooms stood, from <see cref="DmbClient.Positions"/> of an earlier client: what came since is replayed.
    /// </summary>
    public IReadOnlyDictionary<string, string>? Positions { get; set; }

    /// <summary>Makes this client a backend service.</summary>
    public DmbBackend? Backend { get; set; }

    /// <summary>A key, which does not end.</summary>
    public string? Key { get; set; }

    /// <summary>Gives a token, at each connection and before a token ends; wins over <see cref="Key"/>.</summary>
    public Func<CancellationToken, ValueTask<string>>? Token { get; set; }

    /// <summary>How long a connection, and an answer, may take.</summary>
    public TimeSpan Timeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>The base of the exponential backoff.</summary>
    public TimeSpan Backoff { get; set; } = TimeSpan.FromMilliseconds(500);

    /// <summary>The longest backoff.</summary>
    public TimeSpan BackoffMax { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>
    /// Messages that wait for their reader; beyond it they are lost, and a <see cref="DmbGap"/> says how many.
    /// </summary>
    public int PendingMax { get; set; } = 10_000;

    /// <summary>
    /// The way to the nodes; null: WebSockets, and server-sent events where none can be opened.
    /// </summary>
    public DmbTransport? Transport { get; set; }

    /// <summary>Makes what sends requests of HTTP and server-sent events: certificates, proxies.</summary>
    public Func<HttpMessageHandler>? CreateHttpHandler { get; set; }

    /// <summary>Sets up each WebSocket before it connects: certificates, proxies, headers.</summary>
    public Action<ClientWebSocketOptions>? ConfigureSocket { get; set; }
}
