using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace Dmb.Telemetry;

/// <summary>
/// Collects the metrics of GET /metrics: the broker's meter, and some of the runtime's and server's, in Prometheus'
/// text format 0.0.4 with OpenTelemetry's names for it (suffixes for the unit and <c>_total</c>).
/// </summary>
internal sealed class MetricsPage : IDisposable
{
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    /// <summary>Meters shown besides <c>Dmb</c>.</summary>
    private static readonly string[] Others =
    [
        "dotnet.gc.collections",
        "dotnet.gc.heap.total_allocated",
        "dotnet.gc.last_collection.heap.size",
        "dotnet.gc.pause.time",
        "dotnet.process.cpu.time",
        "dotnet.process.memory.working_set",
        "dotnet.thread_pool.queue.length",
        "dotnet.exceptions",
        "kestrel.active_connections",
        "kestrel.queued_connections",
        "kestrel.rejected_connections",
    ];

    private readonly Lock _lock = new();
    private readonly Dictionary<string, MetricFamily> _families = [];
    private readonly MeterListener _listener = new();

    public MetricsPage(IMeterFactory meters)
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            // Meters of another node in the process have another factory; the runtime's have none.
            if (
                (instrument.Meter.Scope is null || instrument.Meter.Scope == meters)
                && (instrument.Meter.Name == "Dmb" || Others.Contains(instrument.Name))
            )
            {
                var family = new MetricFamily(instrument);
                lock (_lock)
                {
                    _families[family.Name] = family;
                }

                listener.EnableMeasurementEvents(instrument, family);
            }
        };
        _listener.SetMeasurementEventCallback<int>(
            static (_, value, tags, family) => ((MetricFamily)family!).Record(value, tags)
        );
        _listener.SetMeasurementEventCallback<long>(
            static (_, value, tags, family) => ((MetricFamily)family!).Record(value, tags)
        );
        _listener.SetMeasurementEventCallback<double>(
            static (_, value, tags, family) => ((MetricFamily)family!).Record(value, tags)
        );
        _listener.Start();
    }

    /// <summary>Writes the current page, in UTF-8.</summary>
    public byte[] Read()
    {
        lock (_lock)
        {
            _listener.RecordObservableInstruments();
            var page = new StringBuilder();
            foreach (var family in _families.Values.OrderBy(family => family.Name, StringComparer.Ordinal))
            {
                family.WriteTo(page);
            }

            return Encoding.UTF8.GetBytes(page.ToString());
        }
    }

    /// <summary>Reads a histogram's buckets, one more than boundaries; empty for an unknown one.</summary>
    /// <param name="name">Its name on the page.</param>
    public (double[] Boundaries, long[] Buckets) ReadHistogram(string name)
    {
        lock (_lock)
        {
            return _families.TryGetValue(name, out var family) ? family.ReadHistogram() : ([], []);
        }
    }

    public void Dispose() => _listener.Dispose();
}

/// <summary>One instrument's series, one per set of labels.</summary>
internal sealed class MetricFamily
{
    /// <summary>Maximum number of series; further sets of labels share one overflow series.</summary>
    private const int SeriesMax = 100;
    private const string Overflow = "otel_metric_overflow=\"true\"";

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Series> _series = [];
    private readonly string _type;
    private readonly string _help;
    private readonly bool _isObserved;
    private readonly double[] _boundaries;
    private readonly Series _plain;

    /// <summary>The labels recorded last, which usually repeat, to reuse their text.</summary>
    private KeyValuePair<string, object?>[] _lastTags = [];
    private Series? _last;

    public MetricFamily(Instrument instrument)
    {
        var isCounter = IsOf(instrument, typeof(Counter<>), typeof(ObservableCounter<>));
        var isHistogram = IsOf(instrument, typeof(Histogram<>));
        _type =
            isCounter ? "counter"
            : isHistogram ? "histogram"
            : "gauge";
        _isObserved = instrument.IsObservable;
        _boundaries = (instrument as Histogram<double>)?.Advice?.HistogramBucketBoundaries?.ToArray() ?? [];
        _help = instrument.Description ?? "";
        _plain = new Series(_boundaries.Length);
        var unit = instrument.Unit switch
        {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        Name = instrument.Name.Replace('.', '_') + unit + (isCounter ? "_total" : "");
    }

    public string Name { get; }

    /// <summary>Records a measurement; without labels it allocates nothing.</summary>
    public void Record(double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.IsEmpty)
        {
            lock (_lock)
            {
                Add(_plain, value);
            }

            return;
        }

        lock (_lock)
        {
            if (_last is null || !AreLast(tags))
            {
                (_lastTags, _last) = (tags.ToArray(), Find(Labels(tags)));
            }

            Add(_last, value);
        }
    }

