using System.Collections.Concurrent;
using System.Net;

namespace Dmb.Bench.Hostile;

/// <summary>One way to be a nuisance.</summary>
/// <param name="Name">What <c>--only</c> calls it.</param>
/// <param name="Title">What is done, in words.</param>
/// <param name="Answer">What the broker does about it.</param>
/// <param name="RunAsync">Does it until it is told to end.</param>
internal sealed record Attack(string Name, string Title, string Answer, Func<Target, CancellationToken, Task> RunAsync)
{
    /// <summary>Some are over before.</summary>
    public TimeSpan Length { get; init; } = TimeSpan.FromSeconds(10);

    public (string Name, string Value)[] Settings { get; init; } = [];
}

/// <summary>A node under attack, and what became of its attackers.</summary>
internal sealed class Target(IPEndPoint node)
{
    private readonly ConcurrentDictionary<string, long> _outcomes = [];
    private readonly ConcurrentBag<Attacker> _attackers = [];

    public IPEndPoint Node => node;

    /// <summary>Keeps it until the attack is over, and then counts how it ended.</summary>
    public Attacker Hold(Attacker attacker)
    {
        _attackers.Add(attacker);
        return attacker;
    }

    public void Count(string outcome, long times = 1) =>
        _outcomes.AddOrUpdate(outcome, times, (_, before) => before + times);

    /// <summary>Counts how it ended, unless it is the attack that is over.</summary>
    public void CountEnded(Attacker attacker)
    {
        if (!attacker.IsOpen)
        {
            Count(attacker.Outcome);
        }
    }

    /// <summary>Cuts all that are still there, and tells how many ended how.</summary>
    public string End()
    {
        foreach (var attacker in _attackers)
        {
            Count(attacker.Outcome);
            attacker.Dispose();
        }

        return string.Join(
            ", ",
            _outcomes.OrderByDescending(outcome => outcome.Value).Select(outcome => $"{outcome.Value:N0} {outcome.Key}")
        );
    }
}
