using System.Globalization;
using System.Text.RegularExpressions;
using Newtonsoft.Json;
using Newtonsoft.Json.Linq;
using Newtonsoft.Json.Schema;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Dmb.Tests.Contracts;

/// <summary>asyncapi.yaml, its schemas ready to check frames.</summary>
internal sealed partial class AsyncApiDocument
{
    private readonly Dictionary<string, JSchema> _schemas;

    public AsyncApiDocument(TextReader yaml)
    {
        var stream = new YamlStream();
        stream.Load(yaml);
        Root = (JObject)ToJson(stream.Documents[0].RootNode);
        Schemas = (JObject)Root["components"]!["schemas"]!;
        _schemas = Schemas.Properties().ToDictionary(s => s.Name, s => ReadSchema(s.Name));
    }

    public JObject Root { get; }

    public JObject Schemas { get; }

    public IReadOnlyList<JToken> Examples(string schema) => [.. Schemas[schema]!["examples"] ?? new JArray()];

    /// <summary>The names of the schemas that these messages, or references to messages, have as their payload.</summary>
    public IEnumerable<string> Payloads(IEnumerable<JToken> messages) =>
        messages.Select(m => Resolve(m)["payload"]!["$ref"]!.ToString().Split('/')[^1]).Distinct();

    /// <summary>What a reference leads to, or null.</summary>
    public JToken? Follow(JToken reference) =>
        ((string)reference!).TrimStart('#', '/').Split('/').Aggregate<string, JToken?>(Root, (at, member) => at?[member]);

    /// <summary>What a JSON text breaks of a schema; empty when it is valid.</summary>
    public IList<string> Errors(string schema, string json) => Errors(schema, Parse(json));

    /// <inheritdoc cref="Errors(string, string)"/>
    public IList<string> Errors(string schema, JToken json)
    {
        json.IsValid(_schemas[schema], out IList<ValidationError> errors);
        return [.. errors.SelectMany(Innermost).Select(e => $"{e.Path}: {e.Message}")];
    }

    /// <summary>Reads JSON as it stands: what looks like a date stays a string.</summary>
    public static JToken Parse(string json)
    {
        using var reader = new JsonTextReader(new StringReader(json)) { DateParseHandling = DateParseHandling.None };
        return JToken.ReadFrom(reader);
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

    private static JToken ToJson(YamlNode node) => node switch
    {
        YamlMappingNode map =>
            new JObject(map.Children.Select(m => new JProperty(((YamlScalarNode)m.Key).Value!, ToJson(m.Value)))),
        YamlSequenceNode list => new JArray(list.Children.Select(ToJson)),
        YamlScalarNode { Style: ScalarStyle.Plain } plain => ToJson(plain.Value!),
        YamlScalarNode text => new JValue(text.Value),
        _ => throw new NotSupportedException($"No JSON for a {node.NodeType} at {node.Start}."),
    };

    // YAML 1.2's core schema, as far as JSON has the same.
    private static JValue ToJson(string plain) => plain switch
    {
        "" or "~" or "null" => JValue.CreateNull(),
        "true" => new JValue(true),
        "false" => new JValue(false),
        _ when Integer().IsMatch(plain) => new JValue(long.Parse(plain, CultureInfo.InvariantCulture)),
        _ => new JValue(plain),
    };

    [GeneratedRegex(@"^[-+]?\d+$")]
    private static partial Regex Integer();
}
