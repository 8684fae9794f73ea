using System.Net;
using System.Net.Mime;
using System.Text;
using System.Text.RegularExpressions;
using Dmb.Tests.Redis;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;

namespace Dmb.Tests.Contracts;

/// <summary>
/// asyncapi.yaml says what really goes over Redis: two nodes, backends and users, and a subscriber that hears all.
/// </summary>
[Collection(RedisLane.Name)]
public sealed partial class RedisContractTests
{
    private const string Bkid = "0123456789abcdef0123456789abcdef";
    private const string Nobody = "ffffffffffffffffffffffffffffffff";
    private const string Inbox = "billing:inbox";

    private static readonly AsyncApiDocument Document = AsyncApiDocument.Served;

    /// <summary>Publishes that are wrong on purpose.</summary>
    private static readonly (string Channel, string Body, string AnswerOn)[] Wrong =
    [
        ("dmb:register", $$"""{"type":"bk_connect","name":"two words","reply_to":"{{Inbox}}","nonce":7}""", Inbox),
        (
            "dmb:register",
            $$"""{"type":"bk_connect","name":"invoices","bkid":"{{Bkid}}","nonce":"n-3"}""",
            "dmb:register:invoices"
        ),
        ("dmb:register", """{"type":"bk_reconnect","name":"billing"}""", "dmb:register:billing"),
        ("dmb:register", $$"""{"type":"bk_disconnect","bkid":"{{Nobody}}"}""", $"dmb:{Nobody}:ack"),
        (
            "dmb:register",
            """{"type":"bk_disconnect","bkid":42,"name":"billing","nonce":"n-2"}""",
            "dmb:register:billing"
        ),
        ($"dmb:{Bkid}", "{", $"dmb:{Bkid}:ack"),
        ($"dmb:{Bkid}", """{"type":"bk_message","id":7}""", $"dmb:{Bkid}:ack"),
        ($"dmb:{Nobody}", """{"type":"bk_message","id":"m2","data":1}""", $"dmb:{Nobody}:ack"),
    ];

    public static TheoryData<string> StrictMessages =>
        [
            .. Payloads()
                .Where(schema =>
                    (string?)Document.Schemas[schema]!["type"] == "object"
                    && !schema.EndsWith("_push", StringComparison.Ordinal)
                ),
        ];

    [Theory]
    [MemberData(nameof(StrictMessages))]
    public void A_message_that_lacks_a_member_or_has_one_too_many_is_refused(string message)
    {
        var example = (JObject)Document.Examples(message)[0];
        foreach (var member in Document.Schemas[message]!["required"]!.Values<string>())
        {
            var mangled = (JObject)example.DeepClone();
            mangled.Remove(member!);
            Assert.NotEmpty(Document.Errors(message, mangled));
        }

        Assert.NotEmpty(Document.Errors(message, new JObject(example.Properties()) { ["surplus"] = 1 }));
    }

    [Fact]
    public async Task Every_message_on_every_channel_matches_its_schema_and_every_schema_is_covered()
    {
        var (published, stored) = await TalkAsync();

        var seen = new HashSet<string>();
        var shapes = new HashSet<string>();
        foreach (
            var (channel, body) in published.Where(m => !Array.Exists(Wrong, wrong => (wrong.Channel, wrong.Body) == m))
        )
        {
            Check(Assert.Single(Channels(), c => IsOn(c, channel)), body, seen, shapes);
        }

        foreach (var entry in stored)
        {
            Check((JObject)Document.Root["channels"]!["uplinkStored"]!, entry, seen, shapes);
        }

        Assert.Equal(Payloads().Order(), seen.Order());
        Assert.All(Wrong, wrong =>
            Assert.Contains(published, m =>
                m.Channel == wrong.AnswerOn && m.Body.Contains("\"ok\":false", StringComparison.Ordinal)
            )
        );

        // One node acts and answers.
        var questions = published
            .Where(m => m.Channel == "dmb:register" || BackendChannel().IsMatch(m.Channel))
            .Select(m => $"{m.Channel} {m.Body}")
            .ToArray();
        var answers = published
            .Where(m => m.Channel == Inbox || Answers().IsMatch(m.Channel))
            .Select(m => $"{m.Channel} {m.Body}")
            .ToArray();
        Assert.True(
            questions.Length == answers.Length,
            $"{questions.Length} questions, {answers.Length} answers:\n{string.Join('\n', answers)}"
        );
    }

