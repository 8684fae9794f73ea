using System.Globalization;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The log of what was published lately, and the place in it up to which this node received everything. The place is
/// the entry of a probe: what was published before a probe is received before it. For one thread.
/// </summary>
internal sealed class MessageLog(RedisOptions options, RedisNode node, TimeProvider time)
{
    private const int Page = 500;

    private readonly string _key = node.Channels.Log;
    private readonly TimeSpan _patience = options.PublishTimeout * 2;
    private readonly long _started = time.GetTimestamp();

    /// <summary>The place up to which everything was received; null before the first probe.</summary>
    private string? _place;

    /// <summary>Whether the last probe could not be written, for want of memory.</summary>
    private bool _isUnwritten;

    /// <summary>Whether a probe behind the place could not be written: messages may be missing there, too.</summary>
    private bool _hasHole;

    /// <summary>
    /// Whether the place is an entry's, which is missing from the log only if later ones may be, too.
    /// </summary>
    public bool IsProven { get; private set; }

    /// <summary>Notes a probe that was received.</summary>
    /// <param name="place">Its entry in the log; empty if there was no memory for it.</param>
    /// <param name="isUpToDate">
    /// Whether everything before it was delivered; else the log is still read from the place before.
    /// </param>
    public void Note(string place, bool isUpToDate)
    {
        _isUnwritten = place.Length == 0;
        _hasHole |= _isUnwritten;
        if (!_isUnwritten && isUpToDate)
        {
            (_place, IsProven, _hasHole) = (place, true, false);
        }
    }

    /// <summary>Whether messages behind the place may be missing in the log.</summary>
    /// <exception cref="RedisUnavailableException">It can't be read.</exception>
    public async Task<bool> IsMissingSomeAsync(RedisLink link)
    {
        _place ??= await StartAsync(link);
        return _hasHole || (IsProven && (await PageAsync(link, _place, _place)).Length == 0);
    }

    /// <summary>The messages behind the place, and the place of the last entry, for <see cref="MoveTo"/>.</summary>
    /// <exception cref="RedisUnavailableException">It can't be read.</exception>
    public async Task<(List<byte[]> Messages, string Last)> ReadAsync(RedisLink link)
    {
        var messages = new List<byte[]>();
        var last = _place ??= await StartAsync(link);
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
    /// Everything up to there was delivered. While there is still no memory, more may be missing behind it.
    /// </summary>
    public void MoveTo(string last)
    {
        IsProven |= last != _place;
        _place = last;
        _hasHole = _isUnwritten;
    }

    /// <summary>Where the log was when this node started, by Redis's clock.</summary>
    private async Task<string> StartAsync(RedisLink link)
    {
        var started = await link.TimeAsync() - (long)time.GetElapsedTime(_started).TotalMilliseconds;
        return string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, started)}-0");
    }

    private async Task<RedisResult[]> PageAsync(RedisLink link, string from, string to) =>
        (RedisResult[])
            (await link.RunAsync(_patience, redis => redis.ExecuteAsync("XRANGE", _key, from, to, "COUNT", Page)))!;
}
