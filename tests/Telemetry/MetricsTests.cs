using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
using Dmb.Telemetry;

namespace Dmb.Tests.Telemetry;

/// <summary>GET /metrics: what Prometheus' own parser thinks of it, and whether it says what happened.</summary>
public sealed class MetricsTests
{
    [Fact]
    public async Task The_metrics_count_each_operation()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("support");
        await using var other = await node.JoinAsync("calls");
        for (var i = 0; i < 3; i++)
        {
            await node.NotifyAsync("report_csr", "{}");
            await client.ReadDataAsync("report_csr");
        }

        using var body = new StringContent("{}");
        using var ignored = await node.Http.PostAsync(new Uri(node.Url, "/_notify/nobody_knows_it"), body);
        await other.SendFrameAsync(Frame.Binary, [1]);
        await other.ReadCloseAsync();

        var page = await ReadAsync(node);
        Assert.Equal(3, page["dmb_messages_published_total"]);
        Assert.Equal(3, page["dmb_messages_delivered_total"]);
        Assert.Equal(1, page["dmb_messages_ignored_total"]);
        Assert.Equal(0, page["dmb_messages_dropped_total{reason=\"slow_consumer\"}"]);
        Assert.Equal(1, page["dmb_sessions_closed_total{code=\"1003\"}"]);
        Assert.InRange(page["dmb_sessions"], 1, 2);
        Assert.InRange(page["dmb_rooms"], 2, 3);
        Assert.Equal(0, page["dmb_session_queue"]);
        Assert.Equal(1, page["dmb_backplane_up"]);
        Assert.Equal(0, page["dmb_spool_messages"]);
        Assert.Equal(3, page["dmb_publish_duration_seconds_count"]);
        Assert.Equal(3, page["dmb_publish_duration_seconds_bucket{le=\"+Inf\"}"]);

        // The clock of this node does not move by itself.
        Assert.Equal(
            (3, 3, 0),
            (
                page["dmb_delivery_lag_seconds_count"],
                page["dmb_delivery_lag_seconds_bucket{le=\"0.001\"}"],
                page["dmb_delivery_lag_seconds_sum"]
            )
        );
        Assert.True(page["dotnet_process_memory_working_set_bytes"] > 1_000_000);
        Assert.Contains(page.Keys, key => key.StartsWith("kestrel_active_connections{", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Prometheus_parses_the_page_without_findings()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("support");
        await node.NotifyAsync("report_csr", "{}");
        await client.ReadDataAsync("report_csr");
        Assert.Equal((0, ""), await CheckAsync(await node.Http.GetStringAsync(new Uri(node.Url, "/metrics"))));
        using var response = await node.Http.GetAsync(new Uri(node.Url, "/metrics"));
        Assert.Equal("text/plain; version=0.0.4; charset=utf-8", response.Content.Headers.ContentType!.ToString());
    }

    [Fact]
    public async Task The_queue_of_a_session_that_does_not_read_is_seen()
    {
        await using var node = await Node.StartAsync();
        await using var client = await node.JoinAsync("support");
        var data = $"\"{new string('x', 60_000)}\"";
        double queued;
        double longest;
        do
        {
            await node.NotifyAsync("report_csr", data);
            var page = await ReadAsync(node);
            (queued, longest) = (page["dmb_session_queue"], page["dmb_session_queue_max"]);
        } while (queued < 2);

        Assert.Equal(queued, longest);
    }

    [Fact]
    public async Task A_client_that_goes_without_a_close_frame_costs_no_exception()
    {
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));
        await using (await node.JoinAsync("support")) { }

        Dictionary<string, double> page;
        do
        {
            page = Parse(await node.Http.GetStringAsync(new Uri(node.Url, "/metrics")));
        } while (page["dmb_sessions"] > 0);

