using System.Globalization;
using System.Text;

namespace Dmb.Bench.Scale;

/// <summary>The tables of docs/scale.md: the costs, what one server of Redis carries, and plans.</summary>
internal static class ScaleTables
{
    /// <summary>What docs/scale.md plans for.</summary>
    public static readonly Shape[] Shapes =
    [
        new()
        {
            Title = "100,000 sockets",
            Sessions = 1e5,
            Rooms = 1e5,
            Members = 2,
            Publishes = 5_000,
        },
        new()
        {
            Title = "1 million sockets",
            Sessions = 1e6,
            Rooms = 1e6,
            Members = 2,
            Publishes = 50_000,
        },
        new()
        {
            Title = "10 million, rooms of 1",
            Sessions = 1e7,
            Rooms = 1e7,
            Members = 1,
            Publishes = 1e6,
        },
        new()
        {
            Title = "10 million, rooms of 10",
            Sessions = 1e7,
            Rooms = 1e6,
            Members = 10,
            Publishes = 1e5,
        },
        new()
        {
            Title = "10 million, rooms of 1,000",
            Sessions = 1e7,
            Rooms = 1e4,
            Members = 1_000,
            Publishes = 1_000,
        },
    ];

    private static readonly (string Title, Func<Shape, double> Value)[] ShapeRows =
    [
        ("sessions", shape => shape.Sessions),
        ("rooms", shape => shape.Rooms),
        ("members of a room", shape => shape.Members),
        ("publishes a second", shape => shape.Publishes),
        ("deliveries a second", shape => shape.Deliveries),
    ];

    private static readonly (string Title, Func<Plan, string> Text)[] PlanRows =
    [
        ("**nodes**", plan => $"**{Whole(plan.Nodes)}**"),
        ("**shards of Redis**, without replicas", plan => $"**{Whole(plan.Shards)}**"),
        ("**groups**", plan => $"**{Whole(plan.Groups)}**"),
        ("memory of a node, GB", plan => Figure(plan.NodeMemory / 1e9)),
        ("memory of all nodes, GB", plan => Figure(plan.NodeMemory * plan.Nodes / 1e9)),
        ("memory of all shards, GB", plan => Figure(plan.RedisMemory / 1e9)),
        ("network of a node, Mbit/s", plan => Figure(plan.NodeMbit)),
        ("network of the busiest shard, Mbit/s", plan => Figure(plan.ShardMbit)),
        ("busy cores of all nodes", plan => Figure(plan.NodeCores)),
        ("busy cores of all shards", plan => Figure(plan.RedisCores)),
        ("nodes that have a member of a room", plan => Figure(plan.NodesOfRoom)),
        ("connections of a shard", plan => Whole(plan.ConnectionsOfShard)),
        ("a dead node's sessions are back after, s", plan => Figure(plan.BackSeconds)),
        ("all sessions at once are back after, s", plan => Figure(plan.AllBackSeconds)),
        ("fullest", plan => Text(plan.Uses[0])),
        ("next", plan => Text(plan.Uses[1])),
        ("then", plan => Text(plan.Uses[2])),
    ];

    /// <summary>The page with its tables computed anew.</summary>
    /// <exception cref="FormatException">The page lacks the marks of a table.</exception>
    public static string InPage(string page, Costs costs)
    {
        page = Replace(page, "costs", CostsOf(costs));
        page = Replace(page, "one Redis", OneRedisOf(costs));
        return Replace(page, "plans", PlansOf(costs, Shapes));
    }

    /// <summary>A column for each shape: what it is, what it needs, and what is full first.</summary>
    public static string PlansOf(Costs costs, IReadOnlyList<Shape> shapes)
    {
        var plans = shapes.Select(shape => new Plan(costs, shape)).ToArray();
        var text = new StringBuilder();
        Row(text, "", shapes.Select(shape => shape.Title));
        text.Append(CultureInfo.InvariantCulture, $"|{string.Concat(Enumerable.Repeat("---|", shapes.Count + 1))}\n");
        foreach (var (title, value) in ShapeRows)
        {
            Row(text, title, shapes.Select(shape => Whole(value(shape))));
        }

        foreach (var (title, value) in PlanRows)
        {
            Row(text, title, plans.Select(value));
        }

        return text.ToString();
    }

    private static string CostsOf(Costs costs)
    {
        var text = new StringBuilder("| what | figure | where from |\n|---|---|---|\n");
        foreach (var cost in costs.All)
        {
            Row(text, cost.What, [$"{Figure(cost.Value)} {cost.Unit}", cost.From]);
        }

        return text.ToString();
    }

    /// <summary>Publishes a second of one server, by how many nodes have a member of the message's room.</summary>
    private static string OneRedisOf(Costs costs)
    {
        var text = new StringBuilder(
            "| nodes that receive it | µs of Redis's CPU | publishes a second |\n|---|---|---|\n"
        );
        foreach (var nodes in new[] { 1, 3, 10, 30, 100 })
        {
            var us = costs.Script + costs.ScriptRoom + ((nodes - 1) * costs.ScriptCopy);
            Row(
                text,
                Whole(nodes),
                [Figure(us), Whole(Math.Round(Plan.Fill * 1e6 / us, MidpointRounding.AwayFromZero))]
            );
        }

        return text.ToString();
    }

    private static string Replace(string page, string table, string text)
    {
        var (begin, end) = ($"<!-- {table}: begin -->\n", $"<!-- {table}: end -->");
        var start = page.IndexOf(begin, StringComparison.Ordinal) + begin.Length;
        var stop = page.IndexOf(end, StringComparison.Ordinal);
        return start >= begin.Length && stop >= start
            ? page[..start] + text + page[stop..]
            : throw new FormatException($"The page lacks the marks of the table '{table}'.");
    }

    private static string Text(Plan.Use use) =>
        string.Create(CultureInfo.InvariantCulture, $"{use.Limit}: {use.Share * 100:F0} %");

    private static void Row(StringBuilder text, string first, IEnumerable<string> rest) =>
        text.Append(CultureInfo.InvariantCulture, $"| {first} | {string.Join(" | ", rest)} |\n");

    private static string Whole(double value) => value.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>Three digits, and no fewer than stand before the point.</summary>
    private static string Figure(double value) =>
        value.ToString(
            value >= 100 ? "N0"
                : value >= 10 ? "F1"
                : "F2",
            CultureInfo.InvariantCulture
        );
}
