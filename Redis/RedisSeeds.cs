using System.Globalization;

namespace Dmb.Redis;

/// <summary>
/// Servers of a Redis Cluster, which know what server has which slot (Redis Cluster specification, "CLUSTER NODES"). All
/// keys of the broker are in one slot, by the hash tag of their prefix.
/// </summary>
/// <param name="Addresses">Those that are set. The others are found out, and asked too from then on.</param>
internal sealed record RedisSeeds(IReadOnlyList<RedisEndpoint> Addresses) : RedisDiscovery
{
    private volatile IReadOnlyList<RedisEndpoint> _found = [];

    public override string Says => "the cluster names";

    public override string ToString() => $"the cluster at {string.Join(", ", Addresses)}";

    public override async Task<(IReadOnlyList<RedisEndpoint> Masters, string? Warning)> FindAsync(
        RedisEndpoint redis,
        string prefix,
        CancellationToken cancellationToken
    )
    {
        var found = new List<RedisEndpoint>();
        var answers = await Task.WhenAll(
            Addresses
                .Concat(_found)
                .DistinctBy(server => (server.Host, server.Port))
                .Select(server =>
                    AskAsync(server, conversation => AskAsync(server, conversation, prefix, found), cancellationToken)
                )
        );
        var masters = Sorted(redis with { IsClustered = true }, answers);
        _found = found.Count == 0 ? _found : [.. found.DistinctBy(server => (server.Host, server.Port))];
        return masters.Count > 0
            ? (masters, null)
            : throw new RedisUnavailableException(
                $"no server of the cluster names a master: {string.Join("; ", answers.Select(answer => answer.Fault))}"
            );
    }

    private static async Task<Answer> AskAsync(
        RedisEndpoint server,
        RedisConversation conversation,
        string prefix,
        List<RedisEndpoint> found
    )
    {
        var slot = int.Parse(await LineAsync("CLUSTER", "KEYSLOT", prefix), CultureInfo.InvariantCulture);
        var nodes = (await LineAsync("CLUSTER", "NODES"))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.Split(' '))
            .Where(fields => !fields[2].Split(',').Any(flag => flag is "fail" or "handshake" or "noaddr"))
            .ToArray();
        lock (found)
        {
            found.AddRange(nodes.Select(fields => At(server, fields[1])));
        }

        var owner = nodes.FirstOrDefault(fields => fields.Skip(8).Any(range => Has(range, slot)));
        return owner is null
            ? new Answer($"{server} knows no server for slot {slot}")
            : new Answer(null)
            {
                Named = (At(server, owner[1]).Host, At(server, owner[1]).Port),
                Epoch = long.Parse(owner[6], CultureInfo.InvariantCulture),
            };

        async Task<string> LineAsync(params string[] words) =>
            await conversation.AskAsync(words) switch
            {
                [['-', .. var error], ..] => throw new RedisAnswerException(error),
                [var line, ..] => line,
                _ => throw new RedisAnswerException("nothing"),
            };
    }

    /// <summary>
    /// Reads <c>address:port@busport,name</c>. A certificate has the name; a server that was never called by another does
    /// not know its address.
    /// </summary>
    private static RedisEndpoint At(RedisEndpoint server, string text)
    {
        var parts = text.Split(',');
        var address = parts[0].Split('@')[0];
        var colon = address.LastIndexOf(':');
        var host =
            server.IsTls && parts.Length > 1 && parts[1].Length > 0 ? parts[1]
            : colon > 0 ? address[..colon]
            : server.Host;
        return server with { Host = host, Port = int.Parse(address[(colon + 1)..], CultureInfo.InvariantCulture) };
    }

    /// <summary>Whether <c>first-last</c> or <c>slot</c> has it; slots that move are in brackets.</summary>
    private static bool Has(string range, int slot) =>
        range.Split('-') is [not ['[', ..], ..] and var ends
        && int.Parse(ends[0], CultureInfo.InvariantCulture) <= slot
        && int.Parse(ends[^1], CultureInfo.InvariantCulture) >= slot;
}
