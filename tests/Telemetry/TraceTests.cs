using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dmb.Tests.History;

namespace Dmb.Tests.Telemetry;

/// <summary>Two nodes as processes over a real Redis, and what they say to a collector.</summary>
public sealed class TraceTests
{
    private const string Secret = "not-for-a-collector";

    [Theory]
    [InlineData("http/protobuf")]
    [InlineData("grpc")]
    public async Task A_push_is_one_trace_from_its_request_to_the_delivery_on_each_node(string protocol)
    {
        await using var cluster = await Traced.StartAsync(protocol);
        await using var near = await cluster.First.JoinAsync("support");
        await using var far = await cluster.Second.JoinAsync("support");
        var trace = NewTrace();
        await PushAsync(cluster.First, $"00-{trace}-00f067aa0ba902b7-01");
        await near.ReadAsync();
        await far.ReadAsync();

        var spans = await cluster.Receiver.TraceAsync(trace, 6);
        Assert.Equal(6, spans.Length);
        var request = Assert.Single(spans, span => span.Name == "POST /_notify/{event}");
        Assert.Equal(("00f067aa0ba902b7", 2, "first"), (request.Parent, request.Kind, request.Service));
        Assert.Equal("/_notify/{event}", request.Attributes["http.route"]);
        Assert.Equal("200", request.Attributes["http.response.status_code"]);

        var publish = Assert.Single(spans, span => span.Name == "publish support");
        Assert.Equal((request.Id, 4, "first"), (publish.Parent, publish.Kind, publish.Service));
        Messaging(publish, "publish", "send");

        foreach (var service in (string[])["first", "second"])
        {
            var receive = Assert.Single(spans, span => span.Name == "receive support" && span.Service == service);
            Assert.Equal((publish.Id, 5), (receive.Parent, receive.Kind));
            Assert.Equal((trace, publish.Id), Assert.Single(receive.Links));
            Messaging(receive, "receive", "receive");
            var deliver = Assert.Single(spans, span => span.Name == "deliver" && span.Service == service);
            Assert.Equal((receive.Id, 5, "1"), (deliver.Parent, deliver.Kind, deliver.Attributes["dmb.sessions"]));
            Messaging(deliver, "deliver", "process");
        }

        await cluster.Receiver.MetricAsync("dmb.messages.published");
        Assert.DoesNotContain(cluster.Receiver.Bodies, body => body.Contains(Secret, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("http/protobuf")]
    [InlineData("grpc")]
    public async Task A_collector_that_does_not_answer_is_logged_once(string protocol)
    {
        using var collector = new TcpListener(IPAddress.Loopback, 0);
        collector.Start();
        await using var node = await NodeProcess.StartExportingAsync(
            ("REDIS_HOST", "none"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", $"http://{collector.LocalEndpoint}"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_LOGS_EXPORTER", "none")
        );
        for (var i = 0; i < 3; i++)
        {
            await node.NotifyAsync("report_dev", "1");
            (await collector.AcceptSocketAsync().WaitAsync(Node.Patience)).Dispose();
            await node.LogAsync("Telemetry is not exported");
        }

        Assert.Single(node.Log, line => line.Contains("Telemetry is not exported", StringComparison.Ordinal));
    }

    [Fact]
    public async Task An_unsampled_message_has_no_span_and_no_traceparent()
    {
        await using var cluster = await Traced.StartAsync();
        await using var traced = await JoinTracedAsync(cluster.Second);
        await using var other = await cluster.Second.JoinAsync("support");
        var (not, sampled) = (NewTrace(), NewTrace());
        await PushAsync(cluster.First, $"00-{not}-00f067aa0ba902b7-00");
        await PushAsync(cluster.First, $"00-{sampled}-00f067aa0ba902b7-01");
        Assert.DoesNotContain("traceparent", await traced.ReadAsync(), StringComparison.Ordinal);
        var frame = await traced.ReadAsync();
        for (var i = 0; i < 2; i++)
        {
            Assert.DoesNotContain("traceparent", await other.ReadAsync(), StringComparison.Ordinal);
        }

        // What came first was exported first.
        var spans = await cluster.Receiver.TraceAsync(sampled, 4);
        Assert.DoesNotContain(cluster.Receiver.Spans, span => span.Trace == not);
        var deliver = Assert.Single(spans, span => span.Name == "deliver");
        Assert.EndsWith($"\",\"traceparent\":\"00-{sampled}-{deliver.Id}-01\"}}", frame, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_input_over_Redis_is_one_trace_that_the_node_which_acts_begins()
    {
        await using var cluster = await Traced.StartAsync();
        await using var near = await cluster.First.JoinAsync("support");
        await using var far = await cluster.Second.JoinAsync("support");
        using (var redis = await RedisClient.ConnectAsync(cluster.Redis.Port))
        {
            await redis.CommandAsync("PUBLISH", "dmb:notify:report_csr", $$"""{"secret":"{{Secret}}"}""");
        }

        await near.ReadAsync();
        await far.ReadAsync();
        var input = await cluster.Receiver.SpanAsync("receive notify:report_csr");
        var spans = await cluster.Receiver.TraceAsync(input.Trace, 6);
        Assert.Equal("", input.Parent);
        var publish = Assert.Single(spans, span => span.Name == "publish support");
        Assert.Equal((input.Id, input.Service), (publish.Parent, publish.Service));
        Assert.Equal(
            ["first", "second"],
            spans
                .Where(span => span.Name == "receive support" && span.Parent == publish.Id)
                .Select(span => span.Service)
                .Order()
        );
        Assert.Equal(2, spans.Count(span => span.Name == "deliver"));

        // The other node, which lost the claim, has told nothing of it by the time it tells of what came later.
        var later = NewTrace();
        await PushAsync(cluster.First, $"00-{later}-00f067aa0ba902b7-01");
        await cluster.Receiver.TraceAsync(later, 6);
        Assert.Single(cluster.Receiver.Spans, span => span.Name == "receive notify:report_csr");
    }

    [Fact]
    public async Task A_backends_message_is_traced_without_naming_the_backend_or_its_user()
    {
        await using var cluster = await Traced.StartAsync();
        using var register = new StringContent("""{"name":"billing"}""");
        using var registered = await cluster.First.Http.PostAsync(
            new Uri(cluster.First.Url, "/register/backend"),
            register
        );
        var bkid = JsonElement.Parse(await registered.Content.ReadAsStringAsync()).GetProperty("bkid").GetString()!;
        await using var user = await cluster.Second.ConnectAsync();
        await user.AckAsync("dmb:connect", $$"""{"service":"{{bkid}}","user":"alice"}""");
        await user.ReadAllAsync();
        using var redis = await RedisClient.ConnectAsync(cluster.Redis.Port);
        await redis.CommandAsync(
            "PUBLISH",
            "dmb:" + bkid,
            $$"""{"type":"bk_message","to":"alice","data":"{{Secret}}"}"""
        );
        await user.ReadAsync();

        var input = await cluster.Receiver.SpanAsync("receive bk_message");
        var spans = await cluster.Receiver.TraceAsync(input.Trace, 4);
        Assert.Equal(
            ["deliver", "publish dmb:direct", "receive bk_message", "receive dmb:direct"],
            spans.Select(span => span.Name).Order(StringComparer.Ordinal)
        );
        Assert.DoesNotContain(spans.SelectMany(span => span.Attributes.Values.Append(span.Name)), text =>
            text.Contains(bkid, StringComparison.Ordinal) || text.Contains("alice", StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task A_line_of_the_log_carries_the_trace_in_which_it_was_said()
    {
        await using var cluster = await Traced.StartAsync();
        using var redis = await RedisClient.ConnectAsync(cluster.Redis.Port);
        await redis.CommandAsync("PUBLISH", "dmb:notify:report_csr", "{not json");
        var log = await cluster.Receiver.LogAsync("inputs over Redis were refused");
        var span = Assert.Single(await cluster.Receiver.TraceAsync(log.Trace, 1));
        Assert.Equal(("receive notify:report_csr", span.Id, span.Service), (span.Name, log.Span, log.Service));
    }

    [Fact]
    public async Task A_message_of_a_socket_starts_a_new_trace_also_without_Redis()
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var node = await NodeProcess.StartExportingAsync([
            ("REDIS_HOST", "none"),
            .. receiver.Settings("alone"),
        ]);
        await using var client = await JoinTracedAsync(node);
        await client.AckAsync("report_csr", "{}");
        var publish = await receiver.SpanAsync("publish support");
        var spans = await receiver.TraceAsync(publish.Trace, 2);
        Assert.Equal(("", publish.Id), (publish.Parent, Assert.Single(spans, span => span.Name == "deliver").Parent));
        Assert.Equal(2, spans.Length);
        Assert.Contains($",\"traceparent\":\"00-{publish.Trace}-", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_kept_message_carries_the_trace_of_its_publish_also_without_Redis()
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var node = await NodeProcess.StartExportingAsync([
            ("REDIS_HOST", "none"),
            ("DMB_HISTORY_SIZE", "100"),
            .. receiver.Settings("alone"),
        ]);
        await using var live = await JoinTracedAsync(node);
        var (sampled, not) = (NewTrace(), NewTrace());
        await PushAsync(node, $"00-{sampled}-00f067aa0ba902b7-01");
        await PushAsync(node, $"00-{not}-00f067aa0ba902b7-00");
        await PushAsync(node, $"00-{sampled}-00f067aa0ba902b7-01");
        var first = JsonElement.Parse(await live.ReadAsync());
        var before = Place.Of(first) with { Seq = Place.Of(first).Seq - 1 };

        await using var late = await TestClient.ConnectAsync(new Uri(node.Url, "/ws?trace=1"));
        await late.AckAsync("subscribe", $$"""{"room":"support","since":"{{before.Epoch}}:{{before.Seq}}"}""");
        List<string?> replayed = [];
        while (replayed.Count < 3)
        {
            var frame = JsonElement.Parse(await late.ReadAsync());
            if (frame.TryGetProperty("id", out _))
            {
                replayed.Add(frame.TryGetProperty("traceparent", out var trace) ? trace.GetString() : null);
            }
        }

        var spans = await receiver.TraceAsync(sampled, 6);
        var publishes = spans.Where(span => span.Name == "publish support").Select(span => span.Id).Order();
        Assert.Null(replayed[1]);
        Assert.Equal(
            publishes.Select(id => $"00-{sampled}-{id}-01"),
            new[] { replayed[0], replayed[2] }.Order(StringComparer.Ordinal)
        );
    }

    [Theory]
    [InlineData("traceidratio", "1")]
    [InlineData("parentbased_always_on", "")]
    [InlineData("always_on", "")]
    public async Task A_push_without_a_trace_begins_one_that_the_sampler_takes(string sampler, string ratio)
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var node = await StartSamplingAsync(receiver, sampler, ratio);
        await using var client = await JoinTracedAsync(node);
        await node.NotifyAsync("report_csr", "{}");
        var request = await receiver.SpanAsync("POST /_notify/{event}");
        var spans = await receiver.TraceAsync(request.Trace, 3);
        Assert.Equal("", request.Parent);
        var publish = Assert.Single(spans, span => span.Name == "publish support");
        Assert.Equal(request.Id, publish.Parent);
        Assert.Equal(publish.Id, Assert.Single(spans, span => span.Name == "deliver").Parent);
        Assert.Contains($",\"traceparent\":\"00-{request.Trace}-", await client.ReadAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("traceidratio", "0", "01")]
    [InlineData("always_off", "", "01")]
    [InlineData("parentbased_traceidratio", "1", "00")]
    [InlineData("parentbased_always_off", "", null)]
    public async Task A_push_that_the_sampler_leaves_out_has_no_span_and_no_traceparent(
        string sampler,
        string ratio,
        string? flags
    )
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var node = await StartSamplingAsync(receiver, sampler, ratio);
        await using var client = await JoinTracedAsync(node);
        foreach (var key in (string?[])[null, "once"])
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(node.Url, "/_notify/report_csr"));
            request.Content = new StringContent("{}");
            if (key is not null)
            {
                request.Headers.Add("Idempotency-Key", key);
            }

            if (flags is not null)
            {
                request.Headers.Add("traceparent", $"00-{NewTrace()}-00f067aa0ba902b7-{flags}");
            }

            using var response = await node.Http.SendAsync(request);
            Assert.True(response.IsSuccessStatusCode);
            Assert.DoesNotContain("traceparent", await client.ReadAsync(), StringComparison.Ordinal);
        }

        Assert.Equal(0, await node.TerminateAsync());
        Assert.DoesNotContain(receiver.Spans, span =>
            span.Name is "POST /_notify/{event}" or "publish support" or "deliver"
        );
    }

    [Fact]
    public async Task A_node_without_an_exporter_propagates_the_trace_of_a_push()
    {
        await using var redis = await RedisServer.StartAsync();
        (string, string)[] address =
        [
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            .. NodeProcess.Patient,
        ];
        await using var first = await NodeProcess.StartReadyAsync(address);
        await using var second = await NodeProcess.StartReadyAsync(address);
        await using var client = await JoinTracedAsync(second);
        foreach (var (sent, expected) in new[] { ("-01", "-01\"}"), ("-00", ""), ("nonsense", "") })
        {
            var traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7" + sent;
            await PushAsync(first, traceparent);
            var frame = await client.ReadAsync();
            Assert.Equal(
                expected.Length > 0,
                frame.EndsWith($",\"traceparent\":\"{traceparent}\"}}", StringComparison.Ordinal)
            );
            Assert.Equal(expected.Length > 0, frame.Contains("traceparent", StringComparison.Ordinal));
        }
    }

    [Theory]
    [InlineData("OTEL_SDK_DISABLED", "true")]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "")]
    public async Task Nothing_is_exported_if_disabled(string name, string value)
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var node = await NodeProcess.StartAsync([
            ("REDIS_HOST", "none"),
            .. receiver.Settings("off"),
            (name, value),
        ]);
        await PushAsync(node, $"00-{NewTrace()}-00f067aa0ba902b7-01");
        Assert.Equal(0, await node.TerminateAsync());
        Assert.Empty(receiver.Bodies);
    }

    [Fact]
    public async Task OpenTelemetry_is_loaded_only_with_an_endpoint()
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var without = await NodeProcess.StartAsync(("REDIS_HOST", "none"));
        await using var with = await NodeProcess.StartExportingAsync([
            ("REDIS_HOST", "none"),
            .. receiver.Settings("loaded"),
        ]);
        await PushAsync(without, $"00-{NewTrace()}-00f067aa0ba902b7-01");
        Assert.False(without.HasMapped("OpenTelemetry"));

        // A native program has it within itself.
        Assert.Equal(
            File.Exists(Path.Combine(NodeProcess.AppDirectory, "OpenTelemetry.dll")),
            with.HasMapped("OpenTelemetry")
        );
    }

    [Fact]
    public async Task Pending_telemetry_is_exported_at_the_stop()
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var node = await NodeProcess.StartExportingAsync([
            ("REDIS_HOST", "none"),
            .. receiver.Settings("ending"),
            ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
        ]);
        var trace = NewTrace();
        await PushAsync(node, $"00-{trace}-00f067aa0ba902b7-01");
        Assert.Equal(0, await node.TerminateAsync());
        Assert.Contains(receiver.Spans, span => span.Trace == trace);
    }

