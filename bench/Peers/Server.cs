using System.Diagnostics;
using Dmb.Bench.Load;

namespace Dmb.Bench.Peers;

/// <summary>A server that can be measured: what it speaks, how to get it and how to start it.</summary>
internal sealed record Server(string Name, string Title, Dialect Dialect)
{
    /// <summary>Builds it, or sees that it is installed; says in one line what is missing.</summary>
    /// <exception cref="IOException">Something is missing.</exception>
    public required Action Prepare { get; init; }

    /// <summary>The command that runs it on a port of 127.0.0.1, with the Redis on another.</summary>
    public required Func<int, int, ProcessStartInfo> Command { get; init; }

    public bool Redis { get; init; }

    /// <summary>Masters of the Redis Cluster that it runs on; 0 for one server of Redis.</summary>
    public int Shards { get; init; }

    /// <summary>
    /// The command of a proxy in front of it, which listens on the first port and passes on to the second; null without.
    /// </summary>
    public Func<int, int, ProcessStartInfo>? Proxy { get; init; }

    /// <summary>The names of the works that it is asked; null for all.</summary>
    public IReadOnlyList<string>? Works { get; init; }

    /// <summary>With two, publishes go to the first and subscribers to the second.</summary>
    public int Nodes { get; init; } = 1;

    /// <summary>Whether its <c>/readyz</c> tells when its Redis is there.</summary>
    public bool SaysReady { get; init; }

    /// <summary>Whether it only answers: the least that a program of its kind can do.</summary>
    public bool Bare { get; init; }

    /// <summary>Whether it is measured when no servers are named.</summary>
    public bool ByDefault { get; init; } = true;
}
