using System.Net.Sockets;
using System.Security.Authentication;

namespace Dmb.Redis;

/// <summary>Who says which server is the one to connect to, asked at each attempt.</summary>
internal abstract record RedisDiscovery
{
    /// <summary>How long one that is asked may take to answer.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    /// <summary>Who names a server, and the verb: <c>the sentinels name</c>.</summary>
    public abstract string Says { get; }

    /// <summary>Asks all of them at once.</summary>
    /// <param name="redis">What the server is logged in with.</param>
    /// <param name="prefix">What all keys begin with.</param>
    /// <param name="cancellationToken">Gives up asking.</param>
    /// <returns>
    /// The servers that they name, that of the newest configuration first, since one that was cut off names the former
    /// master; and a sentence about those that are of no use, or null.
    /// </returns>
    /// <exception cref="RedisUnavailableException">None names a server; the reason says why not.</exception>
    public abstract Task<(IReadOnlyList<RedisEndpoint> Masters, string? Warning)> FindAsync(
        RedisEndpoint redis,
        string prefix,
        CancellationToken cancellationToken
    );

    /// <summary>Connects, logs in, and asks; where that fails, the answer has the reason.</summary>
    protected static async Task<Answer> AskAsync(
        RedisEndpoint asked,
        Func<RedisConversation, Task<Answer>> askAsync,
        CancellationToken cancellationToken
    )
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Patience);
        try
        {
            var login = asked.Login(asked.ReadPassword());
            await using var conversation = await RedisConversation.ConnectAsync(asked, patience.Token);
            if (login.Length > 0)
            {
                // A password where none is needed does no harm.
                await conversation.AskAsync(login);
            }

            return await askAsync(conversation);
        }
        catch (Exception e)
            when (!cancellationToken.IsCancellationRequested
                && e
                    is RedisAnswerException
                        or RedisUnavailableException
                        or SocketException
                        or IOException
                        or FormatException
                        or OperationCanceledException
                        or UnauthorizedAccessException
                        or AuthenticationException
            )
        {
            return new Answer($"{asked}: {(e is OperationCanceledException ? "no answer" : RedisReason.Of(e))}");
        }
    }

    /// <summary>The servers that were named, the newest first, then that which most name.</summary>
    protected static IReadOnlyList<RedisEndpoint> Sorted(RedisEndpoint redis, IEnumerable<Answer> answers) =>
        [
            .. answers
                .Where(answer => answer.Named is not null)
                .GroupBy(answer => answer.Named!.Value)
                .OrderByDescending(group => group.Max(answer => answer.Epoch))
                .ThenByDescending(group => group.Count())
                .Select(group => redis with { Host = group.Key.Host, Port = group.Key.Port, Discovery = null }),
        ];

    /// <summary>What one says.</summary>
    /// <param name="Fault">Why it names no server; null where it does.</param>
    protected sealed record Answer(string? Fault)
    {
        /// <summary>The server that it names.</summary>
        public (string Host, int Port)? Named { get; init; }

        /// <summary>The number of the configuration: each failover counts one on.</summary>
        public long Epoch { get; init; }

        /// <summary>Its address, where it is asked for many servers.</summary>
        public string By { get; init; } = "";

        /// <summary>The servers that it knows, of a cluster.</summary>
        public IReadOnlyList<SlotServer> Nodes { get; init; } = [];

        /// <summary>Whether it may know the master; false for one that answers that it does not.</summary>
        public bool Knows { get; init; } = true;
    }

    /// <summary>A server of a cluster.</summary>
    /// <param name="Server">Where it is.</param>
    /// <param name="Epoch">The number of its configuration.</param>
    /// <param name="Ranges">Its slots: <c>first-last</c>, <c>slot</c>, and in brackets slots that move.</param>
    protected sealed record SlotServer(RedisEndpoint Server, long Epoch, string[] Ranges);
}
