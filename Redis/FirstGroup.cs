namespace Dmb.Redis;

/// <summary>What only the first group has: what is no room's, and is once for all nodes.</summary>
internal sealed class FirstGroup(
    SharedEvents sharedEvents,
    RedisInputs inputs,
    RedisBackendUsers backendUsers,
    RedisCluster cluster,
    RedisWebhookStore webhooks,
    RedisLayout layout,
    RedisConnection connection
)
{
    /// <summary>Completes with the first attempt to connect.</summary>
    public Task Tried => connection.Tried;

    /// <summary>Attaches all of it to a new link, in this order.</summary>
    /// <param name="link">The link.</param>
    /// <param name="mark">The mark of the server's data.</param>
    /// <param name="patience">Timeout of each step.</param>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task AttachAsync(RedisLink link, string mark, TimeSpan patience)
    {
        await sharedEvents.AttachAsync(link, patience);
        await inputs.AttachAsync(link, patience);
        await backendUsers.AttachAsync(link, mark);
        await cluster.AttachAsync(link, patience);
        await webhooks.AttachAsync(link, patience);
    }

    /// <summary>Reads, on a node that only publishes, what other nodes are told of.</summary>
    /// <param name="link">The link.</param>
    /// <param name="patience">Timeout of each step.</param>
    /// <param name="isInUse">Whether publishes go through the link already.</param>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task RefreshAsync(RedisLink link, TimeSpan patience, bool isInUse)
    {
        await sharedEvents.RefreshAsync(link, patience);
        await webhooks.RefreshAsync(link, patience);
        if (isInUse)
        {
            // Other nodes may have another layout by now, which this one does not keep from them.
            await layout.AttachAsync(link);
            await webhooks.SendSpooledAsync();
        }
    }

    /// <summary>Does what is due after an outage or a while.</summary>
    public void Sweep() => _ = backendUsers.SweepAsync(inputs.TakeOverAsync);
}
