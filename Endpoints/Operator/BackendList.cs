using System.Text.Json;
using Dmb.Access;
using Dmb.Backends;
using Dmb.Redis;
using Dmb.Routing;
using Dmb.Webhooks;

namespace Dmb.Endpoints;

/// <summary>A backend's sockets and streams, and its users' sessions, on one node.</summary>
/// <param name="Bkid">The backend.</param>
/// <param name="Node">The node.</param>
/// <param name="Connections">The backend's own sockets and streams.</param>
/// <param name="Sessions">Sessions of its users.</param>
internal sealed record BackendNodeEntry(string Bkid, string Node, int Connections, int Sessions);

/// <summary>A registered backend service.</summary>
/// <param name="Bkid">Its id.</param>
/// <param name="Name">Its name.</param>
/// <param name="Channel">The Redis channel that it may send its messages to.</param>
/// <param name="Used">When it was last used; connected users count as use, at a quarter of its `ttl_s`.</param>
/// <param name="TtlS">Seconds for which the registration lives after its last use.</param>
/// <param name="Users">Its connected users.</param>
/// <param name="Sessions">Their sessions.</param>
/// <param name="Stored">Its stored uplinks.</param>
/// <param name="Webhook">The id of the webhook that receives its uplinks; null without one.</param>
/// <param name="Nodes">The nodes with connections of the backend or sessions of its users.</param>
internal sealed record BackendEntry(
    string Bkid,
    string Name,
    string Channel,
    DateTimeOffset Used,
    int TtlS,
    int Users,
    int Sessions,
    int Stored,
    string? Webhook,
    IReadOnlyList<BackendNodeEntry> Nodes
);

/// <summary>Backend services by name.</summary>
/// <param name="Items">The backends.</param>
/// <param name="Next">What `after` takes for more; null at the end.</param>
/// <param name="Missing">Ids of nodes that did not answer in time.</param>
internal sealed record BackendsAnswer(IReadOnlyList<BackendEntry> Items, string? Next, IReadOnlyList<string> Missing);

/// <summary>Maps GET /backends: the registered backend services, for operators.</summary>
internal static class BackendList
{
    /// <summary>Name of the question for a node's part in backends; its argument are bkids, by commas.</summary>
    private const string Question = "backends";

    public static void MapBackendList(this IEndpointRouteBuilder routes)
    {
        var services = routes.ServiceProvider;
        var (rooms, cluster) = (services.GetRequiredService<RoomTable>(), services.GetRequiredService<ICluster>());
        services
            .GetRequiredService<ClusterQuestions>()
            .Add(Question, bkids =>
                ValueTask.FromResult(
                    JsonSerializer.SerializeToUtf8Bytes(
                        Show(bkids.Split(','), rooms, cluster.NodeId),
                        ApiJson.Wire.BackendNodeEntryArray
                    )
                )
            );

        routes
            .MapGet("/backends", ListAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("listBackends")
            .WithSummary("List the registered backend services, by name.")
            .WithDescription(
                "A backend that talks over Redis alone has no connections: `used` says when it was last heard of."
            )
            .WithMetadata(
                new QueryParameter("prefix", "Prefix of their names."),
                new QueryParameter("bkid", "Only the backend with this id."),
                OperatorEndpoints.Limit,
                OperatorEndpoints.After
            )
            .Produces<BackendsAnswer>()
            .ProducesProblems(400, 401, 403, 503)
            .Requires(Operation.Administer);
    }

    private static async Task<IResult> ListAsync(
        BackendServices backends,
        BackendOptions lifetimes,
        RedisOptions redis,
        WebhookTable webhooks,
        ICluster cluster,
        string? prefix = null,
        string? bkid = null,
        int? limit = null,
        string? after = null
    )
    {
        var max = OperatorEndpoints.LimitOf(limit);
        var found =
            bkid is null ? await backends.ListAsync(prefix ?? "", after, max + 1)
            : Backend.IsBkid(bkid) && await backends.FindAsync(bkid) is { } one ? [one]
            : [];
        var states = found.Take(max).ToArray();
        var asked =
            states.Length > 0
                ? await cluster.AskAsync(Question, string.Join(',', states.Select(state => state.Backend.Bkid)))
                : new ClusterAnswers([], []);
        var nodes = asked
            .Answers.SelectMany(answer => JsonSerializer.Deserialize(answer, ApiJson.Wire.BackendNodeEntryArray)!)
            .ToLookup(entry => entry.Bkid);
        BackendEntry[] items =
        [
            .. states.Select(state => new BackendEntry(
                state.Backend.Bkid,
                state.Backend.Name,
                redis.Prefix + state.Backend.Bkid,
                state.Used,
                (int)lifetimes.BackendTtl.TotalSeconds,
                state.Users,
                state.Sessions,
                state.Stored,
                webhooks.OfBackend(state.Backend.Bkid)?.Id,
                [.. nodes[state.Backend.Bkid]]
            )),
        ];
        return Results.Json(
            new BackendsAnswer(items, found.Count > max ? states[^1].Backend.Cursor : null, asked.Missing),
            ApiJson.Wire.BackendsAnswer
        );
    }

    private static BackendNodeEntry[] Show(string[] bkids, RoomTable rooms, string node) =>
        [
            .. bkids
                .Select(bkid => new BackendNodeEntry(
                    bkid,
                    node,
                    rooms.Find(Backend.UplinkRoom(bkid))?.Count ?? 0,
                    rooms.Find(Backend.UsersRoom(bkid))?.Count ?? 0
                ))
                .Where(entry => entry.Connections > 0 || entry.Sessions > 0),
        ];
}