    [Fact]
    public async Task A_request_has_a_span_without_its_query_and_a_probe_has_none()
    {
        await using var receiver = await OtlpReceiver.StartAsync();
        await using var node = await NodeProcess.StartExportingAsync([
            ("REDIS_HOST", "none"),
            .. receiver.Settings("asked"),
        ]);
        foreach (var probe in (string[])["/healthz", "/readyz", "/metrics"])
        {
            await node.Http.GetStringAsync(new Uri(node.Url, probe));
        }

        using var response = await node.Http.GetAsync(new Uri(node.Url, $"/rooms?limit={Secret}"));
        var span = await receiver.SpanAsync("GET /rooms");
        Assert.Equal(
            ("", 2, "/rooms", $"{(int)response.StatusCode}", "/rooms"),
            (
                span.Parent,
                span.Kind,
                span.Attributes["http.route"],
                span.Attributes["http.response.status_code"],
                span.Attributes["url.path"]
            )
        );
        Assert.DoesNotContain("url.query", span.Attributes.Keys);
        Assert.Single(receiver.Spans);
    }

    private static Task<NodeProcess> StartSamplingAsync(OtlpReceiver receiver, string sampler, string ratio) =>
        NodeProcess.StartExportingAsync([
            ("REDIS_HOST", "none"),
            .. receiver.Settings("sampling"),
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", ratio),
        ]);

