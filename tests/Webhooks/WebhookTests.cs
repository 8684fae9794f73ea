using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Microsoft.AspNetCore.Http;

namespace Dmb.Tests.Webhooks;

/// <summary>Webhooks of a node that runs alone, delivered to receivers on real ports.</summary>
public sealed class WebhookTests : IAsyncLifetime
{
    private NodeProcess _node = null!;

    public async ValueTask InitializeAsync() =>
        _node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_WEBHOOK_TIMEOUT", "1"));

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task A_message_is_a_signed_CloudEvent_with_the_data_as_it_came()
    {
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"rooms\":[\"a:Büro\"]");
        const string data = """{"b":1.50,"a":"ü","_in":"a:Büro"}""";
        var id = await _node.NotifyAsync("reference", data);

        var delivery = await receiver.NextAsync();
        Assert.Equal(data, delivery.Body);
        Assert.Equal("application/json", delivery["Content-Type"]);
        Assert.Equal(
            ("1.0", id, "dmb.reference", "dmb", "a:B%C3%BCro"),
            (
                delivery["ce-specversion"],
                delivery["ce-id"],
                delivery["ce-type"],
                delivery["ce-source"],
                delivery["ce-subject"]
            )
        );
        Assert.Matches(@"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", delivery["ce-time"]);
        Assert.Equal(id, delivery["webhook-id"]);
        Assert.Equal(TestHook.SignatureOf(delivery, hook.Secret), delivery["webhook-signature"]);
    }

    [Fact]
    public async Task A_receiver_gets_the_messages_of_its_events_and_rooms_once_each_and_no_others()
    {
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(
            _node.Http,
            receiver.Url,
            "\"events\":[\"call\"],\"rooms\":[\"calls\",\"a:1\",\"a:2\"]"
        );
        await _node.NotifyAsync("report_csr", "0");
        await _node.NotifyAsync("call", "1");
        await _node.NotifyAsync("trace", """{"_in":["a:1","a:2"],"n":2}""");
        await _node.NotifyAsync("trace", "3");
        await _node.NotifyAsync("reference", "4");
        Assert.Equal(["1", """{"_in":["a:1","a:2"],"n":2}""", "4"], await receiver.NextAsync(3));

        using var removed = await _node.Http.DeleteAsync(new Uri($"/webhooks/{hook.Id}", UriKind.Relative));
        Assert.Equal(HttpStatusCode.NoContent, removed.StatusCode);
        await _node.NotifyAsync("call", "5");
        await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"events\":[\"call\"]");
        await _node.NotifyAsync("call", "6");
        Assert.Equal(["6"], await receiver.NextAsync(1));
    }

    [Fact]
    public async Task Messages_come_in_their_order_also_through_a_receiver_that_fails_at_random()
    {
        var random = new Random(1);
        var delivered = new List<string>();
        await using var receiver = await Receiver.StartAsync(
            (context, _) =>
            {
                context.Response.StatusCode = random.Next(3) == 0 ? 503 : 200;
                lock (delivered)
                {
                    delivered.Add($"{context.Response.StatusCode}");
                }

                return Task.CompletedTask;
            }
        );
        await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"events\":[\"call\"]");
        const int count = 30;
        for (var i = 0; i < count; i++)
        {
            await _node.NotifyAsync("call", $"{i}");
        }

        var bodies = new List<string>();
        while (bodies.LastOrDefault() != $"{count - 1}")
        {
            bodies.AddRange(await receiver.NextAsync(1));
        }

        Assert.Equal(Enumerable.Range(0, count).Select(i => $"{i}"), bodies.Distinct());
        Assert.Equal(bodies.OrderBy(body => int.Parse(body, CultureInfo.InvariantCulture)), bodies);
        Assert.Contains("503", delivered);
    }

    [Fact]
    public async Task A_receiver_that_never_answers_is_asked_again_and_delays_no_other()
    {
        await using var never = await Receiver.StartAsync(
            (context, post) => post == 1 ? WaitAsync(context) : Task.CompletedTask
        );
        await using var other = await Receiver.StartAsync();
        await TestHook.RegisterAsync(_node.Http, never.Url, "\"events\":[\"call\"]");
        await TestHook.RegisterAsync(_node.Http, other.Url, "\"events\":[\"call\"]");
        await _node.NotifyAsync("call", "1");
        Assert.Equal(["1"], await never.NextAsync(1));
        await _node.NotifyAsync("call", "2");
        Assert.Equal(["1", "2"], await other.NextAsync(2));
        Assert.Equal(["1", "2"], await never.NextAsync(2));

        static async Task WaitAsync(HttpContext context)
        {
            var gone = new TaskCompletionSource();
            await using var aborted = context.RequestAborted.Register(gone.SetResult);
            await gone.Task.WaitAsync(Node.Patience);
        }
    }

    [Fact]
    public async Task An_answer_without_an_end_is_not_read()
    {
        await using var receiver = await Receiver.StartAsync(
            async (context, post) =>
            {
                if (post > 1)
                {
                    return;
                }

                context.Response.StatusCode = 200;
                var chunk = new byte[1_048_576];
                try
                {
                    for (var i = 0; i < 1_024; i++)
                    {
                        await context.Response.Body.WriteAsync(chunk, context.RequestAborted);
                    }
                }
                catch (OperationCanceledException)
                {
                    // It was cut off, as it should be.
                }
            }
        );
        await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"events\":[\"call\"]");
        await _node.NotifyAsync("call", "1");
        await _node.NotifyAsync("call", "2");
        Assert.Equal(["1", "2"], await receiver.NextAsync(2));
        Assert.InRange(_node.MemoryBytes, 0, 300 * 1_048_576L);
    }

    [Theory]
    [InlineData(302, "redirect")]
    [InlineData(404, "status")]
    [InlineData(400, "status")]
    public async Task A_message_that_is_refused_for_good_is_not_tried_again(int status, string reason)
    {
        await using var receiver = await Receiver.StartAsync(
            (context, post) =>
            {
                context.Response.StatusCode = post == 1 ? status : 200;
                context.Response.Headers.Location = "/elsewhere";
                return Task.CompletedTask;
            }
        );
        await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"events\":[\"call\"]");
        await _node.NotifyAsync("call", "1");
        await _node.NotifyAsync("call", "2");
        Assert.Equal(["1", "2"], await receiver.NextAsync(2));
        await _node.LogAsync($"after 1 attempts, {reason}: {status}");
    }

    [Fact]
    public async Task A_receiver_says_when_it_wants_the_message_again()
    {
        var times = new List<long>();
        await using var receiver = await Receiver.StartAsync(
            (context, post) =>
            {
                times.Add(TimeProvider.System.GetTimestamp());
                context.Response.StatusCode = post == 1 ? 429 : 200;
                context.Response.Headers.RetryAfter = "2";
                return Task.CompletedTask;
            }
        );
        await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"events\":[\"call\"]");
        await _node.NotifyAsync("call", "1");
        Assert.Equal(["1", "1"], await receiver.NextAsync(2));
        Assert.InRange(TimeProvider.System.GetElapsedTime(times[0], times[1]).TotalSeconds, 1.9, 60);
    }

    [Fact]
    public async Task A_receiver_that_answers_410_is_removed()
    {
        await using var receiver = await Receiver.StartAsync(
            (context, _) =>
            {
                context.Response.StatusCode = 410;
                return Task.CompletedTask;
            }
        );
        var hook = await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"events\":[\"call\"]");
        await _node.NotifyAsync("call", "1");
        await receiver.NextAsync();
        HttpStatusCode status;
        do
        {
            using var shown = await _node.Http.GetAsync(new Uri($"/webhooks/{hook.Id}", UriKind.Relative));
            status = shown.StatusCode;
        } while (status == HttpStatusCode.OK);

        Assert.Equal(HttpStatusCode.NotFound, status);
    }

    [Fact]
    public async Task A_receiver_with_a_certificate_of_its_own_making_gets_nothing()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var certificate = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256).CreateSelfSigned(
            DateTimeOffset.UnixEpoch,
            DateTimeOffset.MaxValue.AddYears(-1)
        );
        await using var receiver = await Receiver.StartAsync(certificate: certificate);

        // The first handshake of a process takes longer than the second that the other tests give, on a busy machine.
        await using var node = await NodeProcess.StartAsync(("REDIS_HOST", "none"), ("DMB_WEBHOOK_TIMEOUT", "60"));
        var (status, body) = await TestHook.AskAsync(node.Http, $$"""{"url":"{{receiver.Url}}","events":["call"]}""");
        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Contains("TLS fails", body, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"url":"ftp://127.0.0.1/","events":["call"]}""", "bad_webhook")]
    [InlineData("""{"url":"http://me@127.0.0.1/","events":["call"]}""", "bad_webhook")]
    [InlineData("""{"url":"/hook","events":["call"]}""", "bad_webhook")]
    [InlineData("""{"url":"http://127.0.0.1:1/","events":["call"]}""", "bad_webhook")]
    [InlineData("""{"url":"http://127.0.0.1/"}""", "bad_webhook")]
    [InlineData("""{"events":["call"]}""", "bad_webhook")]
    [InlineData("""{"url":"http://127.0.0.1/","events":["a b"]}""", "bad_name")]
    [InlineData("""{"url":"http://127.0.0.1/","rooms":["*"]}""", "bad_name")]
    [InlineData("""{"url":"http://127.0.0.1/","backend":"x"}""", "bad_name")]
    [InlineData("""{"url":"http://127.0.0.1/","events":"call"}""", "bad_json")]
    [InlineData("""{"url":1,"events":["call"]}""", "bad_json")]
    [InlineData("""{"url":"\ud800","events":["call"]}""", "bad_json")]
    [InlineData("[]", "bad_json")]
    [InlineData("null", "bad_json")]
    [InlineData("""{"url":"http://127.0.0.1/","events":["call"],"secret":"whsec_c2hvcnQ="}""", "bad_webhook")]
    [InlineData("""{"url":"http://127.0.0.1/","events":["call"],"secret":"plain text"}""", "bad_webhook")]
    public async Task What_is_no_webhook_is_refused(string json, string code)
    {
        var (status, body) = await TestHook.AskAsync(_node.Http, json);
        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Equal(code, JsonElement.Parse(body).GetProperty("code").GetString());
    }

    [Fact]
    public async Task After_a_rotation_both_secrets_sign()
    {
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"events\":[\"call\"]");
        using var rotated = await _node.Http.PostAsync(
            new Uri($"/webhooks/{hook.Id}/secret", UriKind.Relative),
            new StringContent("")
        );
        var secret = JsonElement.Parse(await rotated.Content.ReadAsStringAsync()).GetProperty("secret").GetString()!;
        await _node.NotifyAsync("call", "1");
        var delivery = await receiver.NextAsync();
        Assert.Equal(
            $"{TestHook.SignatureOf(delivery, secret)} {TestHook.SignatureOf(delivery, hook.Secret)}",
            delivery["webhook-signature"]
        );
    }

    [Fact]
    public async Task A_secret_is_shown_once()
    {
        await using var receiver = await Receiver.StartAsync();
        var hook = await TestHook.RegisterAsync(_node.Http, receiver.Url, "\"events\":[\"call\"]");
        Assert.DoesNotContain("whsec_", $"{await _node.GetAsync("/webhooks")}", StringComparison.Ordinal);
        Assert.DoesNotContain("whsec_", $"{await _node.GetAsync($"/webhooks/{hook.Id}")}", StringComparison.Ordinal);
        Assert.DoesNotContain(_node.Log, line => line.Contains("whsec_", StringComparison.Ordinal));
    }
}
