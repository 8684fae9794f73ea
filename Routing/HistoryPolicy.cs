using System.Globalization;

namespace Dmb.Routing;

/// <summary>The limits of one room's history.</summary>
/// <param name="Size">Maximum number of messages; 0 without a history.</param>
/// <param name="Ttl">How long a message is kept.</param>
internal readonly record struct HistoryLimits(int Size, TimeSpan Ttl);

/// <summary>
/// Determines a room's <see cref="HistoryLimits"/>: the first match of <see cref="HistoryOptions.HistoryRooms"/>, else
/// <see cref="HistoryOptions.HistorySize"/>.
/// </summary>
internal sealed class HistoryPolicy
{
    private const int SizeMax = 10_000;
    private const int TtlMaxSeconds = 86_400;

    private readonly HistoryLimits _default;
    private readonly Pattern[] _patterns;

    public HistoryPolicy(HistoryOptions options)
    {
        _default = Limits(options.HistorySize, options.HistoryTtl);
        _patterns =
        [
            .. options.HistoryRooms.Select(entry =>
                Read(entry, options.HistoryTtl) ?? throw new ArgumentException(entry)
            ),
        ];
        IsOn = _default.Size > 0 || Array.Exists(_patterns, pattern => pattern.Limits.Size > 0);
    }

    /// <summary>Whether any room can have a history.</summary>
    public bool IsOn { get; }

    /// <summary>
    /// Whether an entry is <c>room=size</c> or <c>room=size/seconds</c>; a room's last character may be a <c>*</c>.
    /// </summary>
    public static bool IsPattern(string entry) => Read(entry, TimeSpan.Zero) is not null;

    /// <summary>
    /// The limits of a room. Messages to backends are stored in their mailbox and have none, and patterns have none.
    /// </summary>
    public HistoryLimits Of(string room)
    {
        if (room.StartsWith("uplink ", StringComparison.Ordinal) || room.EndsWith('*'))
        {
            return default;
        }

        foreach (var (name, isPrefix, limits) in _patterns)
        {
            if (isPrefix ? room.StartsWith(name, StringComparison.Ordinal) : room == name)
            {
                return limits;
            }
        }

        return _default;
    }

    /// <summary>Whether a room has a history.</summary>
    public bool Keeps(string room) => IsOn && Of(room).Size > 0;

    /// <summary>Whether one of the rooms has a history.</summary>
    public bool KeepsAny(string[] rooms)
    {
        if (IsOn)
        {
            foreach (var room in rooms)
            {
                if (Of(room).Size > 0)
                {
                    return true;
                }
            }
        }

        return false;
    }

    private static HistoryLimits Limits(int size, TimeSpan ttl) =>
        ttl > TimeSpan.Zero ? new HistoryLimits(size, ttl) : default;

    private static Pattern? Read(string entry, TimeSpan ttl)
    {
        var equals = entry.LastIndexOf('=');
        if (equals <= 0)
        {
            return null;
        }

        var (name, numbers) = (entry[..equals], entry[(equals + 1)..].Split('/'));
        if (
            numbers.Length > 2
            || !TryNumber(numbers[0], SizeMax, out var size)
            || name.AsSpan(0, name.Length - 1).Contains('*')
        )
        {
            return null;
        }

        if (numbers.Length == 2)
        {
            if (!TryNumber(numbers[1], TtlMaxSeconds, out var seconds))
            {
                return null;
            }

            ttl = TimeSpan.FromSeconds(seconds);
        }

        var isPrefix = name[^1] == '*';
        return new Pattern(isPrefix ? name[..^1] : name, isPrefix, Limits(size, ttl));
    }

    private static bool TryNumber(string text, int max, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number <= max;

    private sealed record Pattern(string Name, bool IsPrefix, HistoryLimits Limits);
}
