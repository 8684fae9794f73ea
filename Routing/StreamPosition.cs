using System.Buffers;
using System.Globalization;

namespace Dmb.Routing;

/// <summary>
/// A position in a room's history, written <c>epoch:seq</c> (docs/protocol.md §7). <see cref="Seq"/> increases by one
/// per message. When a room's count is lost, it restarts with a new <see cref="Epoch"/>, so that an old position never
/// matches a new one.
/// </summary>
/// <param name="Epoch">1 to 16 of <c>0-9a-z</c>; null for no position, as in a room without history.</param>
/// <param name="Seq">The number of the message; 0 before the first.</param>
internal readonly record struct StreamPosition(string? Epoch, long Seq)
{
    /// <summary>Maximum characters of an epoch.</summary>
    public const int EpochLengthMax = 16;

    private const int EpochLength = 6;
    private const string EpochCharacters = "0123456789abcdefghijklmnopqrstuvwxyz";
    private static readonly SearchValues<char> Characters = SearchValues.Create(EpochCharacters);

    /// <summary>Describes the form of a position in error texts.</summary>
    public const string Form = "A position in a room's history is <epoch>:<seq>, as messages carry it in pos.";

    /// <summary>Whether there is no position.</summary>
    public bool IsNone => Epoch is null;

    /// <summary>Creates the epoch of a new count.</summary>
    public static string NewEpoch() => string.Create(EpochLength, SystemRandom.Number(), static (epoch, number) =>
        {
            foreach (ref var character in epoch)
            {
                character = EpochCharacters[(int)(number % (ulong)EpochCharacters.Length)];
                number /= (ulong)EpochCharacters.Length;
            }
        });

    /// <summary>Parses <c>epoch:seq</c>.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out StreamPosition position)
    {
        var colon = text.IndexOf(':');
        if (
            colon is > 0 and <= EpochLengthMax
            && !text[..colon].ContainsAnyExcept(Characters)
            && long.TryParse(text[(colon + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var seq)
        )
        {
            position = new StreamPosition(text[..colon].ToString(), seq);
            return true;
        }

        position = default;
        return false;
    }

    /// <summary>Whether this position is after another one of the same epoch.</summary>
    public bool IsAfter(StreamPosition other) => Epoch == other.Epoch && Seq > other.Seq;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Epoch}:{Seq}");
}
