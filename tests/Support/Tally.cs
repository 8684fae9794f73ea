using System.Globalization;

namespace Dmb.Tests.Support;

/// <summary>
/// What became of a load: what was answered, and what each listener that should have got it got of it.
/// </summary>
/// <param name="Sent">Messages that were published.</param>
/// <param name="Degraded">Of these, how many were taken without Redis: spooled, or for one node only.</param>
/// <param name="Refused">Of these, how many were refused with an error.</param>
/// <param name="Unanswered">Of these, how many got no answer at all.</param>
/// <param name="Lost">Copies of taken messages that didn't arrive.</param>
/// <param name="Doubled">Copies that arrived once more than they should have.</param>
/// <param name="OutOfOrder">Copies that arrived after a later one of the same publisher.</param>
/// <param name="Slowest">The longest that a publisher waited for an answer.</param>
/// <param name="Evidence">The first few of everything that went wrong.</param>
public sealed record Tally(
    int Sent,
    int Degraded,
    int Refused,
    int Unanswered,
    int Lost,
    int Doubled,
    int OutOfOrder,
    TimeSpan Slowest,
    string Evidence
)
{
    private const int Shown = 5;

    /// <summary>
    /// Waits for what must arrive, then for a last message through each living node, and counts.
    /// </summary>
    /// <param name="load">Has been stopped.</param>
    /// <param name="listeners">Those whose connection should have lasted.</param>
    /// <param name="mustReach">Which taken message each has to get; all of them, if not told.</param>
    public static async Task<Tally> CountAsync(
        Load load,
        IReadOnlyList<Listener> listeners,
        Func<Answer, Listener, bool>? mustReach = null
    )
    {
        var answers = load.Answers;
        var evidence = new List<string>();
        await Task.WhenAll(listeners.Select(listener => listener.HasAsync(Expected(answers, listener, mustReach))));
        evidence.AddRange(await Listeners.FenceAsync(listeners));

        var (lost, doubled, outOfOrder) = (0, 0, 0);
        foreach (var listener in listeners)
        {
            var received = listener.Received;
            var at = $"{listener}";
            if (listener.End is { } end)
            {
                evidence.Add($"{at} ended: {end}");
            }

            var missing = Expected(answers, listener, mustReach).Except(received).ToHashSet();
            lost += missing.Count;
            evidence.AddRange(
                answers
                    .Where(answer => missing.Contains(answer.Message))
                    .Take(Shown)
                    .Select(answer => $"lost, {at}: {answer}")
            );

            var twice = received.CountBy(message => message).Where(count => count.Value > 1).ToArray();
            doubled += twice.Sum(count => count.Value - 1);
            evidence.AddRange(
                twice.Take(Shown).Select(count => $"{count.Value} times, {at}: {Find(answers, count.Key)}")
            );

            foreach (
                var (publisher, numbers) in received
                    .Distinct()
                    .GroupBy(m => m.Publisher, m => m.Number)
                    .Select(g => (g.Key, g.ToArray()))
            )
            {
                var latest = -1;
                foreach (var number in numbers)
                {
                    if (number < latest && ++outOfOrder <= Shown)
                    {
                        evidence.Add($"after {latest}, {at}: {Find(answers, new Numbered(publisher, number))}");
                    }

                    latest = Math.Max(latest, number);
                }
            }
        }

        evidence.AddRange(
            answers.Where(answer => answer.Status == 0).Take(Shown).Select(answer => $"unanswered: {answer}")
        );
        var slowest = answers.MaxBy(answer => answer.Took)!;
        evidence.Add($"slowest: {slowest}");
        evidence.AddRange(load.Marks);
        return new Tally(
            answers.Length,
            answers.Count(answer => answer is { IsTaken: true, Degraded: not null }),
            answers.Count(answer => answer is { IsTaken: false, Status: > 0 }),
            answers.Count(answer => answer.Status == 0),
            lost,
            doubled,
            outOfOrder,
            slowest.Took,
            string.Join('\n', evidence)
        );
    }

    /// <summary>The numbers as cells of a Markdown table.</summary>
    public string Cells =>
        string.Create(
            CultureInfo.InvariantCulture,
            $"{Sent} | {Degraded} | {Refused} | {Unanswered} | {Lost} | {Doubled} | {OutOfOrder} | "
                + $"{Slowest.TotalMilliseconds:0} ms"
        );

    private static Numbered[] Expected(Answer[] answers, Listener listener, Func<Answer, Listener, bool>? mustReach) =>
        [
            .. answers
                .Where(answer => answer.IsTaken && (mustReach is null || mustReach(answer, listener)))
                .Select(answer => answer.Message),
        ];

    private static string Find(Answer[] answers, Numbered message) =>
        answers.FirstOrDefault(answer => answer.Message == message)?.ToString() ?? $"{message}";
}