    /// <summary>
    /// All that is published while backends register, send and are refused, and users come, speak and go; and what is
    /// stored of it.
    /// </summary>
    private static async Task<(
        IReadOnlyList<(string Channel, string Body)> Published,
        IReadOnlyList<string> Stored
    )> TalkAsync()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var first = await StartAsync(redis);
        await using var second = await StartAsync(redis);
        using var capture = await RedisCapture.StartAsync(redis);
        using var client = await redis.OpenAsync();

        // What the examples say is accepted.
        await AskAsync("dmb:register", Example("bk_connect", 0), Inbox);
        await AskAsync("dmb:register", Example("bk_connect", 1), "dmb:register:billing");
        await using var user = await first.ConnectAsync();
        await using var other = await second.ConnectAsync();
        await user.AckAsync("dmb:connect", $$"""{"service":"{{Bkid}}","user":"user-42"}""");
        await capture.ReadAsync("dmb:uplink", "\"connect\"");
        await other.AckAsync("dmb:connect", $$"""{"service":"{{Bkid}}","user":"Zoë & co"}""");
        await capture.ReadAsync("dmb:uplink", "\"connect\"");
        await user.AckAsync("dmb:message", """{"data":{"text":"I paid today."}}""");
        await capture.ReadAsync("dmb:uplink", "\"message\"");
        await AskAsync($"dmb:{Bkid}", Example("bk_message", 0), $"dmb:{Bkid}:ack");
        Assert.Contains(
            "\"duplicate\":true",
            await AskAsync($"dmb:{Bkid}", Example("bk_message", 0), $"dmb:{Bkid}:ack"),
            StringComparison.Ordinal
        );
        await AskAsync($"dmb:{Bkid}", Example("bk_message", 1), $"dmb:{Bkid}:ack");
        await user.AckAsync("dmb:disconnect", "null");
        await capture.ReadAsync("dmb:uplink", "\"disconnect\"");
        foreach (var (channel, body, answerOn) in Wrong)
        {
            await client.CommandAsync("PUBLISH", channel, body);
            await capture.ReadAsync(answerOn, "\"ok\":false");
        }

        // The other channels.
        await client.CommandAsync("PUBLISH", "dmb:notify:report_csr", Example("notify_push", 0));
        await capture.ReadAsync("dmb:room:support");
        await client.CommandAsync("PUBLISH", "dmb:room:support", Example("room_push", 0));
        await PostAsync(
            first,
            "/register",
            """{"event":"place-call","default_room":"calls"}""",
            HttpStatusCode.Created
        );
        await PostAsync(second, "/_notify/call", """{"_in":["endpoint:1234"]}""", HttpStatusCode.OK);
        await PostAsync(first, $"/backend/{Bkid}/messages", """{"data":"over HTTP"}""", HttpStatusCode.OK);
        var counting = first.GetAsync("/rooms/support");
        var question = (await capture.ReadAsync("dmb:nodes", "count")).Split(' ');

        // The capture is one of those that were asked, and would be waited for.
        await client.CommandAsync("PUBLISH", question[2], $"sessions {question[1]} 0");
        await counting;

        // An entry is its place, and its two fields with their names.
        var entries = (await client.CommandAsync("XRANGE", $"dmb:{Bkid}:uplink", "-", "+"))
            .Split('\n')
            .Chunk(5)
            .Select(entry => $$"""{"{{entry[1]}}":"{{entry[2]}}","{{entry[3]}}":{{entry[4]}}}""")
            .ToArray();

        await AskAsync("dmb:register", Example("bk_disconnect", 0), $"dmb:{Bkid}:ack");
        await client.CommandAsync("PUBLISH", "end", "end");
        await capture.ReadAsync("end");
        return ([.. capture.Messages.Where(m => m.Channel != "end")], entries);

