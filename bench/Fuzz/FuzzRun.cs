using System.Collections.Concurrent;
using System.Diagnostics;
using Dmb.Bench.Load;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Fuzz;

/// <summary>
/// Sends cases, a few at a time, to a node of its own. After each round the node must be there, must not have said that
/// something went wrong inside it, and must deliver to an honest client beside the others.
/// </summary>
internal sealed class FuzzRun : IDisposable
{
    private const int RoundCases = 48;
    private const int AtOnce = 8;
    private const int FailuresMax = 10;

    // What a case does to the log may be there a moment later.
    private static readonly TimeSpan LogLag = TimeSpan.FromMilliseconds(200);

    private readonly FuzzOptions _options;
    private readonly RedisProcess? _redis;
    private readonly SortedDictionary<string, int> _sent = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int> _answers = [];
    private Victim _node;
    private HonestPair _honest;
    private int _logged;
    private int _failures;

    private FuzzRun(FuzzOptions options)
    {
        _options = options;
        _redis = options.Redis ? RedisProcess.Start() : null;
        (_node, _honest) = Start();
    }

    public static bool Run(FuzzOptions options)
    {
        using var run = new FuzzRun(options);
        return run.Run();
    }

    public void Dispose()
    {
        _honest.Dispose();
        _node.Dispose();
        _redis?.Dispose();
    }

    private bool Run()
    {
        var start = Stopwatch.GetTimestamp();
        var rss = _node.Rss;
        var next = _options.First;
        FuzzCase[] before = _options.IsWhole ? FuzzCorpus.Read() : [];
        if (before.Length > 0 && Send(before) is ({ } again, var known))
        {
            Report(known is null ? before : [known, .. before], again);
            before = [];
        }

        while (next <= _options.Last && Stopwatch.GetElapsedTime(start) < _options.Time && _failures < FailuresMax)
        {
            var round = Take(ref next);
            if (Send(round) is ({ } failure, var failed))
            {
                Report(failed is null ? [.. before, .. round] : [failed, .. before, .. round], failure);
                before = [];
            }
            else
            {
                before = round;
            }
        }

        // The last of what was logged.
        Wait(LogLag);
        if (Wrong() is { } late)
        {
            Report(before, late);
        }

        Console.WriteLine(
            $"seed {_options.Seed}, numbers {_options.First} to {next - 1}: {_sent.Values.Sum():N0} cases in "
                + $"{Stopwatch.GetElapsedTime(start).TotalSeconds:F0} s; the node's memory {rss >> 20} MiB before, "
                + $"{_node.Rss >> 20} MiB after"
        );
        Console.WriteLine(string.Join(", ", _sent.Select(kind => $"{kind.Key} {kind.Value:N0}")));
        Console.WriteLine(
            $"answered: {string.Join(", ", _answers.OrderByDescending(answer => answer.Value).Select(answer => $"{answer.Key} {answer.Value:N0}"))}"
        );
        Console.WriteLine(_failures == 0 ? "nothing failed" : $"{_failures} failed");
        return _failures == 0;
    }

    private FuzzCase[] Take(ref int next)
    {
        var round = new List<FuzzCase>();
        for (; round.Count < RoundCases && next <= _options.Last; next++)
        {
            if (_options.Kind is null || FuzzCase.KindOf(_options.Seed, next) == _options.Kind)
            {
                round.Add(FuzzCase.Make(_options.Seed, next));
            }
        }

        return [.. round];
    }

    /// <summary>What went wrong, if anything did, and with which of the cases, if that is known.</summary>
    private (string? Failure, FuzzCase? Case) Send(FuzzCase[] round)
    {
        (string? failure, FuzzCase? failed) = (null, null);
        Parallel
            .ForEachAsync(round, new ParallelOptions { MaxDegreeOfParallelism = AtOnce }, async (sent, _) =>
            {
                if (_options.Show)
                {
                    Show(sent);
                }

                var (fault, answer) = await CaseRun.RunAsync(sent, _node.Address);
                _answers.AddOrUpdate(answer, 1, (_, count) => count + 1);
                if (fault is not null)
                {
                    failed = sent;
                    failure = $"{sent.Kind} {sent.Number}: {fault}";
                }
            })
            .GetAwaiter()
            .GetResult();
        foreach (var sent in round)
        {
            _sent[sent.Kind] = _sent.GetValueOrDefault(sent.Kind) + 1;
        }

        return (failure ?? Wrong(), failed);
    }

    /// <summary>Null, or what is wrong with the node.</summary>
    private string? Wrong()
    {
        var honest = _node.HasEnded ? null : _honest.Check();
        var (lines, next) = _node.Complaints(_logged);
        _logged = next;
        return _node.HasEnded ? $"the node has ended: {string.Join("\n    ", lines)}"
            : lines.Length > 0 ? string.Join("\n    ", lines.Take(12))
            : honest;
    }

    /// <summary>Looks for the one case that does it alone, on a new node, and tells how to see it again.</summary>
    private void Report(FuzzCase[] suspects, string failure)
    {
        _failures++;
        Wait(LogLag);
        Console.WriteLine($"FAILED: {failure}");
        Renew();
        foreach (var suspect in suspects)
        {
            var (alone, _) = CaseRun.RunAsync(suspect, _node.Address).GetAwaiter().GetResult();
            Wait(alone is null ? LogLag / 2 : TimeSpan.Zero);
            alone ??= Wrong();
            if (alone is not null)
            {
                Console.WriteLine($"  {suspect.Kind} {suspect.Number} alone: {alone}");
                Console.WriteLine(
                    suspect.Number < 0
                        ? "  it is in the corpus already"
                        : $"  again: {Command($"{suspect.Number}")}\n  kept: {FuzzCorpus.Keep(_options.Seed, suspect)}"
                );
                Renew();
                return;
            }
        }

        Console.WriteLine(
            "  none of the cases does it alone; together: "
                + Command($"{suspects.Min(suspect => Math.Max(suspect.Number, 0))}-{suspects[^1].Number}")
        );
        Renew();
    }

    private string Command(string numbers) =>
        $"dotnet run -c Release --project bench -- fuzz --seed {_options.Seed} --only {numbers} "
        + $"--show{(_options.Redis ? " --redis" : "")}";

    private void Renew()
    {
        _honest.Dispose();
        _node.Dispose();
        (_node, _honest) = Start();
        _logged = 0;
    }

    private (Victim, HonestPair) Start()
    {
        var start = Build.Program("");
        start.Environment["REDIS_HOST"] = _redis is null ? "none" : "127.0.0.1";
        start.Environment["REDIS_PORT"] = $"{_redis?.Port ?? 6379}";

        // As much of the broker as can be had at once.
        var node = Victim.Start(
            start,
            ("DMB_WS_COMPRESSION", "true"),
            ("DMB_ALLOWED_ORIGINS", "https://desk.example.com"),
            ("DMB_TRUSTED_PROXIES", "127.0.0.1")
        );
        return (node, new HonestPair(node.Address));
    }

    private static void Show(FuzzCase sent)
    {
        Console.WriteLine(
            $"{sent.Kind} {sent.Number}, {sent.Leaving}{(sent.AwaitsHead ? ", waits for the head" : "")}:"
        );
        foreach (var piece in sent.Pieces)
        {
            Console.WriteLine(
                $"  {piece.Length} bytes: {FuzzCorpus.Escaped(piece.AsSpan(0, Math.Min(piece.Length, 2000)))}"
            );
        }
    }

    private static void Wait(TimeSpan time) => Task.Delay(time, TimeProvider.System).GetAwaiter().GetResult();
}
