using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Reflection;
using System.Text;
using Dmb.Access;

namespace Dmb;

/// <summary>A setting: one property of the options classes.</summary>
internal sealed class Setting
{
    /// <summary>Prefix of most settings' names in the environment.</summary>
    public const string EnvironmentPrefix = "DMB_";

    private readonly PropertyInfo _property;
    private readonly Func<NodeOptions, object> _owner;
    private readonly RangeAttribute? _range;
    private readonly AllowedValuesAttribute? _allowed;

    private Setting(PropertyInfo property, Func<NodeOptions, object> owner)
    {
        (_property, _owner) = (property, owner);
        _range = property.GetCustomAttribute<RangeAttribute>();
        _allowed = property.GetCustomAttribute<AllowedValuesAttribute>();
        Variable = property.GetCustomAttribute<ConfigurationKeyNameAttribute>()?.Name
            ?? EnvironmentPrefix + VariableOf(property.Name);
        Elsewhere = property.GetCustomAttribute<ElsewhereAttribute>()?.Value;
    }

    public string Key => _property.Name;

    /// <summary>Its name in the environment.</summary>
    public string Variable { get; }

    public string Meaning => _property.GetCustomAttribute<DescriptionAttribute>()!.Description;

    public string Default =>
        Write(_property.GetValue(_owner(new NodeOptions()))) is not { Length: > 0 } text ? ""
        : Elsewhere is null ? $"`{text}`"
        : $"`{text}` on loopback, else `{Elsewhere}`";

    /// <summary>The default on a node that listens on more than loopback; null if it is the same.</summary>
    public int? Elsewhere { get; }

    public string Accepted =>
        this switch
        {
            { _allowed: { } allowed } => string.Join(
                " or ",
                allowed.Values.Select(v => v is "" ? "nothing" : $"`{v}`")
            ),
            { _range: { } range } when _property.PropertyType == typeof(TimeSpan) =>
                $"{range.Minimum} to {range.Maximum} seconds",
            { _range: { } range } => $"{range.Minimum} to {range.Maximum}",
            _ when _property.PropertyType == typeof(bool) => "`true` or `false`",
            _ when _property.PropertyType == typeof(string[]) => "a list",
            _ => "text",
        };

    /// <summary>
    /// Whether a name differs from this setting's by one letter: replaced, missing, added, or swapped with the next.
    /// </summary>
    public bool IsMeantBy(string name)
    {
        var (a, b) = (
            name.Replace("_", "", StringComparison.Ordinal),
            Variable.Replace("_", "", StringComparison.Ordinal)
        );
        if (!name.Contains('_', StringComparison.Ordinal))
        {
            b = Key;
        }

        var start = 0;
        while (
            start < Math.Min(a.Length, b.Length) && char.ToUpperInvariant(a[start]) == char.ToUpperInvariant(b[start])
        )
        {
            start++;
        }

        bool RestIs(int skipA, int skipB) =>
            a.AsSpan(Math.Min(start + skipA, a.Length))
                .Equals(b.AsSpan(Math.Min(start + skipB, b.Length)), StringComparison.OrdinalIgnoreCase);
        return Math.Abs(a.Length - b.Length) <= 1
            && (
                RestIs(1, 1)
                || RestIs(1, 0)
                || RestIs(0, 1)
                || (
                    start + 1 < a.Length
                    && start + 1 < b.Length
                    && a[start] == b[start + 1]
                    && a[start + 1] == b[start]
                    && RestIs(2, 2)
                )
            );
    }

    /// <summary>The settings of an options class: its writable properties.</summary>
    public static IEnumerable<Setting> Of<
        [DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicProperties)] T
    >(Func<NodeOptions, T> owner)
        where T : class =>
        typeof(T).GetProperties().Where(property => property.CanWrite).Select(property => new Setting(property, owner));

    /// <exception cref="Settings.BadValueException">The text is not an accepted value.</exception>
    public void Set(NodeOptions options, string name, string text) =>
        _property.SetValue(
            _owner(options),
            Parse(text.Trim()) ?? throw new Settings.BadValueException(name, text, Accepted)
        );

    public void SetElsewhere(NodeOptions options) => _property.SetValue(_owner(options), Elsewhere);

    public static string Write(object? value) =>
        value switch
        {
            string[] list => string.Join(',', list),
            TimeSpan time => time.TotalSeconds.ToString(CultureInfo.InvariantCulture),
            bool flag => flag ? "true" : "false",
            _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
        };

    /// <summary>Converts to upper case with underscores between words.</summary>
    private static string VariableOf(string property)
    {
        var name = new StringBuilder();
        foreach (var letter in property)
        {
            name.Append(name.Length > 0 && char.IsUpper(letter) ? "_" : "").Append(char.ToUpperInvariant(letter));
        }

        return name.ToString();
    }

    private object? Parse(string text)
    {
        if (_property.PropertyType == typeof(int))
        {
            return
                int.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
                && number >= (int)_range!.Minimum
                && number <= (int)_range.Maximum
                ? number
                : null;
        }

        if (_property.PropertyType == typeof(TimeSpan))
        {
            return
                double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var seconds)
                && seconds >= (int)_range!.Minimum
                && seconds <= (int)_range.Maximum
                ? TimeSpan.FromSeconds(seconds)
                : null;
        }

        if (_property.PropertyType == typeof(bool))
        {
            return bool.TryParse(text, out var flag) ? flag : null;
        }

        if (_property.PropertyType == typeof(string[]))
        {
            return text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        }

        return _allowed is null || _allowed.Values.Contains(text) ? text : null;
    }
}