        Assert.DoesNotContain(page.Keys, key =>
            key.StartsWith("dotnet_exceptions_total{error_type=\"WebSocketException\"", StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task Away_from_Redis_the_backplane_is_down_and_the_spool_grows()
    {
        var redis = new RedisServer();
        await using (redis)
        {
            await using var node = await NodeProcess.StartAsync(
                ("REDIS_HOST", "127.0.0.1"),
                ("REDIS_PORT", $"{redis.Port}")
            );
            await node.PushAsync("report_csr", "{}");
            await node.PushAsync("report_csr", "{}");
            var page = Parse(await node.Http.GetStringAsync(new Uri(node.Url, "/metrics")));
            Assert.Equal((0, 2), (page["dmb_backplane_up"], page["dmb_spool_messages"]));
            await redis.StartAsync();
            await node.BecomesAsync("ready");
            page = Parse(await node.Http.GetStringAsync(new Uri(node.Url, "/metrics")));
            Assert.Equal((1, 0), (page["dmb_backplane_up"], page["dmb_spool_messages"]));
        }
    }

    [Fact]
    public async Task Labels_and_helps_are_escaped_buckets_are_cumulative_and_include_their_boundary()
    {
        using var meter = new Meter("test");
        var histogram = meter.CreateHistogram(
            "way.taken",
            "s",
            "one \\ two\nthree",
            tags: null,
            new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.1, 1] }
        );
        var family = new MetricFamily(histogram);
        foreach (var value in (double[])[0.05, 0.1, 0.5, 1, 2])
        {
            family.Record(value, [KeyValuePair.Create<string, object?>("la.bel", "a\"b\\c\nd")]);
        }

        var page = Write(family);
        Assert.Equal(
            """
            # HELP way_taken_seconds one \\ two\nthree
            # TYPE way_taken_seconds histogram
            way_taken_seconds_bucket{la_bel="a\"b\\c\nd",le="0.1"} 2
            way_taken_seconds_bucket{la_bel="a\"b\\c\nd",le="1"} 4
            way_taken_seconds_bucket{la_bel="a\"b\\c\nd",le="+Inf"} 5
            way_taken_seconds_sum{la_bel="a\"b\\c\nd"} 3.65
            way_taken_seconds_count{la_bel="a\"b\\c\nd"} 5

            """,
            page
        );
        Assert.Equal((0, ""), await CheckAsync(page));
    }

    [Fact]
    public void Labels_without_end_end_in_one_series()
    {
        using var meter = new Meter("test");
        var family = new MetricFamily(meter.CreateCounter<long>("many", unit: null, "Many."));
        for (var i = 0; i < 1_000; i++)
        {
            family.Record(1, [KeyValuePair.Create<string, object?>("id", i)]);
        }

        var page = Parse(Write(family));
        Assert.Equal((101, 900), (page.Count, page["many_total{otel_metric_overflow=\"true\"}"]));
    }

    [Fact]
    public void A_measurement_without_labels_allocates_nothing()
    {
        using var meter = new Meter("test");
        var family = new MetricFamily(
            meter.CreateHistogram(
                "a",
                "s",
                "A.",
                tags: null,
                new InstrumentAdvice<double> { HistogramBucketBoundaries = [0.1, 1] }
            )
        );
        family.Record(1, []);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            family.Record(i, []);
        }

        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
    }

    private static string Write(MetricFamily family)
    {
        var page = new StringBuilder();
        family.WriteTo(page);
        return page.ToString();
    }

    private static async Task<Dictionary<string, double>> ReadAsync(Node node) =>
        Parse(await node.Http.GetStringAsync(new Uri(node.Url, "/metrics")));

    private static Dictionary<string, double> Parse(string page) =>
        page.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Where(line => line[0] != '#')
            .ToDictionary(
                line => line[..line.LastIndexOf(' ')],
                line => double.Parse(line[(line.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture)
            );

    /// <summary>What <c>promtool check metrics</c> says: its exit code, and what it finds amiss.</summary>
    private static async Task<(int Code, string Said)> CheckAsync(string page)
    {
        var start = new ProcessStartInfo("promtool", ["check", "metrics"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var promtool = Process.Start(start)!;
        await promtool.StandardInput.WriteAsync(page);
        promtool.StandardInput.Close();
        var said = await promtool.StandardOutput.ReadToEndAsync() + await promtool.StandardError.ReadToEndAsync();
        await promtool.WaitForExitAsync().WaitAsync(Node.Patience);
        return (promtool.ExitCode, said);
    }
}
