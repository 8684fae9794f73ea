using System.Globalization;
using System.Text.RegularExpressions;
using Newtonsoft.Json.Linq;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Dmb.Tests.Contracts;

/// <summary>YAML 1.2 as JSON, as far as JSON has the same.</summary>
internal static partial class YamlJson
{
    public static JObject Read(TextReader yaml)
    {
        var stream = new YamlStream();
        stream.Load(yaml);
        return (JObject)ToJson(stream.Documents[0].RootNode);
    }

    private static JToken ToJson(YamlNode node) =>
        node switch
        {
            YamlMappingNode map => new JObject(
                map.Children.Select(m => new JProperty(((YamlScalarNode)m.Key).Value!, ToJson(m.Value)))
            ),
            YamlSequenceNode list => new JArray(list.Children.Select(ToJson)),
            YamlScalarNode { Style: ScalarStyle.Plain } plain => ToJson(plain.Value!),
            YamlScalarNode text => new JValue(text.Value),
            _ => throw new NotSupportedException($"No JSON for a {node.NodeType} at {node.Start}."),
        };

    private static JValue ToJson(string plain) =>
        plain switch
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
