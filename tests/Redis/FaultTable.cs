using System.Collections.Concurrent;
using System.Text;

namespace Dmb.Tests.Redis;

/// <summary>The table of docs/faults.md, written anew from what the tests counted when UPDATE_FAULTS=1.</summary>
public sealed class FaultTable : IDisposable
{
    private const string Start = "<!-- faults -->\n";
    private const string End = "<!-- /faults -->";

    /// <summary>What <see cref="Tally.Cells"/> holds.</summary>
    public const string Columns =
        "sent | degraded | refused | unanswered | lost | doubled | out of order | slowest answer";
    private const string Head = $"""
        | fault | {Columns} | kept twice |
        |---|---|---|---|---|---|---|---|---|---|

        """;

    private readonly ConcurrentDictionary<int, string> _rows = [];

    /// <summary>Adds a fault's row.</summary>
    /// <param name="order">Rows stand in this order.</param>
    /// <param name="fault">What happened, in words.</param>
    /// <param name="tally">What was counted.</param>
    /// <param name="keptTwice">Entries of histories whose message has another entry there.</param>
    public void Add(int order, string fault, Tally tally, int keptTwice) =>
        _rows[order] = $"| {fault} | {tally.Cells} | {keptTwice} |\n";

    public void Dispose()
    {
        if (Environment.GetEnvironmentVariable("UPDATE_FAULTS") != "1")
        {
            return;
        }

        var path = Path.Combine(Repository.Root, "docs", "faults.md");
        var text = File.ReadAllText(path);
        var (start, end) = (
            text.IndexOf(Start, StringComparison.Ordinal) + Start.Length,
            text.IndexOf(End, StringComparison.Ordinal)
        );
        var table = new StringBuilder(Head);
        foreach (var (_, row) in _rows.OrderBy(row => row.Key))
        {
            table.Append(row);
        }

        File.WriteAllText(path, text[..start] + table + text[end..]);
    }
}