    /// <summary>The buckets of the series without labels.</summary>
    public (double[] Boundaries, long[] Buckets) ReadHistogram()
    {
        lock (_lock)
        {
            return (_boundaries, [.. _plain.Buckets]);
        }
    }

    /// <summary>Writes the series, and clears those of observable instruments.</summary>
    public void WriteTo(StringBuilder page)
    {
        lock (_lock)
        {
            page.Append("# HELP ")
                .Append(Name)
                .Append(' ')
                .Append(
                    _help.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)
                )
                .Append('\n');
            page.Append("# TYPE ").Append(Name).Append(' ').Append(_type).Append('\n');
            if (_plain.Count > 0 || (_type == "histogram" && _series.Count == 0))
            {
                Write(page, "", _plain);
            }

            foreach (var (labels, series) in _series.OrderBy(entry => entry.Key, StringComparer.Ordinal))
            {
                Write(page, labels, series);
            }

            if (_isObserved)
            {
                _series.Clear();
                _last = null;
                _plain.Clear();
            }
        }
    }

    private Series Find(string labels)
    {
        if (!_series.TryGetValue(labels, out var series))
        {
            labels = _series.Count < SeriesMax ? labels : Overflow;
            _series.TryAdd(labels, new Series(_boundaries.Length));
            series = _series[labels];
        }

        return series;
    }

    private bool AreLast(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.Length != _lastTags.Length)
        {
            return false;
        }

        for (var i = 0; i < tags.Length; i++)
        {
            if (tags[i].Key != _lastTags[i].Key || !Equals(tags[i].Value, _lastTags[i].Value))
            {
                return false;
            }
        }

        return true;
    }

    private void Add(Series series, double value)
    {
        series.Count++;
        series.Sum += value;
        if (_boundaries.Length > 0)
        {
            // A bucket counts values up to its boundary; the last one those above all boundaries.
            var bucket = Array.BinarySearch(_boundaries, value);
            series.Buckets[bucket < 0 ? ~bucket : bucket]++;
        }
    }

    private void Write(StringBuilder page, string labels, Series series)
    {
        if (_type != "histogram")
        {
            WriteLine(page, "", labels, series.Sum);
            return;
        }

        var count = 0L;
        var comma = labels.Length == 0 ? "" : ",";
        for (var i = 0; i < _boundaries.Length; i++)
        {
            count += series.Buckets[i];
            WriteLine(page, "_bucket", $"{labels}{comma}le=\"{Text(_boundaries[i])}\"", count);
        }

        WriteLine(page, "_bucket", $"{labels}{comma}le=\"+Inf\"", series.Count);
        WriteLine(page, "_sum", labels, series.Sum);
        WriteLine(page, "_count", labels, series.Count);
    }

    private void WriteLine(StringBuilder page, string suffix, string labels, double value)
    {
        page.Append(Name).Append(suffix);
        if (labels.Length > 0)
        {
            page.Append('{').Append(labels).Append('}');
        }

        page.Append(' ').Append(Text(value)).Append('\n');
    }

    private static string Labels(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var labels = new StringBuilder();
        foreach (var (name, value) in tags)
        {
            var text = Convert.ToString(value, CultureInfo.InvariantCulture) ?? "";
            labels
                .Append(labels.Length == 0 ? "" : ",")
                .Append(name.Replace('.', '_'))
                .Append("=\"")
                .Append(
                    text.Replace("\\", "\\\\", StringComparison.Ordinal)
                        .Replace("\"", "\\\"", StringComparison.Ordinal)
                        .Replace("\n", "\\n", StringComparison.Ordinal)
                )
                .Append('"');
        }

        return labels.ToString();
    }

    private static string Text(double value) =>
        value switch
        {
            double.PositiveInfinity => "+Inf",
            double.NegativeInfinity => "-Inf",
            _ => value.ToString("R", CultureInfo.InvariantCulture),
        };

    private static bool IsOf(Instrument instrument, params ReadOnlySpan<Type> types) =>
        types.Contains(instrument.GetType().GetGenericTypeDefinition());

    private sealed class Series(int boundaries)
    {
        /// <summary>Non-cumulative counts per bucket, and one for values above all boundaries.</summary>
        public long[] Buckets { get; } = new long[boundaries + 1];

        public long Count { get; set; }

        public double Sum { get; set; }

        public void Clear() => (Count, Sum) = (0, 0);
    }
}
