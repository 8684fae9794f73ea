using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Dmb.Webhooks;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Webhooks;

/// <summary>Receivers that are slow, and as many webhooks as a node takes.</summary>
public sealed class HostileReceiverTests
{
    [Fact]
    public async Task An_answer_byte_by_byte_is_cut_off_when_the_whole_time_is_over()
    {
        await using var node = await Node.StartAsync(("WebhookHandshake", "off"), ("WebhookRetry", "0"));
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        await TestHook.RegisterAsync(
            node.Http,
            new Uri($"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/"),
            "\"events\":[\"call\"]"
        );
        await node.NotifyAsync("call", "\"end of the request\"");
        using var socket = await listener.AcceptSocketAsync().WaitAsync(Node.Patience);
        var buffer = new byte[4_096];
        var request = "";
        while (!request.EndsWith("end of the request\"", StringComparison.Ordinal))
        {
            request += Encoding.UTF8.GetString(buffer, 0, await socket.ReceiveAsync(buffer).WaitAsync(Node.Patience));
        }

        foreach (var part in (string[])["HTTP/1.1 200 OK\r\n", "x", "-", "a"])
        {
            await socket.SendAsync(Encoding.ASCII.GetBytes(part));
            node.Time.Advance(TimeSpan.FromSeconds(3));
        }

        var read = await socket
            .ReceiveAsync(buffer)
            .ContinueWith(static task => task.IsFaulted ? 0 : task.Result, TaskScheduler.Default)
            .WaitAsync(Node.Patience);
        Assert.Equal(0, read);
        using var patience = new CancellationTokenSource(Node.Patience);
        string dead;
        do
        {
            dead = await node.Http.GetStringAsync(new Uri(node.Url, "/dead?reason=timeout"), CancellationToken.None);
            Assert.False(patience.IsCancellationRequested, dead);
        } while (!dead.Contains("there is no answer in time", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_receiver_that_does_not_answer_delays_no_push_no_socket_and_no_other_webhook()
    {
        await using var node = await Node.StartAsync();
        var released = new TaskCompletionSource();
        await using var slow = await Receiver.StartAsync((_, _) => released.Task);
        await using var other = await Receiver.StartAsync();
        await TestHook.RegisterAsync(node.Http, slow.Url, "\"events\":[\"report_csr\"]");
        await TestHook.RegisterAsync(node.Http, other.Url, "\"events\":[\"report_csr\"]");
        await using var client = await node.JoinAsync("support");
        for (var i = 0; i < 3; i++)
        {
            await node.ReachesAsync(client, "report_csr", $"{i}");
        }

        Assert.Equal(["0"], await slow.NextAsync(1));
        Assert.Equal(["0", "1", "2"], await other.NextAsync(3));
        released.SetResult();
        Assert.Equal(["1", "2"], await slow.NextAsync(2));
    }

    [Fact]
    public async Task Above_its_limit_a_webhook_of_every_event_gets_dead_letters_and_pushes_go_on()
    {
        const int Messages = 5_000;
        const int Limit = 100;
        await using var node = await Node.StartAsync(("WebhookQueue", $"{Limit}"), ("WebhookTimeout", "300"));
        var released = new TaskCompletionSource();
        await using var slow = await Receiver.StartAsync((_, _) => released.Task);
        var events = JsonElement
            .Parse(await node.Http.GetStringAsync(new Uri(node.Url, "/register")))
            .EnumerateArray()
            .Select(entry => $"\"{entry.GetProperty("event").GetString()}\"");
        await TestHook.RegisterAsync(node.Http, slow.Url, $"\"events\":[{string.Join(',', events)}]");
        await using var client = await node.JoinAsync("support");
        await node.ReachesAsync(client, "report_csr", "0");
        Assert.Equal(["0"], await slow.NextAsync(1));

        for (var i = 1; i < Messages; i += Limit)
        {
            var count = Math.Min(Limit, Messages - i);
            var items = Enumerable.Range(i, count).Select(n => $$"""{"event":"report_csr","data":{{n}}}""");
            using var batch = await node.Http.PostAsync(
                new Uri(node.Url, "/_notify"),
                new StringContent($"[{string.Join(',', items)}]")
            );
            Assert.StartsWith("{\"ok\":true", await batch.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            for (var n = i; n < i + count; n++)
            {
                Assert.Contains($"\"data\":{n}", await client.ReadAsync(), StringComparison.Ordinal);
            }
        }

        // Webhooks get a message a moment after its sockets.
        string metrics;
        do
        {
            metrics = await node.Http.GetStringAsync(new Uri(node.Url, "/metrics"));
        } while (
            !metrics.Contains(
                $"dmb_dead_total{{reason=\"queue_full\"}} {Messages - Limit - 1}\n",
                StringComparison.Ordinal
            )
        );

        Assert.Contains($"dmb_webhook_queue {Limit + 1}\n", metrics, StringComparison.Ordinal);
        var dead = JsonElement.Parse(
            await node.Http.GetStringAsync(new Uri(node.Url, "/dead?reason=queue_full&limit=1"))
        );
        Assert.Equal(Messages - 1, dead.GetProperty("items")[0].GetProperty("data").GetInt32());
        Assert.Single(node.Warnings, line => line.Contains("More messages come for webhook", StringComparison.Ordinal));

        released.SetResult();
        Assert.Equal(Enumerable.Range(1, Limit).Select(n => $"{n}"), await slow.NextAsync(Limit));
        await node.ReachesAsync(client, "report_csr", "\"after\"");
        Assert.Equal(["\"after\""], await slow.NextAsync(1));
    }

    [Fact]
    public async Task Ten_thousand_webhooks_are_listed_in_pages_and_no_more_are_registered()
    {
        const int Max = 10_000;
        await using var node = await Node.StartAsync(("WebhookHandshake", "off"));
        await using var receiver = await Receiver.StartAsync();
        var store = node.Services.GetRequiredService<IWebhookStore>();
        for (var i = 1; i < Max; i++)
        {
            var url = $"http://127.0.0.1:1/{i}";
            await store.PutAsync(new Webhook(Webhook.NewId(), url, [], [$"a:{i}"], null, [], default));
        }

        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, "\"rooms\":[\"a:0\"]");
        var (status, body) = await TestHook.AskAsync(node.Http, $$"""{"url":"{{receiver.Url}}","rooms":["a:1"]}""");
        Assert.Equal(HttpStatusCode.Conflict, status);
        Assert.Contains("which is the limit", body, StringComparison.Ordinal);

        var ids = new HashSet<string>();
        for (var after = ""; ; )
        {
            var text = await node.Http.GetStringAsync(new Uri(node.Url, "/webhooks?limit=100000" + after));
            var page = JsonElement.Parse(text);
            var items = page.GetProperty("items");
            Assert.InRange(items.GetArrayLength(), 1, 500);
            ids.UnionWith(items.EnumerateArray().Select(item => item.GetProperty("id").GetString()!));
            if (page.GetProperty("next").GetString() is not { } next)
            {
                break;
            }

            after = "&after=" + next;
        }

        Assert.Equal(Max, ids.Count);
        Assert.Contains(hook.Id, ids);
        await node.NotifyAsync("call", """{"_in":"a:0"}""");
        Assert.Equal(["""{"_in":"a:0"}"""], await receiver.NextAsync(1));
    }

    [Fact]
    public async Task A_delivery_is_a_span_in_the_trace_of_its_push_and_the_receiver_gets_it()
    {
        await using var collector = await OtlpReceiver.StartAsync();
        await using var node = await NodeProcess.StartExportingAsync([
            ("REDIS_HOST", "none"),
            .. collector.Settings("node"),
        ]);
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(node.Http, receiver.Url, "\"events\":[\"report_csr\"]");
        const string Trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(node.Url, "/_notify/report_csr"));
        request.Headers.Add("traceparent", $"00-{Trace}-00f067aa0ba902b7-01");
        request.Content = new StringContent("1");
        using var answer = await node.Http.SendAsync(request);
        answer.EnsureSuccessStatusCode();

        var delivery = await receiver.NextAsync();
        var span = await collector.SpanAsync("deliver webhook");
        Assert.Equal($"00-{Trace}-{span.Id}-01", delivery["traceparent"]);
        Assert.Equal((Trace, 3, "webhook " + hook.Id), (span.Trace, span.Kind, Destination(span)));
        var publish = await collector.SpanAsync("publish support");
        Assert.Equal(publish.Id, span.Parent);

        static string Destination(OtlpSpan span) => span.Attributes["messaging.destination.name"];
    }
}
