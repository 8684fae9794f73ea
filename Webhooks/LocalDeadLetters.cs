using System.Globalization;
using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>Stores the dead letters of a single node in memory.</summary>
internal sealed class LocalDeadLetters : IDeadLetters
{
    private readonly Lock _lock = new();
    private readonly SortedDictionary<string, DeadLetter> _letters = new(StringComparer.Ordinal);
    private long _last;
    private long _bytes;

    public ValueTask AddAsync(DeadLetter letter)
    {
        lock (_lock)
        {
            var id = (++_last).ToString("x16", CultureInfo.InvariantCulture);
            _letters.Add(id, letter with { Id = id });
            _bytes += letter.Data.Length;
            while (_letters.Count > IDeadLetters.LettersMax || _bytes > IDeadLetters.BytesMax)
            {
                Remove(_letters.First().Key);
            }
        }

        return default;
    }

    public ValueTask<IReadOnlyList<DeadLetter>> ReadAsync(string? before, int max)
    {
        lock (_lock)
        {
            return ValueTask.FromResult<IReadOnlyList<DeadLetter>>([
                .. _letters
                    .Values.Reverse()
                    .Where(letter => before is null || string.CompareOrdinal(letter.Id, before) < 0)
                    .Take(max),
            ]);
        }
    }

    public ValueTask<DeadLetter?> FindAsync(string id)
    {
        lock (_lock)
        {
            return ValueTask.FromResult(_letters.GetValueOrDefault(id));
        }
    }

    public ValueTask<bool> RemoveAsync(string id)
    {
        lock (_lock)
        {
            return ValueTask.FromResult(Remove(id));
        }
    }

    public ValueTask RepeatAsync(string channel, ReadOnlyMemory<byte> body) =>
        throw new RefusedException(ErrorCode.BackplaneDown, "This node has no Redis.");

    private bool Remove(string id)
    {
        if (!_letters.Remove(id, out var letter))
        {
            return false;
        }

        _bytes -= letter.Data.Length;
        return true;
    }
}
