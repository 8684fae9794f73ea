using System.Globalization;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Reads the log of recent publishes, and tracks the entry up to which this node received everything: that of a probe,
/// since a probe arrives after all earlier publishes. Not thread-safe.
/// </summary>
internal sealed class MessageLog(RedisOptions options, RedisChannels channels, TimeProvider time)
{
    private const int Page = 500;

    private readonly string _key = channels.Log;
    private readonly TimeSpan _patience = options.PublishTimeout * 2;
    private readonly long _started = time.GetTimestamp();

    /// <summary>The entry up to which everything was received; null before the first probe.</summary>
    private string? _entry;

    /// <summary>Whether the last probe could not be written because Redis was out of memory.</summary>
    private bool _isUnwritten;

    /// <summary>Whether a probe after the entry could not be written, so that messages may be missing too.</summary>
    private bool _hasHole;

    /// <summary>Whether it is a real entry's id: if that is missing from the log, later ones may be too.</summary>
    public bool IsProven { get; private set; }

    /// <summary>Whether a probe's text is an entry's id (<c>ms-number</c>), or empty.</summary>
    public static bool IsPlace(string text) =>
        text.Length == 0
        || (
            text.Split('-') is [var ms, var number]
            && ulong.TryParse(ms, NumberStyles.None, CultureInfo.InvariantCulture, out _)
            && ulong.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out _)
        );

    /// <summary>Records a received probe.</summary>
    /// <param name="entry">Its entry's id in the log; empty if Redis was out of memory.</param>
    /// <param name="isUpToDate">
    /// Whether everything before it was delivered; if not, the log is still read from the previous entry.
    /// </param>
    public void Note(string entry, bool isUpToDate)
    {
        _isUnwritten = entry.Length == 0;
        _hasHole |= _isUnwritten;
        if (!_isUnwritten && isUpToDate)
        {
            (_entry, IsProven, _hasHole) = (entry, true, false);
        }
    }

    /// <summary>Whether messages after the entry may be missing in the log.</summary>
    /// <exception cref="RedisUnavailableException">It can't be read.</exception>
    public async Task<bool> IsMissingSomeAsync(RedisLink link)
    {
        _entry ??= await StartAsync(link);
        return _hasHole || (IsProven && (await PageAsync(link, _entry, _entry)).Length == 0);
    }

    /// <summary>Reads the messages after the entry, and the last entry's id, for <see cref="MoveTo"/>.</summary>
    /// <exception cref="RedisUnavailableException">It can't be read.</exception>
    public async Task<(List<byte[]> Messages, string Last)> ReadAsync(RedisLink link)
    {
        var messages = new List<byte[]>();
        var last = _entry ??= await StartAsync(link);
        while (true)
        {
            var page = await PageAsync(link, "(" + last, "+");
            foreach (var entry in page)
            {
                var parts = (RedisResult[])entry!;
                last = (string)parts[0]!;
                var fields = (RedisValue[])parts[1]!;
                if (fields[0] == "m")
                {
                    messages.Add(fields[1]!);
                }
            }

            if (page.Length < Page)
            {
                return (messages, last);
            }
        }
    }

    /// <summary>
    /// Records that everything up to an entry was delivered. While Redis is out of memory, later messages may be
    /// missing.
    /// </summary>
    public void MoveTo(string last)
    {
        IsProven |= last != _entry;
        _entry = last;
        _hasHole = _isUnwritten;
    }

    /// <summary>The log's position at the start of this node, by Redis's clock.</summary>
    private async Task<string> StartAsync(RedisLink link)
    {
        var started = await link.TimeAsync() - (long)time.GetElapsedTime(_started).TotalMilliseconds;
        return string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, started)}-0");
    }

    private async Task<RedisResult[]> PageAsync(RedisLink link, string from, string to) =>
        (RedisResult[])
            (await link.RunAsync(_patience, redis => redis.ExecuteAsync("XRANGE", _key, from, to, "COUNT", Page)))!;
}
