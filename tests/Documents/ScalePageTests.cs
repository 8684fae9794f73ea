using System.Globalization;
using Dmb.Bench.Scale;
using Dmb.Redis;

namespace Dmb.Tests.Documents;

public sealed class ScalePageTests
{
    private static readonly Costs Costs = Costs.Parse(
        File.ReadAllText(Path.Combine(Repository.Root, "bench/Scale/costs.json"))
    );

    private static readonly Shape Large = new()
    {
        Sessions = 1e7,
        Rooms = 1e6,
        Members = 10,
        Publishes = 1e5,
    };

    [Fact]
    public async Task The_tables_of_the_page_are_those_that_bench_simulate_writes()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs/scale.md"));

        Assert.Equal(ScaleTables.InPage(page, Costs), page);
    }

    [Fact]
    public void Each_limit_of_a_plan_is_kept_and_one_machine_fewer_would_exceed_it()
    {
        var plan = new Plan(Costs, Large);
        var tooFew = Large with { NodeSessions = Large.Sessions / plan.Nodes * 0.999 };

        Assert.All(plan.Uses, use => Assert.InRange(use.Share, 0, 1));
        Assert.Equal(plan.Nodes + 1, new Plan(Costs, tooFew).Nodes);
    }

    [Fact]
    public void Publishes_that_one_server_carries_need_no_cluster_and_more_need_three_shards_at_least()
    {
        var few = new Plan(Costs, new Shape { Publishes = 10_000 });
        var many = new Plan(Costs, new Shape { Publishes = 50_000 });

        Assert.Equal((1, 1), (few.Shards, few.Groups));
        Assert.InRange(many.Shards, 3, 10);
        Assert.Equal(64, many.Groups);
    }

    [Fact]
    public async Task No_plan_has_more_groups_than_a_node_accepts_and_the_page_says_the_limit()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs/scale.md"));
        int[] groups = [GroupsOf(1e5), GroupsOf(1e6), GroupsOf(5e6)];

        Assert.All(groups, number => Assert.InRange(number, 1, RedisOptions.GroupsMax));
        Assert.Contains(RedisOptions.GroupsMax, groups);
        Assert.Contains(
            string.Create(CultureInfo.InvariantCulture, $"`DMB_GROUPS`, at most {RedisOptions.GroupsMax}"),
            page,
            StringComparison.Ordinal
        );
    }

    private static int GroupsOf(double publishes) =>
        new Plan(Costs, Large with { Rooms = 1e7, Members = 1, Publishes = publishes }).Groups;

    [Fact]
    public void Publishes_to_one_room_that_exceed_one_shard_are_refused_since_a_room_is_on_one_shard()
    {
        var refused = Assert.Throws<FormatException>(() => new Plan(Costs, new Shape { Rooms = 1, Publishes = 1e5 }));

        Assert.StartsWith(
            "1000 shards are not enough: CPU of a shard would be",
            refused.Message,
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("--sessions", "1,000,000", 1_000_000)]
    [InlineData("--sessions", "2.5", 2.5)]
    public void An_option_sets_its_number(string name, string value, double expected) =>
        Assert.Equal(expected, Shape.Parse([name, value]).Shape.Sessions);

    [Theory]
    [InlineData("--sessions", "0")]
    [InlineData("--sessions", "-1")]
    [InlineData("--sessions", "many")]
    [InlineData("--sessions", "1e10")]
    [InlineData("--seats", "1")]
    [InlineData("--sessions")]
    public void An_unknown_option_or_number_is_refused_with_the_usage_or_the_bounds(params string[] args) =>
        Assert.Throws<FormatException>(() => Shape.Parse(args));

    [Theory]
    [InlineData("{}", "lacks publish, copy")]
    [InlineData("[]", "not as it should be")]
    [InlineData("{\"publish\":{}}", "not as it should be")]
    public void A_file_of_costs_that_lacks_one_is_refused(string json, string why) =>
        Assert.Contains(why, Assert.Throws<FormatException>(() => Costs.Parse(json)).Message, StringComparison.Ordinal);
}
