using System.Reflection;
using Dmb.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;

namespace Dmb.Tests.Contracts;

/// <summary>
/// asyncapi.yaml says what <c>/ws</c> really does. The schema library checks 1,000 values an hour in one process: each
/// check counts.
/// </summary>
public sealed class AsyncApiTests
{
    private static readonly AsyncApiDocument Document = AsyncApiDocument.Served;

    public static TheoryData<string> Schemas => [.. Document.Schemas.Properties().Select(s => s.Name)];

    public static TheoryData<string> Frames =>
        [.. Document.Payloads(Document.Root.SelectTokens("$.channels.ws.messages.*"))];

    [Theory]
    [MemberData(nameof(Schemas))]
    public void Every_schema_has_examples_and_they_are_valid(string schema)
    {
        var examples = Document.Examples(schema);

        Assert.NotEmpty(examples);
        Assert.All(examples, example => Assert.Empty(Document.Errors(schema, example)));
    }

    [Fact]
    public void Every_reference_leads_to_something()
    {
        var references = Document.Root.SelectTokens("$..$ref").ToList();

        Assert.NotEmpty(references);
        Assert.All(references, reference => Assert.NotNull(Document.Follow(reference)));
    }

    [Fact]
    public void Every_frame_of_the_channel_is_received_or_sent_by_an_operation()
    {
        Assert.Equal(Frames.Select(f => f.Data).Order(), ReceivedFrames().Union(SentFrames()).Order());
    }

    [Theory]
    [MemberData(nameof(Frames))]
    public void A_frame_that_lacks_a_member_or_has_one_too_many_is_refused(string frame)
    {
        var example = (JObject)Document.Examples(frame)[0];
        foreach (var member in Document.Schemas[frame]!["required"]!.Values<string>())
        {
            var mangled = (JObject)example.DeepClone();
            mangled.Remove(member!);
            Assert.NotEmpty(Document.Errors(frame, mangled));
        }

        Assert.NotEmpty(Document.Errors(frame, new JObject(example.Properties()) { ["surplus"] = 1 }));
    }

    [Theory]
    [InlineData("subscribe", """{"event":"enter","data":"support"}""")]
    [InlineData("subscribe", """{"event":"subscribe","data":7}""")]
    [InlineData("subscribe", """{"event":"subscribe","data":{"room":"support","until":"x"}}""")]
    [InlineData("subscribe", """{"event":"subscribe","data":{"room":"support","since":7}}""")]
    [InlineData("subscribe", """{"event":"subscribe","data":"support","ack":true}""")]
    [InlineData("gap", """{"event":"gap","data":{"room":"support"}}""")]
    [InlineData("unsubscribe", """{"event":"leave","data":["a b"]}""")]
    [InlineData("register", """{"event":"register","data":{"event":"a b"}}""")]
    [InlineData("publish", """{"event":".call"}""")]
    [InlineData(
        "welcome",
        """{"event":"welcome","data":{"id":"1","name":"dmb","version":"0.1.0","public":false,"limits":{}}}"""
    )]
    [InlineData("message", """{"event":"call","data":{},"id":7}""")]
    [InlineData("shouted", """{"event":"shouted","data":{"data":1},"id":"1"}""")]
    [InlineData("joined", """{"event":"joined","data":["support"]}""")]
    [InlineData("joined", """{"event":"joined","data":"two words"}""")]
    [InlineData("ack_ok", """{"ack":1,"ok":false,"data":{"room":"support"}}""")]
    [InlineData("ack_ok", """{"ack":null,"ok":true,"data":{"room":"support"}}""")]
    [InlineData("ack_ok", """{"ack":1,"ok":true,"data":["support"]}""")]
    [InlineData("ack_error", """{"ack":1,"ok":false,"error":{"code":"strange","message":"x","retry":false}}""")]
    [InlineData("ack_error", """{"ack":1,"ok":false,"error":{"code":"bad_name","message":"x"}}""")]
    [InlineData("failed", """{"event":"failed","data":{"code":"bad_name","message":"x"}}""")]
    [InlineData("dmb_connect", """{"event":"dmb:connect","data":{"service":"billing","user":"user-42"}}""")]
    [InlineData(
        "dmb_connect",
        """{"event":"dmb:connect","data":{"service":"0123456789abcdef0123456789abcdef","user":null}}"""
    )]
    [InlineData("dmb_message", """{"event":"dmb:message","data":{"service":"0123456789abcdef0123456789abcdef"}}""")]
    [InlineData("dmb_reconnect", """{"event":"dmb:reconnect","data":{"name":"two words"}}""")]
    [InlineData("dmb_direct", """{"event":"dmb:direct","data":{"data":1}}""")]
    [InlineData("dmb_broadcast", """{"event":"dmb:broadcast","data":{"user":"user-42","data":1}}""")]
    [InlineData("dmb_disconnect", """{"event":"dmb:disconnect","data":"0123456789abcdef0123456789abcdef"}""")]
    [InlineData("dmb_uplink", """{"event":"dmb:uplink","data":{"type":"connect"},"id":"1"}""")]
    [InlineData("drain", """{"event":"drain","data":{"after_ms":-1}}""")]
    [InlineData("bye", """{"event":"bye","data":{"code":1003,"reconnect":true,"after_ms":0}}""")]
    [InlineData("bye", """{"event":"bye","data":{"code":1013,"reconnect":true,"after_ms":100}}""")]
    [InlineData("bye", """{"event":"bye","data":{"code":4999,"reconnect":true,"after_ms":0}}""")]
    public void A_mangled_frame_is_refused(string frame, string mangled)
    {
        Assert.NotEmpty(Document.Errors(frame, mangled));
    }