        async Task<string> AskAsync(string channel, string body, string answerOn)
        {
            await client.CommandAsync("PUBLISH", channel, body);
            var answer = await capture.ReadAsync(answerOn);
            Assert.Contains("\"ok\":true", answer, StringComparison.Ordinal);
            return answer;
        }
    }

    private static async Task<NodeProcess> StartAsync(RedisServer redis)
    {
        var node = await NodeProcess.StartAsync(
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", $"{redis.Port}"),
            ("DMB_HISTORY_SIZE", "100"),
            ("DMB_PUBLISH_TIMEOUT", "30")
        );
        await node.BecomesAsync("ready");
        return node;
    }

    private static async Task PostAsync(NodeProcess node, string path, string json, HttpStatusCode expected)
    {
        using var body = new StringContent(json, Encoding.UTF8, MediaTypeNames.Application.Json);
        using var response = await node.Http.PostAsync(new Uri(node.Url, path), body);
        Assert.Equal(expected, response.StatusCode);
    }

    private static string Example(string schema, int number) =>
        Document.Examples(schema)[number].ToString(Formatting.None);

    /// <summary>
    /// Checks a message against the schema that it is meant to follow, if none of its shape was checked yet.
    /// </summary>
    private static void Check(JObject channel, string body, HashSet<string> seen, HashSet<string> shapes)
    {
        var isText =
            (string?)Document.Follow(channel["messages"]!.First!.First!["$ref"]!)!["contentType"]
            == MediaTypeNames.Text.Plain;
        var json = isText ? new JValue(body) : AsyncApiDocument.Parse(body);
        var meant = Document
            .Payloads(channel["messages"]!.Children<JProperty>().Select(m => m.Value))
            .Where(schema => Fits(json, Document.Schemas[schema]!))
            .MaxBy(schema => Document.Schemas[schema]!["required"]?.Count());
        Assert.True(meant is not null, $"{(string?)channel["address"]} has no message such as {body}");
        seen.Add(meant);
        if (shapes.Add($"{meant} {(isText ? body.Split(' ')[0] : Shape(json))}"))
        {
            Assert.True(
                Document.Errors(meant, json) is [],
                $"{meant}: {body}\n{string.Join('\n', Document.Errors(meant, json))}"
            );
        }

        if (json is JObject value && IsWritten(meant))
        {
            Document.AssertOrder(value, meant);
        }
    }

    /// <summary>
    /// Whether a message has all members that a schema demands, and no other value where it allows but one or some.
    /// </summary>
    private static bool Fits(JToken json, JToken schema) =>
        (schema["required"] ?? new JArray()).All(name => ((JObject)json).ContainsKey((string)name!))
        && (schema["properties"] ?? new JObject())
            .Children<JProperty>()
            .All(member =>
                json[member.Name] is not { } value
                || (
                    (member.Value["const"] is not { } only || JToken.DeepEquals(only, value))
                    && (member.Value["enum"] is not { } some || some.Contains(value, JToken.EqualityComparer))
                )
            );

    private static string Shape(JToken json) =>
        json switch
        {
            JObject map => $"{{{string.Join(',', map.Properties().Select(p => $"{p.Name}:{Shape(p.Value)}"))}}}",
            JArray list => $"[{string.Join(',', list.Select(Shape).Distinct())}]",
            _ => json.Type.ToString(),
        };

    private static IEnumerable<JObject> Channels() =>
        Document.Root["channels"]!
            .Children<JProperty>()
            .Where(c => c.Name is not "ws" and not "uplinkStored")
            .Select(c => (JObject)c.Value);

    /// <summary>
    /// Whether a Redis channel is one of those that an address stands for; that without an address is the inbox.
    /// </summary>
    private static bool IsOn(JObject channel, string name) =>
        (string?)channel["address"] is { } address
            ? Regex.IsMatch(
                name,
                $"^{Parameter().Replace(address, p => p.Value switch { "{bkid}" => "[0-9a-f]{32}", "{node}" => "[0-9a-f]{12}", _ => ".+" })}$"
            )
            : name == Inbox;

    private static string[] Payloads() =>
        [
            .. Document
                .Payloads(
                    Document.Root["channels"]!
                        .Children<JProperty>()
                        .Where(c => c.Name != "ws")
                        .SelectMany(c => c.Value.SelectTokens("messages.*"))
                )
                .Distinct(),
        ];

    /// <summary>Whether the broker writes it, and not a backend or another program.</summary>
    private static bool IsWritten(string schema) =>
        Document
            .Payloads([
                .. Document.Messages(IsRedis, "send", "messages[*]"),
                .. Document.Messages(IsRedis, "receive", "reply.messages[*]"),
            ])
            .Contains(schema);

    private static bool IsRedis(string channel) => channel != "ws";

    [GeneratedRegex(@"\{\w+\}")]
    private static partial Regex Parameter();

    [GeneratedRegex("^dmb:(register:.+|[0-9a-f]{32}:ack)$")]
    private static partial Regex Answers();

    [GeneratedRegex("^dmb:[0-9a-f]{32}$")]
    private static partial Regex BackendChannel();
}
