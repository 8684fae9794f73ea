using System.Globalization;

namespace Dmb.Redis;

/// <summary>The sentinels that know which server is the master (Redis documentation, "Sentinel clients").</summary>
/// <param name="Master">The name by which they know the master.</param>
/// <param name="Addresses">Where they are, and what they are logged in with.</param>
internal sealed record RedisSentinels(string Master, IReadOnlyList<RedisEndpoint> Addresses) : RedisDiscovery
{
    public override string Says => "the sentinels name";

    public override string ToString() => $"{Master} of the sentinels {string.Join(", ", Addresses)}";

    public override async Task<(IReadOnlyList<RedisEndpoint> Masters, string? Warning)> FindAsync(
        RedisEndpoint redis,
        string prefix,
        CancellationToken cancellationToken
    )
    {
        var answers = await Task.WhenAll(
            Addresses.Select(sentinel =>
                AskAsync(sentinel, conversation => AskAsync(sentinel, conversation), cancellationToken)
            )
        );
        var faults = string.Join("; ", answers.Select(answer => answer.Fault).OfType<string>());
        var silent = answers.Count(answer => answer is { Named: null, Knows: true });
        var masters = Sorted(redis, answers);
        if (masters.Count == 0)
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

    private async Task<Answer> AskAsync(RedisEndpoint sentinel, RedisConversation conversation)
    {
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
}