    private static void Messaging(OtlpSpan span, string operation, string type)
    {
        Assert.Equal("dmb", span.Attributes["messaging.system"]);
        Assert.Equal("support", span.Attributes["messaging.destination.name"]);
        Assert.Equal(
            (operation, type),
            (span.Attributes["messaging.operation.name"], span.Attributes["messaging.operation.type"])
        );
        Assert.Equal("report_csr", span.Attributes["dmb.event"]);
        Assert.True(Guid.TryParse(span.Attributes["messaging.message.id"], out _));
    }

    private static string NewTrace() => Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16));

    private static async Task PushAsync(NodeProcess node, string traceparent)
    {
        using var request = new HttpRequestMessage(
            HttpMethod.Post,
            new Uri(node.Url, $"/_notify/report_csr?access_token={Secret}")
        );
        request.Headers.Add("traceparent", traceparent);
        request.Content = new StringContent($$"""{"secret":"{{Secret}}"}""", Encoding.UTF8);
        using var response = await node.Http.SendAsync(request);
        Assert.True(response.IsSuccessStatusCode);
    }

    private static async Task<TestClient> JoinTracedAsync(NodeProcess node)
    {
        var client = await TestClient.ConnectAsync(new Uri(node.Url, "/ws?trace=1"));
        await client.AckAsync("subscribe", "\"support\"");
        await client.ReadAllAsync();
        return client;
    }

    /// <summary>A Redis, two nodes and a collector.</summary>
    private sealed class Traced : IAsyncDisposable
    {
        public RedisServer Redis { get; private init; } = null!;

        public OtlpReceiver Receiver { get; private init; } = null!;

        public NodeProcess First { get; private set; } = null!;

        public NodeProcess Second { get; private set; } = null!;

        public static async Task<Traced> StartAsync(string protocol = "http/protobuf")
        {
            var traced = new Traced
            {
                Redis = await RedisServer.StartAsync(),
                Receiver = await OtlpReceiver.StartAsync(),
            };
            (string, string)[] address =
            [
                ("REDIS_HOST", "127.0.0.1"),
                ("REDIS_PORT", $"{traced.Redis.Port}"),
                .. NodeProcess.Patient,
            ];
            traced.First = await NodeProcess.StartExportingAsync([
                .. address,
                .. traced.Receiver.Settings("first", protocol),
            ]);
            traced.Second = await NodeProcess.StartExportingAsync([
                .. address,
                .. traced.Receiver.Settings("second", protocol),
            ]);
            await traced.First.BecomesAsync("ready");
            await traced.Second.BecomesAsync("ready");
            return traced;
        }

        public async ValueTask DisposeAsync()
        {
            await First.DisposeAsync();
            await Second.DisposeAsync();
            await Redis.DisposeAsync();
            await Receiver.DisposeAsync();
        }
    }
}
