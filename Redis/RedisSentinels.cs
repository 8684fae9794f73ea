using System.Globalization;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Dmb.Redis;

/// <summary>The sentinels that know which server is the master (Redis documentation, "Sentinel clients").</summary>
/// <param name="Master">The name by which they know the master.</param>
/// <param name="Addresses">Where they are, and what they are logged in with.</param>
internal sealed record RedisSentinels(string Master, IReadOnlyList<RedisEndpoint> Addresses)
{
    /// <summary>How long a sentinel may take to answer.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    public override string ToString() => $"{Master} of the sentinels {string.Join(", ", Addresses)}";

    /// <summary>Asks all of them at once for the master.</summary>
    /// <param name="redis">What the master is logged in with.</param>
    /// <param name="cancellationToken">Gives up asking.</param>
    /// <returns>
    /// The servers that they name, that of the newest configuration first, since a sentinel that was cut off names the
    /// former master; and a sentence about those that do not answer, or null.
    /// </returns>
    /// <exception cref="RedisUnavailableException">None names a server; the reason says why not.</exception>
    public async Task<(IReadOnlyList<RedisEndpoint> Masters, string? Warning)> FindAsync(
        RedisEndpoint redis,
        CancellationToken cancellationToken
    )
    {
        var answers = await Task.WhenAll(Addresses.Select(sentinel => AskAsync(sentinel, cancellationToken)));
        var faults = string.Join("; ", answers.Select(answer => answer.Fault).OfType<string>());
        var silent = answers.Count(answer => answer is { Named: null, Knows: true });
        var masters = answers
            .Where(answer => answer.Named is not null)
            .GroupBy(answer => answer.Named!.Value)
            .OrderByDescending(group => group.Max(answer => answer.Epoch))
            .ThenByDescending(group => group.Count())
            .Select(group => redis with { Host = group.Key.Host, Port = group.Key.Port, Sentinels = null })
            .ToArray();
        if (masters.Length == 0)
        {
            throw new RedisUnavailableException(
                silent == answers.Length
                    ? $"no sentinel answers: {faults}"
                    : $"the sentinels know no master '{Master}': {faults}"
            );
        }

        return (
            masters,
            faults.Length == 0 ? null
            : 2 * silent < answers.Length ? faults
            : $"{silent} of {answers.Length} sentinels are gone, and half of them make no failover: {faults}"
        );
    }

    private async Task<Answer> AskAsync(RedisEndpoint sentinel, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Patience);
        try
        {
            var password = sentinel.ReadPassword();
            await using var conversation = await RedisConversation.ConnectAsync(sentinel, patience.Token);
            if (password is not null)
            {
                // A password where none is needed does no harm.
                await conversation.AskAsync(sentinel.Login(password));
            }

            var named = await conversation.AskAsync("SENTINEL", "GET-MASTER-ADDR-BY-NAME", Master);
            if (named is [['-', .. var error], ..])
            {
                throw new RedisAnswerException(error);
            }

            if (named is not [var host, var port])
            {
                return new Answer($"{sentinel} knows no master '{Master}'") { Knows = false };
            }

            // Names and values. Where this is not allowed, the server that most sentinels name comes first.
            var state = await conversation.AskAsync("SENTINEL", "MASTER", Master);
            var at = Array.IndexOf(state, "config-epoch");
            return new Answer(null)
            {
                Named = (host, int.Parse(port, CultureInfo.InvariantCulture)),
                Epoch = at < 0 ? 0 : long.Parse(state[at + 1], CultureInfo.InvariantCulture),
            };
        }
        catch (Exception e)
            when (!cancellationToken.IsCancellationRequested
                && e
                    is RedisAnswerException
                        or SocketException
                        or IOException
                        or FormatException
                        or OperationCanceledException
                        or UnauthorizedAccessException
                        or AuthenticationException
            )
        {
            return new Answer($"{sentinel}: {(e is OperationCanceledException ? "no answer" : RedisReason.Of(e))}");
        }
    }

    /// <summary>What one sentinel says.</summary>
    /// <param name="Fault">Why it names no server; null where it does.</param>
    private sealed record Answer(string? Fault)
    {
        /// <summary>The server that it names.</summary>
        public (string Host, int Port)? Named { get; init; }

        /// <summary>The number of the configuration: each failover counts one on.</summary>
        public long Epoch { get; init; }

        /// <summary>Whether it may know the master; false for one that answers that it does not.</summary>
        public bool Knows { get; init; } = true;
    }
}
