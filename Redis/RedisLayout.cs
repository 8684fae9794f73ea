using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>
/// The layout of keys that all nodes share: the number of groups, recorded in Redis. A node that finds another number
/// on nodes that live can't share their prefix.
/// </summary>
internal sealed class RedisLayout(RedisOptions options, RoutingOptions routing, RedisNode node)
{
    private readonly TaskCompletionSource<string> _found = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>What the layout began with; completes when the first group has found it.</summary>
    public Task<string> Found => _found.Task;

    /// <summary>Records or compares the layout on a link of the first group; returns what it began with.</summary>
    /// <exception cref="RedisLayoutException">Other nodes have another number of groups.</exception>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task<string> AttachAsync(RedisLink link)
    {
        var life = routing.IsPublishOnly ? TimeSpan.Zero : RedisBackendUsers.NodeLife(options);
        var answer = (string[])
            (
                await link.RunAsync(
                    RedisScript.Format,
                    [node.Channels.Format, node.Channels.Epoch, node.Channels.Members, node.Channels.Node],
                    [
                        node.Groups,
                        node.Id,
                        (long)life.TotalMilliseconds,
                        node.Channels.NodeOf(""),
                        StreamPosition.NewEpoch(),
                    ]
                )
            )!;
        if (answer[0] != $"{node.Groups}")
        {
            throw new RedisLayoutException(
                $"DMB_GROUPS is {node.Groups} here, and {answer[0]} on the nodes that share {options.Prefix} in Redis"
            );
        }

        _found.TrySetResult(answer[1]);
        return answer[1];
    }
}

/// <summary>Nodes that live have another number of groups.</summary>
internal sealed class RedisLayoutException(string why) : Exception(why);
