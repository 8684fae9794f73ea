using System.Text.Json;
using System.Text.RegularExpressions;

namespace Dmb.Tests.Deploy;

/// <summary>deploy/alerts.yaml and deploy/grafana.json: promtool takes them, and a node has what they ask for.</summary>
public sealed partial class MonitoringTests
{
    private static readonly string Alerts = Path.Combine(Repository.Root, "deploy", "alerts.yaml");

    [Fact]
    public async Task Each_alert_fires_on_what_it_is_for_and_on_nothing_else()
    {
        await RunAsync("check", "rules", Alerts);
        await RunAsync("test", "rules", Path.Combine(Repository.Root, "tests", "Deploy", "alerts.test.yaml"));
        var tested = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "tests", "Deploy", "alerts.test.yaml"));
        Assert.All(await AlertNamesAsync(), name =>
            Assert.Contains($"alertname: {name}\n", tested, StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task Each_alert_has_its_section_in_the_runbook()
    {
        var page = await File.ReadAllLinesAsync(Path.Combine(Repository.Root, "docs", "operations.md"));
        Assert.Equal(
            await AlertNamesAsync(),
            page.Where(line => line.StartsWith("### Dmb", StringComparison.Ordinal)).Select(line => line[4..])
        );
    }

    [Fact]
    public async Task The_queries_of_the_dashboard_are_PromQL()
    {
        var rules = Path.GetTempFileName();
        try
        {
            var lines = (await DashboardAsync()).Select(
                (query, i) =>
                    $"      - record: panel:{i}\n        expr: '{query.Replace("$__rate_interval", "5m", StringComparison.Ordinal)}'\n"
            );
            await File.WriteAllTextAsync(rules, "groups:\n  - name: panels\n    rules:\n" + string.Concat(lines));
            await RunAsync("check", "rules", rules);
        }
        finally
        {
            File.Delete(rules);
        }
    }

    [Fact]
    public async Task Each_metric_that_is_asked_for_is_one_of_the_page()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(Repository.Root, "docs", "telemetry.md"));
        var asked = string.Join('\n', await DashboardAsync()) + await File.ReadAllTextAsync(Alerts);
        var metrics = Metric()
            .Matches(asked)
            .Select(match => match.Value.Replace("_bucket", "", StringComparison.Ordinal))
            .Distinct()
            .ToArray();
        Assert.True(metrics.Length > 15);
        Assert.All(metrics, metric => Assert.Contains($"`{metric}", page, StringComparison.Ordinal));
    }

    private static async Task RunAsync(params string[] arguments)
    {
        await using var promtool = ChildProcess.Start("promtool", arguments, Repository.Root);
        Assert.True(await promtool.EndAsync() == 0, string.Join('\n', promtool.Lines));
    }

    private static async Task<string[]> AlertNamesAsync() =>
        [
            .. (await File.ReadAllLinesAsync(Alerts))
                .Where(line => line.Contains("- alert: ", StringComparison.Ordinal))
                .Select(line => line.Split(": ")[1]),
        ];

    /// <summary>The queries of all panels.</summary>
    private static async Task<string[]> DashboardAsync()
    {
        var dashboard = JsonElement.Parse(
            await File.ReadAllTextAsync(Path.Combine(Repository.Root, "deploy", "grafana.json"))
        );
        return
        [
            .. dashboard
                .GetProperty("panels")
                .EnumerateArray()
                .SelectMany(panel => panel.GetProperty("targets").EnumerateArray())
                .Select(target => target.GetProperty("expr").GetString()!),
        ];
    }

    [GeneratedRegex("(dmb|dotnet)_[a-z_]+(?=[{\\[ )])")]
    private static partial Regex Metric();
}
