using System.Numerics;

namespace Dmb.Bench.Load;

/// <summary>Counts durations in buckets that are 1.6 % wide, without allocating; the largest is kept exactly.</summary>
internal sealed class Histogram
{
    private readonly long[] _buckets = new long[(64 - 6) * 64];

    public long Count { get; private set; }

    /// <summary>Nanoseconds.</summary>
    public long Max { get; private set; }

    public void Add(long nanoseconds)
    {
        var value = Math.Max(0, nanoseconds);
        var shift = Math.Max(0, BitOperations.Log2((ulong)value) - 6);
        _buckets[(shift << 6) + (int)(value >> shift)]++;
        Count++;
        Max = Math.Max(Max, value);
    }

    /// <summary>Microseconds that this share (0 to 1) of the durations did not exceed.</summary>
    public double Percentile(double share)
    {
        var left = (long)Math.Ceiling(Count * share);
        for (var i = 0; i < _buckets.Length; i++)
        {
            left -= _buckets[i];
            if (left <= 0)
            {
                var shift = Math.Max(0, (i >> 6) - 1);
                return Math.Min(Max, ((long)(i - (shift << 6)) << shift) + (1L << shift) - 1) / 1e3;
            }
        }

        return Max / 1e3;
    }
}
