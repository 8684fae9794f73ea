using System.Reflection;
using System.Reflection.Emit;
using System.Text.RegularExpressions;

namespace Dmb.Tests;

/// <summary>
/// The order of the folders: a folder uses only itself and those before it in <see cref="Layers"/>, so that there are
/// no circles. Types are read from the assembly (signatures and code), <c>using</c> lines and names in comments from
/// the text.
/// </summary>
public sealed partial class LayerTests
{
    /// <summary>
    /// The folders from the bottom; the namespace is the folder's path behind <c>Dmb</c>, the root is behind them, and
    /// the commands, which only <c>Program.cs</c> uses, are last.
    /// </summary>
    private static readonly string[] Layers =
    [
        "Telemetry",
        "Routing",
        "Access",
        "Backends",
        "Webhooks",
        "Transport",
        "Sockets",
        "Redis",
        "Endpoints",
        "Http",
        "",
        "Commands",
    ];

    private const BindingFlags All =
        BindingFlags.Public
        | BindingFlags.NonPublic
        | BindingFlags.Static
        | BindingFlags.Instance
        | BindingFlags.DeclaredOnly;

    private static readonly Dictionary<int, OpCode> Codes = typeof(OpCodes)
        .GetFields()
        .Select(field => (OpCode)field.GetValue(null)!)
        .ToDictionary(code => code.Value & 0xFFFF);

    [Fact]
    public void A_type_uses_only_types_of_the_layers_below_its_own()
    {
        var wrong = typeof(NodeOptions)
            .Assembly.GetTypes()
            .Where(IsOurs)
            .SelectMany(type =>
                Used(type)
                    .SelectMany(Parts)
                    .Where(IsOurs)
                    .Where(used => LayerOf(used.Namespace!) > LayerOf(type.Namespace!))
                    .Select(used => $"{type.FullName} uses {used.FullName}")
            )
            .Distinct()
            .Order(StringComparer.Ordinal);
        Assert.Empty(wrong);
    }

    [Fact]
    public void Each_log_line_has_an_event_id_of_its_own()
    {
        var twice = Layers
            .SelectMany(layer =>
                Directory.GetFiles(
                    Path.Combine(Repository.Root, layer),
                    "*.cs",
                    layer.Length > 0 ? SearchOption.AllDirectories : SearchOption.TopDirectoryOnly
                )
            )
            .SelectMany(file =>
                LogId().Matches(File.ReadAllText(file)).Select(match => (Id: match.Groups[1].Value, file))
            )
            .GroupBy(line => line.Id, line => Path.GetFileName(line.file))
            .Where(id => id.Count() > 1)
            .Select(id => $"{id.Key}: {string.Join(", ", id)}");
        Assert.Empty(twice);
    }

    [Fact]
    public void A_file_names_only_namespaces_of_the_layers_below_its_own()
    {
        var wrong = Layers
            .Where(layer => layer.Length > 0 && Directory.Exists(Path.Combine(Repository.Root, layer)))
            .SelectMany(layer =>
                Directory
                    .EnumerateFiles(Path.Combine(Repository.Root, layer), "*.cs", SearchOption.AllDirectories)
                    .SelectMany(file =>
                        Namespace()
                            .Matches(File.ReadAllText(file))
                            .Select(match => match.Value)
                            .Where(name => LayerOf(name) > LayerOf($"Dmb.{layer}"))
                            .Select(name => $"{Path.GetRelativePath(Repository.Root, file)} names {name}")
                    )
            )
            .Distinct();
        Assert.Empty(wrong);
    }

    /// <summary>
    /// The check itself: the node's options, in the root, use those of the folders, and not the other way round.
    /// </summary>
    [Fact]
    public void The_uses_of_a_type_are_found_in_its_members_and_code()
    {
        Assert.Contains(typeof(Dmb.Access.AccessOptions), Used(typeof(NodeOptions)).SelectMany(Parts));
        Assert.Contains(typeof(Dmb.Access.HostKeys), Used(typeof(Services)).SelectMany(Parts));
    }

