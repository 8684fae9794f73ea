using System.Globalization;
using System.Net.Sockets;
using System.Security.Authentication;
using Dmb.Routing;

namespace Dmb.Redis;

/// <summary>
/// The layout of keys that all nodes share: the number of groups, recorded in Redis. A node that finds another number
/// on nodes that live can't share their prefix.
/// </summary>
internal sealed class RedisLayout(RedisOptions options, RoutingOptions routing, RedisNode node)
{
    /// <summary>Groups on a Redis Cluster that has no data, where no number is set.</summary>
    private const int OnCluster = 64;
    private const int GroupsMax = 256;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan LeaveMax = TimeSpan.FromSeconds(1);

    private readonly TaskCompletionSource<string> _found = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>What the layout began with; completes when the first group has found it.</summary>
    public Task<string> Found => _found.Task;

    /// <summary>
    /// The number of groups where the settings leave it open: one; on a Redis Cluster that which its data have, or 64
    /// if it has none or does not answer.
    /// </summary>
    public static async Task<int> FindGroupsAsync(RedisEndpoint? redis, RedisOptions options)
    {
        if (redis?.Discovery is not RedisSeeds seeds)
        {
            return 1;
        }

        using var patience = new CancellationTokenSource(Patience, TimeProvider.System);
        try
        {
            var (masters, _) = await seeds.FindAsync(redis, options.Prefix, patience.Token);
            await using var conversation = await RedisConversation.ConnectAsync(masters[0], patience.Token);
            if (masters[0].Login(masters[0].ReadPassword()) is { Length: > 0 } login)
            {
                await conversation.AskAsync(login);
            }

            var names = new RedisChannels(options.Prefix, "");
            return await conversation.AskAsync("HGET", names.Format, "groups") is [var stored]
                && int.TryParse(stored, NumberStyles.None, CultureInfo.InvariantCulture, out var groups)
                && groups is > 0 and <= GroupsMax
                    ? groups
                : await conversation.AskAsync("EXISTS", names.Epoch) is ["1"] ? 1
                : OnCluster;
        }
        catch (Exception e)
            when (e
                    is RedisUnavailableException
                        or SocketException
                        or IOException
                        or OperationCanceledException
                        or UnauthorizedAccessException
                        or AuthenticationException
            )
        {
            // Compared as soon as it answers.
            return OnCluster;
        }
    }

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
                    [
                        node.Channels.Format,
                        node.Channels.Epoch,
                        node.Channels.Members,
                        node.Channels.Node,
                        node.Channels.Nodes,
                        node.Channels.GroupedNodes,
                    ],
                    [
                        node.Groups,
                        node.Id,
                        (long)life.TotalMilliseconds,
                        node.Channels.NodeOf(""),
                        StreamPosition.NewEpoch(),
                        options.AreGroupsFound ? 1 : 0,
                    ]
                )
            )!;
        if (answer[0] != $"{node.Groups}")
        {
            throw new RedisLayoutException(
                answer[1].Length > 0
                    ? $"DMB_GROUPS is not set and Redis was not there to ask, so that it is {node.Groups} here; what is "
                        + $"kept under {options.Prefix} has {answer[0]}"
                    : $"DMB_GROUPS is {node.Groups} here, and {answer[0]} on the nodes that share {options.Prefix} in "
                        + "Redis"
            );
        }

        _found.TrySetResult(answer[1]);
        return answer[1];
    }

    /// <summary>
    /// Ends the membership of this node, so that no other node misses it. Ends by itself if Redis is away.
    /// </summary>
    public async Task LeaveAsync(RedisLink link)
    {
        if (routing.IsPublishOnly)
        {
            return;
        }

        try
        {
            await link.WithinAsync(
                LeaveMax,
                Task.WhenAll(
                    link.RunAsync(redis => redis.SetRemoveAsync(node.Channels.Members, node.Id)),
                    link.RunAsync(redis => redis.KeyDeleteAsync(node.Channels.Node))
                )
            );
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
        {
            // The membership expires.
        }
    }
}

/// <summary>Nodes that live have another number of groups.</summary>
internal sealed class RedisLayoutException(string why) : Exception(why);