    [Fact]
    public void Every_error_code_of_the_broker_is_in_the_schema()
    {
        var codes = typeof(ErrorCode)
            .GetFields(BindingFlags.Public | BindingFlags.Static)
            .Select(f => (string)f.GetValue(null)!);

        Assert.All(codes, code => Assert.Empty(Document.Errors("error_code", new JValue(code))));
    }

    [Fact]
    public async Task Every_example_of_a_client_is_accepted_and_every_frame_of_the_broker_matches_its_schema()
    {
        var sent = await FramesOfANodeAsync();

        var seen = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var text in sent)
        {
            var frame = (JObject)AsyncApiDocument.Parse(text);
            var kind = KindOf(frame);
            seen.Add(kind);
            Assert.True(
                Document.Errors(kind, frame) is [],
                $"{text}\n{string.Join('\n', Document.Errors(kind, frame))}"
            );
            Document.AssertOrder(frame, kind);
        }

        Assert.Equal(SentFrames().Order(StringComparer.Ordinal), seen);
    }

    [Fact]
    public async Task Each_message_of_a_sampled_trace_has_a_traceparent_by_its_schema_on_a_tracing_socket()
    {
        await using var collector = await OtlpReceiver.StartAsync();
        await using var node = await NodeProcess.StartExportingAsync([
            ("REDIS_HOST", "none"),
            .. collector.Settings("traced"),
        ]);

        var url = new Uri(node.Url, "/ws?trace=1");
        await using var listener = await ListenAsync(url);
        string[] sent = [.. await AnswersAsync(url), .. await listener.ReadAllAsync()];

        var seen = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var frame in sent.Select(text => (JObject)AsyncApiDocument.Parse(text)))
        {
            if (frame.ContainsKey("traceparent") && seen.Add(KindOf(frame)))
            {
                Assert.Empty(Document.Errors(KindOf(frame), frame));
                Document.AssertOrder(frame, KindOf(frame));
            }
        }

        Assert.Equal(
            SentFrames()
                .Where(kind => Document.Schemas[kind]!.SelectToken("properties.traceparent") is not null)
                .Order(StringComparer.Ordinal),
            seen
        );
    }

    [Fact]
    public async Task The_data_of_each_ack_of_a_backend_and_its_user_matches_its_schema()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        await using var backend = await node.ConnectAsync();
        await using var user = await node.ConnectAsync();

        var bkid = await AnswerAsync(backend, "dmb:reconnect", """{"name":"billing"}""", "ack_backend", "bkid");
        await AnswerAsync(
            user,
            "dmb:connect",
            $$"""{"service":"{{bkid}}","user":"user-42"}""",
            "ack_joined",
            "service"
        );
        await AnswerAsync(user, "dmb:message", """{"data":1}""", "ack_published", "id");
        await AnswerAsync(backend, "dmb:broadcast", """{"data":1}""", "ack_sent", "id");
        await AnswerAsync(backend, "dmb:direct", """{"user":"user-42","data":1}""", "ack_sent", "id");
        await AnswerAsync(user, "dmb:disconnect", "null", "ack_left");
        await AnswerAsync(backend, "dmb:disconnect", "null", "ack_backend", "bkid");
    }

    /// <summary>Checks the data of an ack, and gives a member of it.</summary>
    private static async Task<string?> AnswerAsync(
        TestClient client,
        string @event,
        string data,
        string schema,
        string member = ""
    )
    {
        var answer = AsyncApiDocument.Parse(await client.AckAsync(@event, data))["data"]!;
        Assert.Empty(Document.Errors(schema, answer));
        return (string?)answer[member];
    }

    /// <summary>A client that hears all that the examples publish.</summary>
    private static async Task<TestClient> ListenAsync(Uri url)
    {
        var listener = await TestClient.ConnectAsync(url);
        await listener.SendAsync(
            """{"event":"subscribe","data":["calls","internal","everyone","traces","endpoint:1234"]}"""
        );
        await listener.AckAsync("ping", "1");
        return listener;
    }

    /// <summary>What a node sends to those who say all that the examples say.</summary>
    private static async Task<string[]> AnswersAsync(Uri url)
    {
        await using var asking = await TestClient.ConnectAsync(url);
        foreach (var example in ReceivedFrames().Where(frame => !IsDuplex(frame)).SelectMany(Document.Examples))
        {
            await asking.SendAsync(example.ToString(Formatting.None));
        }

        await asking.SendFrameAsync(Frame.Binary, [1]);
        return [.. await ReadToEndAsync(asking), .. await FramesOfABackendAsync(url)];
    }

    /// <summary>What a node sends to a backend and to its user who say all that the examples say.</summary>
    private static async Task<List<string>> FramesOfABackendAsync(Uri url)
    {
        await using var backend = await TestClient.ConnectAsync(url);
        await using var user = await TestClient.ConnectAsync(url);
        (TestClient Client, string[] Frames)[] talk =
        [
            (backend, ["dmb_reconnect"]),
            (user, ["dmb_connect", "dmb_message"]),
            (backend, ["dmb_broadcast", "dmb_direct"]),
            (user, ["dmb_disconnect", "dmb_connect"]),
            (backend, ["dmb_disconnect"]),
        ];
        foreach (var (client, frames) in talk)
        {
            foreach (var example in frames.SelectMany(Document.Examples))
            {
                await client.SendAsync(example.ToString(Formatting.None));
            }

            // What it said is done before the other one goes on.
            await client.AckAsync("ping", "1");
        }

        return [.. await backend.ReadAllAsync(), .. await user.ReadAllAsync()];
    }

    /// <summary>What a node sends when it is driven so that it sends each kind of frame.</summary>
    private static async Task<List<string>> FramesOfANodeAsync()
    {
        await using var node = await Node.StartAsync(("MaxMessageBytes", "1024"), ("HistorySize", "100"));
        var url = new Uri(node.Url, "/ws");
        var sent = new List<string>();

        await using var listener = await ListenAsync(url);
        var answers = await AnswersAsync(url);
        Assert.DoesNotContain(answers, text =>
            KindOf((JObject)AsyncApiDocument.Parse(text)) is "ack_error" or "failed"
        );
        sent.AddRange(answers);

        await listener.SendAsync("""{"event":"no_such_event","ack":"refused"}""");
        await listener.SendAsync("no JSON");
        await listener.SendAsync($"\"{new string('x', 1024)}\"");
        sent.AddRange(await ReadToEndAsync(listener));

        await using var babbling = await TestClient.ConnectAsync(url);
        for (var i = 0; i < 10; i++)
        {
            await babbling.SendAsync("[]");
        }

        sent.AddRange(await ReadToEndAsync(babbling));

        await using var foreign = await TestClient.ConnectAsync(url, ("Origin", "https://elsewhere.example"));
        sent.AddRange(await ReadToEndAsync(foreign));

        await using var silent = await node.ConnectAsync();
        node.Services.GetRequiredService<BackplaneState>().Set("away");
        sent.Add(await silent.ReadAsync());
        node.Time.Advance(TimeSpan.FromSeconds(45));
        sent.AddRange(await ReadToEndAsync(silent));

        await using var last = await node.ConnectAsync();
        node.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication();
        sent.AddRange(await ReadToEndAsync(last));
        return sent;
    }

    private static async Task<List<string>> ReadToEndAsync(TestClient client)
    {
        var texts = new List<string>();
        try
        {
            while (true)
            {
                texts.Add(await client.ReadAsync());
            }
        }
        catch (EndOfStreamException)
        {
            return texts;
        }
    }

    /// <summary>The schema that a frame of the broker must follow.</summary>
    private static string KindOf(JObject frame)
    {
        if (frame.ContainsKey("ack"))
        {
            return (bool)frame["ok"]! ? "ack_ok" : "ack_error";
        }

        var name = (string)frame["event"]!;
        return (name, frame.ContainsKey("id")) switch
        {
            ("ping", true) => "pinged",
            ("shouted" or "notify", true) => name,
            ("dmb:broadcast", _) => "dmb_broadcasted",
            ("dmb:direct", _) => "dmb_directed",
            ("dmb:uplink", _) => "dmb_uplink",
            ("dmb:connected", _) => ((JObject)frame["data"]!).ContainsKey("bkid") ? "dmb_registered" : "dmb_joined",
            ("dmb:disconnected", _) => "dmb_freed",
            (_, true) => "message",
            _ => name,
        };
    }

    private static bool IsDuplex(string frame) => frame.StartsWith("dmb_", StringComparison.Ordinal);

    private static IEnumerable<string> ReceivedFrames() => Document.Payloads(Messages("receive", "messages[*]"));

    private static IEnumerable<string> SentFrames() =>
        Document.Payloads([.. Messages("send", "messages[*]"), .. Messages("receive", "reply.messages[*]")]);

    private static IEnumerable<JToken> Messages(string action, string path) =>
        Document.Messages(channel => channel == "ws", action, path);
}
