using System.Reflection;
using Dmb.Routing;
using Microsoft.Extensions.DependencyInjection;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;

namespace Dmb.Tests.Contracts;

/// <summary>asyncapi.yaml says what <c>/ws</c> really does.</summary>
public sealed class AsyncApiTests
{
    private static readonly AsyncApiDocument Document = Load();

    public static TheoryData<string> Schemas => [.. Document.Schemas.Properties().Select(s => s.Name)];

    public static TheoryData<string> Frames => [.. Document.Payloads(Document.Root.SelectTokens("$.channels.ws.messages.*"))];

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
        var required = Document.Schemas[frame]!["required"]!.Values<string>();
        foreach (var example in Document.Examples(frame).Cast<JObject>())
        {
            foreach (var member in required)
            {
                var mangled = (JObject)example.DeepClone();
                mangled.Remove(member!);
                Assert.NotEmpty(Document.Errors(frame, mangled));
            }

            Assert.NotEmpty(Document.Errors(frame, new JObject(example.Properties()) { ["surplus"] = 1 }));
        }
    }

    [Theory]
    [InlineData("subscribe", """{"event":"enter","data":"support"}""")]
    [InlineData("subscribe", """{"event":"subscribe","data":7}""")]
    [InlineData("subscribe", """{"event":"subscribe","data":{"room":"support","until":"x"}}""")]
    [InlineData("subscribe", """{"event":"subscribe","data":"support","ack":true}""")]
    [InlineData("unsubscribe", """{"event":"leave","data":["a b"]}""")]
    [InlineData("register", """{"event":"register","data":{"event":"a b"}}""")]
    [InlineData("publish", """{"event":".call"}""")]
    [InlineData("welcome", """{"event":"welcome","data":{"id":"1","name":"dmb","version":"0.1.0","public":false,"limits":{}}}""")]
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
        var codes = typeof(ErrorCode).GetFields(BindingFlags.Public | BindingFlags.Static).Select(f => (string)f.GetValue(null)!);

        Assert.All(codes, code => Assert.Empty(Document.Errors("error_code", new JValue(code))));
    }

    [Fact]
    public async Task Every_example_of_a_client_is_accepted_and_every_frame_of_the_broker_is_as_its_schema_says()
    {
        var sent = await FramesOfANodeAsync();

        var seen = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var text in sent)
        {
            var frame = (JObject)AsyncApiDocument.Parse(text);
            var kind = KindOf(frame);
            seen.Add(kind);
            Assert.True(Document.Errors(kind, frame) is [], $"{text}\n{string.Join('\n', Document.Errors(kind, frame))}");
            AssertOrder(frame, (JObject)Document.Schemas[kind]!);
        }

        Assert.Equal(SentFrames().Order(StringComparer.Ordinal), seen);
    }

    /// <summary>What a node sends when it is driven so that it sends each kind of frame.</summary>
    private static async Task<List<string>> FramesOfANodeAsync()
    {
        await using var node = await Node.StartAsync(("MaxMessageBytes", "1024"));
        var url = new Uri(node.Url, "/ws");
        var sent = new List<string>();

        await using var listener = await TestClient.ConnectAsync(url);
        await listener.SendAsync("""{"event":"subscribe","data":["calls","internal","everyone","traces","endpoint:1234"]}""");
        await listener.AckAsync("ping", "1");

        await using var asking = await TestClient.ConnectAsync(url);
        foreach (var example in ReceivedFrames().SelectMany(Document.Examples))
        {
            await asking.SendAsync(example.ToString(Formatting.None));
        }

        await asking.SendFrameAsync(Frame.Binary, [1]);
        var answers = await ReadToEndAsync(asking);
        Assert.DoesNotContain(answers, text => KindOf((JObject)AsyncApiDocument.Parse(text)) is "ack_error" or "failed");
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
            (_, true) => "message",
            _ => name,
        };
    }

    /// <summary>The members come as the schema lists them.</summary>
    private static void AssertOrder(JObject value, JObject schema)
    {
        if (schema["properties"] is not JObject properties)
        {
            return;
        }

        var listed = properties.Properties().Select(p => p.Name).Where(value.ContainsKey);
        Assert.Equal(listed, value.Properties().Select(p => p.Name));
        foreach (var member in value.Properties().Where(m => m.Value is JObject))
        {
            AssertOrder((JObject)member.Value, (JObject)properties[member.Name]!);
        }
    }

    private static IEnumerable<string> ReceivedFrames() => Document.Payloads(Messages("receive", "messages[*]"));

    private static IEnumerable<string> SentFrames() =>
        Document.Payloads([.. Messages("send", "messages[*]"), .. Messages("receive", "reply.messages[*]")]);

    private static IEnumerable<JToken> Messages(string action, string path) =>
        Document.Root["operations"]!.Children<JProperty>().Select(o => o.Value)
            .Where(o => (string?)o["action"] == action)
            .SelectMany(o => o.SelectTokens(path));

    private static AsyncApiDocument Load()
    {
        using var stream = typeof(Program).Assembly.GetManifestResourceStream("asyncapi.yaml")!;
        using var reader = new StreamReader(stream);
        return new AsyncApiDocument(reader);
    }
}
