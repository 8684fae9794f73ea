using System.Globalization;

namespace Dmb.Endpoints;

/// <summary>Selects the first items of an unordered list. Comparing an item allocates nothing.</summary>
/// <param name="size">Maximum number of items.</param>
/// <param name="order">The order of the keys.</param>
internal sealed class Page<TItem, TKey>(int size, IComparer<TKey> order)
{
    /// <summary>The selected items; its root is the last of them in the order.</summary>
    private readonly PriorityQueue<TItem, TKey> _selected = new(
        Comparer<TKey>.Create((one, other) => order.Compare(other, one))
    );

    /// <summary>Selects an item, unless the page is full of items before it.</summary>
    public void Add(TItem item, TKey key)
    {
        if (_selected.Count < size)
        {
            _selected.Enqueue(item, key);
        }
        else if (_selected.TryPeek(out _, out var last) && order.Compare(key, last) < 0)
        {
            _selected.DequeueEnqueue(item, key);
        }
    }

    /// <summary>Empties the page; returns its items in order.</summary>
    public TItem[] ToArray()
    {
        var items = new TItem[_selected.Count];
        for (var i = items.Length - 1; i >= 0; i--)
        {
            items[i] = _selected.Dequeue();
        }

        return items;
    }
}

/// <summary>The place of a session in lists, and their cursor.</summary>
/// <param name="Since">When it was opened, in ticks of UTC.</param>
/// <param name="Id">Its id.</param>
internal readonly record struct SessionKey(long Since, string Id)
{
    private const int DigitsOfSince = 16;

    /// <summary>The order of lists.</summary>
    public static readonly IComparer<SessionKey> NewestFirst = Comparer<SessionKey>.Create(
        static (one, other) =>
            one.Since != other.Since ? other.Since.CompareTo(one.Since) : string.CompareOrdinal(other.Id, one.Id)
    );

    public static SessionKey Of(SessionEntry entry) => new(entry.Since.UtcTicks, entry.Session);

    /// <summary>Parses a cursor; null, the beginning of the list, for any other text.</summary>
    public static SessionKey? Parse(string? cursor) =>
        cursor is { Length: > DigitsOfSince }
        && long.TryParse(
            cursor.AsSpan(0, DigitsOfSince),
            NumberStyles.AllowHexSpecifier,
            CultureInfo.InvariantCulture,
            out var since
        )
            ? new SessionKey(since, cursor[DigitsOfSince..])
            : null;

    /// <summary>The cursor behind this session.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Since:x16}{Id}");
}
