using System.Buffers;
using System.Globalization;

namespace Dmb.Routing;

/// <summary>
/// A place in a room's history, written <c>epoch:seq</c> (docs/protocol.md §7). <see cref="Seq"/> counts up by one with
/// each message; <see cref="Epoch"/> names one life of that count: once it was lost, the next count has another name,
/// so that an old place is never taken for a new one.
/// </summary>
/// <param name="Epoch">1 to 16 of <c>0-9a-z</c>; null for no place at all, as in a room that keeps no history.</param>
/// <param name="Seq">The number of the last message up to there; 0 before the first.</param>
internal readonly record struct StreamPosition(string? Epoch, long Seq)
{
    private const int EpochLength = 6;
    private const int EpochLengthMax = 16;
    private const string EpochCharacters = "0123456789abcdefghijklmnopqrstuvwxyz";
    private static readonly SearchValues<char> Characters = SearchValues.Create(EpochCharacters);

    /// <summary>What a place looks like, for people.</summary>
    public const string Form = "A place in a room's history is <epoch>:<seq>, as messages carry it in pos.";

    /// <summary>Whether there is no place.</summary>
    public bool IsNone => Epoch is null;

    /// <summary>A name for a new life of a count.</summary>
    public static string NewEpoch() => string.Create(EpochLength, SystemRandom.Number(), static (epoch, number) =>
        {
            foreach (ref var character in epoch)
            {
                character = EpochCharacters[(int)(number % (ulong)EpochCharacters.Length)];
                number /= (ulong)EpochCharacters.Length;
            }
        });

    /// <summary>Reads <c>epoch:seq</c>.</summary>
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

    /// <summary>Whether this place lies behind another one of the same life.</summary>
    public bool IsAfter(StreamPosition other) => Epoch == other.Epoch && Seq > other.Seq;

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Epoch}:{Seq}");
}