    private static bool IsOurs(Type type) =>
        type.Assembly == typeof(NodeOptions).Assembly
        && type.Namespace is { } name
        && (name == "Dmb" || name.StartsWith("Dmb.", StringComparison.Ordinal));

    private static int LayerOf(string name)
    {
        var layer = Array.IndexOf(Layers, name.Split('.') is [_, var folder, ..] ? folder : "");
        return layer >= 0
            ? layer
            : throw new InvalidOperationException($"{name} is in no layer: add its folder to the list.");
    }

    /// <summary>A type, and those that it is made of: elements of arrays, arguments of generics.</summary>
    private static IEnumerable<Type> Parts(Type type) =>
        type.HasElementType ? Parts(type.GetElementType()!)
        : type.IsGenericType ? type.GetGenericArguments().SelectMany(Parts).Prepend(type.GetGenericTypeDefinition())
        : [type];

    private static IEnumerable<Type> Used(Type type)
    {
        var members = type.GetMembers(All);
        return new[] { type.BaseType }
            .Concat(type.GetInterfaces())
            .Concat(members.OfType<FieldInfo>().Select(field => field.FieldType))
            .Concat(type.GetCustomAttributesData().Select(attribute => attribute.AttributeType))
            .Concat(
                members
                    .SelectMany(member => member.GetCustomAttributesData())
                    .Select(attribute => attribute.AttributeType)
            )
            .Concat(members.OfType<MethodBase>().SelectMany(UsedBy))
            .OfType<Type>();
    }

    private static IEnumerable<Type?> UsedBy(MethodBase method)
    {
        foreach (var parameter in method.GetParameters())
        {
            yield return parameter.ParameterType;
        }

        yield return (method as MethodInfo)?.ReturnType;
        if (method.GetMethodBody() is not { } body)
        {
            yield break;
        }

        foreach (var local in body.LocalVariables)
        {
            yield return local.LocalType;
        }

        foreach (
            var clause in body.ExceptionHandlingClauses.Where(clause =>
                clause.Flags == ExceptionHandlingClauseOptions.Clause
            )
        )
        {
            yield return clause.CatchType;
        }

        foreach (var token in Tokens(body.GetILAsByteArray()!))
        {
            var ofType = method.DeclaringType!.IsGenericType ? method.DeclaringType.GetGenericArguments() : null;
            var ofMethod = method.IsGenericMethod ? method.GetGenericArguments() : null;
            var member = method.Module.ResolveMember(token, ofType, ofMethod)!;
            yield return member as Type ?? member.DeclaringType;
            foreach (
                var argument in member is MethodInfo { IsGenericMethod: true } called
                    ? called.GetGenericArguments()
                    : []
            )
            {
                yield return argument;
            }
        }
    }

    /// <summary>The metadata tokens in a method's code (ECMA-335, III): of types, fields and methods.</summary>
    private static IEnumerable<int> Tokens(byte[] code)
    {
        for (var i = 0; i < code.Length; )
        {
            var opcode = code[i] == 0xFE ? Codes[0xFE00 | code[i + 1]] : Codes[code[i]];
            i += opcode.Size;
            if (
                opcode.OperandType
                is OperandType.InlineField
                    or OperandType.InlineMethod
                    or OperandType.InlineTok
                    or OperandType.InlineType
            )
            {
                yield return BitConverter.ToInt32(code, i);
            }

            i += opcode.OperandType switch
            {
                OperandType.InlineNone => 0,
                OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                OperandType.InlineVar => 2,
                OperandType.InlineI8 or OperandType.InlineR => 8,
                OperandType.InlineSwitch => 4 + (4 * BitConverter.ToInt32(code, i)),
                _ => 4,
            };
        }
    }

    [GeneratedRegex(@"\bDmb(\.[A-Z][A-Za-z]+)+(?=[;.\s])")]
    private static partial Regex Namespace();

    [GeneratedRegex(@"\[LoggerMessage\(\s*([0-9]+),")]
    private static partial Regex LogId();
}
