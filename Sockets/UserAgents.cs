using System.Collections.Concurrent;

namespace Dmb.Sockets;

/// <summary>Interns <c>User-Agent</c> headers, since most sessions share a few.</summary>
internal static class UserAgents
{
    private const int KeptMax = 1_000;
    private const int LengthMax = 120;
    private static readonly ConcurrentDictionary<string, string> Kept = [];

    /// <summary>
    /// The header's first 120 characters as a shared string; null for an empty one, and for further ones past 1,000
    /// distinct.
    /// </summary>
    public static string? Intern(string agent)
    {
        agent = agent.Length > LengthMax ? agent[..LengthMax] : agent;
        return agent.Length == 0 ? null
            : Kept.TryGetValue(agent, out var kept) ? kept
            : Kept.Count < KeptMax ? Kept.GetOrAdd(agent, agent)
            : null;
    }
}
