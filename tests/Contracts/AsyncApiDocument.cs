using System.Collections.Concurrent;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;
using Newtonsoft.Json.Schema;

namespace Dmb.Tests.Contracts;

/// <summary>asyncapi.yaml, its schemas ready to check messages.</summary>
internal sealed class AsyncApiDocument
{
    private readonly ConcurrentDictionary<string, JSchema> _schemas = [];

    private AsyncApiDocument(JObject root)
    {
        Root = root;
        Schemas = (JObject)Root["components"]!["schemas"]!;
    }

    /// <summary>The one that the broker serves.</summary>
    public static AsyncApiDocument Served { get; } = Load();

    public JObject Root { get; }

    public JObject Schemas { get; }

    public IReadOnlyList<JToken> Examples(string schema) => [.. Schemas[schema]!["examples"] ?? new JArray()];

    /// <summary>
    /// The names of the schemas that these messages, or references to messages, have as their payload.
    /// </summary>
    public IEnumerable<string> Payloads(IEnumerable<JToken> messages) =>
        messages.Select(m => Resolve(m)["payload"]!["$ref"]!.ToString().Split('/')[^1]).Distinct();

    /// <summary>
    /// The messages that operations of the broker receive, or send, on these channels, by the path from an operation to
    /// them.
    /// </summary>
    public IEnumerable<JToken> Messages(Func<string, bool> channel, string action, string path) =>
        Root["operations"]!
            .Children<JProperty>()
            .Select(o => o.Value)
            .Where(o => (string?)o["action"] == action && channel(((string)o["channel"]!["$ref"]!).Split('/')[^1]))
            .SelectMany(o => o.SelectTokens(path));

    /// <summary>What a reference leads to, or null.</summary>
    public JToken? Follow(JToken reference) =>
        ((string)reference!)
            .TrimStart('#', '/')
            .Split('/')
            .Aggregate<string, JToken?>(Root, (at, member) => at?[member]);

    /// <summary>What a JSON text breaks of a schema; empty when it is valid.</summary>
    public IList<string> Errors(string schema, string json) => Errors(schema, Parse(json));

    /// <inheritdoc cref="Errors(string, string)"/>
    public IList<string> Errors(string schema, JToken json)
    {
        json.IsValid(_schemas.GetOrAdd(schema, ReadSchema), out IList<ValidationError> errors);
        return [.. errors.SelectMany(Innermost).Select(e => $"{e.Path}: {e.Message}")];
    }

    /// <summary>Reads JSON as it stands: what looks like a date stays a string.</summary>
    public static JToken Parse(string json)
    {
        using var reader = new JsonTextReader(new StringReader(json)) { DateParseHandling = DateParseHandling.None };
        return JToken.ReadFrom(reader);
    }

    /// <summary>Checks that the members of what the broker wrote come as their schema lists them.</summary>
    public void AssertOrder(JObject value, string schema) => AssertOrder(value, Schemas[schema]!);

    private void AssertOrder(JObject value, JToken schema)
    {
        if (Resolve(schema)["properties"] is not JObject properties)
        {
            return;
        }

        var listed = properties.Properties().Select(p => p.Name).Where(value.ContainsKey);
        Assert.Equal(listed, value.Properties().Select(p => p.Name));
        foreach (var member in value.Properties().Where(m => m.Value is JObject))
        {
            AssertOrder((JObject)member.Value, properties[member.Name]!);
        }
    }

    private static AsyncApiDocument Load()
    {
        using var stream = typeof(Program).Assembly.GetManifestResourceStream("asyncapi.yaml")!;
        using var reader = new StreamReader(stream);
        return new AsyncApiDocument(YamlJson.Read(reader));
    }

    private JToken Resolve(JToken token) =>
        token is JObject map && map["$ref"] is { } reference ? Resolve(Follow(reference)!) : token;

    private JSchema ReadSchema(string name)
    {
        // The schemas refer to each other from the document's root, so each is read as a root that has them all.
        var root = new JObject
        {
            ["$ref"] = $"#/components/schemas/{name}",
            ["components"] = new JObject { ["schemas"] = Schemas.DeepClone() },
        };
        return JSchema.Parse(root.ToString());
    }

    private static IEnumerable<ValidationError> Innermost(ValidationError error) =>
        error.ChildErrors.Count == 0 ? [error] : error.ChildErrors.SelectMany(Innermost);
}
