using System.Globalization;

namespace Dmb.Redis;

/// <summary>
/// Servers of a Redis Cluster, which know what server has which slot (Redis Cluster specification, "CLUSTER NODES").
/// All keys of a group are in one slot, by the hash tag of their prefix.
/// </summary>
/// <param name="Addresses">Those that are set. The others are found out, and asked too from then on.</param>
internal sealed record RedisSeeds(IReadOnlyList<RedisEndpoint> Addresses) : RedisDiscovery
{
    private readonly Lock _lock = new();
    private volatile IReadOnlyList<RedisEndpoint> _found = [];

    /// <summary>The answers that are awaited: groups that ask meanwhile share them.</summary>
    private Task<Answer[]>? _asking;

    public override string Says => "the cluster names";

    public override string ToString() => $"the cluster at {string.Join(", ", Addresses)}";

    public override async Task<(IReadOnlyList<RedisEndpoint> Masters, string? Warning)> FindAsync(
        RedisEndpoint redis,
        string prefix,
        CancellationToken cancellationToken
    )
    {
        var slot = HashSlot.Of(prefix);
        var answers = (await AskAllAsync().WaitAsync(cancellationToken))
            .Select(answer => OwnerIn(answer, slot))
            .ToArray();
        var masters = Sorted(redis with { IsClustered = true }, answers);
        return masters.Count > 0
            ? (masters, null)
            : throw new RedisUnavailableException(
                $"no server of the cluster names a master: {string.Join("; ", answers.Select(answer => answer.Fault))}"
            );
    }

    private Task<Answer[]> AskAllAsync()
    {
        lock (_lock)
        {
            return _asking is { IsCompleted: false } asking ? asking : _asking = AskEachAsync();
        }

        async Task<Answer[]> AskEachAsync()
        {
            var answers = await Task.WhenAll(
                Addresses
                    .Concat(_found)
                    .DistinctBy(server => (server.Host, server.Port))
                    .Select(server =>
                        AskAsync(server, conversation => ReadNodesAsync(server, conversation), CancellationToken.None)
                    )
            );
            RedisEndpoint[] found =
            [
                .. answers
                    .SelectMany(answer => answer.Nodes)
                    .Select(node => node.Server)
                    .DistinctBy(server => (server.Host, server.Port)),
            ];
            _found = found.Length == 0 ? _found : found;
            return answers;
        }
    }

    private static async Task<Answer> ReadNodesAsync(RedisEndpoint server, RedisConversation conversation)
    {
        var text = await conversation.AskAsync("CLUSTER", "NODES") switch
        {
            [['-', .. var error], ..] => throw new RedisAnswerException(error),
            [var line, ..] => line,
            _ => throw new RedisAnswerException("nothing"),
        };
        return new Answer(null)
        {
            By = server.ToString(),
            Nodes =
            [
                .. text.Split('\n', StringSplitOptions.RemoveEmptyEntries)
                    .Select(line => line.Split(' '))
                    .Where(fields => !fields[2].Split(',').Any(flag => flag is "fail" or "handshake" or "noaddr"))
                    .Select(fields => new SlotServer(
                        At(server, fields[1]),
                        long.Parse(fields[6], CultureInfo.InvariantCulture),
                        fields[8..]
                    )),
            ],
        };
    }

    /// <summary>The server that has a slot, by what one server knows.</summary>
    private static Answer OwnerIn(Answer answer, int slot)
    {
        if (answer.Fault is not null)
        {
            return answer;
        }

        var owner = answer.Nodes.FirstOrDefault(node => node.Ranges.Any(range => Has(range, slot)));
        return owner is null
            ? new Answer($"{answer.By} knows no server for slot {slot}")
            : new Answer(null) { Named = (owner.Server.Host, owner.Server.Port), Epoch = owner.Epoch };
    }

    /// <summary>
    /// Reads <c>address:port@busport,name</c>. A certificate has the name; a server that was never called by another
    /// does not know its address.
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
