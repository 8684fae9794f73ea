using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using Dmb.Telemetry;
using OpenTelemetry;
using OpenTelemetry.Trace;

namespace Dmb.Tests.Support;

/// <summary>
/// Listens for the span, as the product has OpenTelemetry make it, and the metrics of one request to a node of this
/// process.
/// </summary>
public sealed class RequestObserver : IDisposable
{
    private readonly TracerProvider _spans;
    private readonly EndedSpans _ended = new();
    private readonly MeterListener _metrics = new();
    private readonly SortedSet<string> _seen = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource _span = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _duration = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <param name="meters">The node's.</param>
    /// <param name="port">The node's, which its spans have.</param>
    public RequestObserver(IMeterFactory meters, int port)
    {
        _ended.Ended = span =>
        {
            if (span.GetTagItem("server.port") is int other && other == port)
            {
                var tags = span
                    .TagObjects.Where(tag => tag.Key != "server.port" && tag.Value is not null)
                    .Select(Text)
                    .Order(StringComparer.Ordinal);
                See(
                    $"span {span.OperationName} {span.DisplayName} {span.Kind} {span.Status} {span.ParentId} "
                        + $"{span.TraceStateString} {string.Join(' ', tags)}"
                );
                _span.TrySetResult();
            }
        };
        var spans = Sdk.CreateTracerProviderBuilder();
        TelemetryExport.Trace(spans);
        _spans = spans.AddProcessor(_ended).Build();
        _metrics.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Scope == meters && instrument.Meter.Name == "Microsoft.AspNetCore.Hosting")
            {
                var boundaries = (instrument as Histogram<double>)?.Advice?.HistogramBucketBoundaries ?? [];
                See(
                    $"instrument {instrument.Name} {instrument.Unit} {instrument.Description} "
                        + $"{string.Join(' ', boundaries)}"
                );
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _metrics.SetMeasurementEventCallback<long>(
            (instrument, value, tags, _) => See($"{instrument.Name} {value} {Text(tags)}")
        );
        _metrics.SetMeasurementEventCallback<double>(
            (instrument, _, tags, _) =>
            {
                See($"{instrument.Name} {Text(tags)}");
                _duration.TrySetResult();
            }
        );
        _metrics.Start();
    }

    /// <summary>All that was observed of the request, without what differs each time.</summary>
    public async Task<string[]> ReadAsync()
    {
        await Task.WhenAll(_span.Task, _duration.Task).WaitAsync(Node.Patience);
        lock (_seen)
        {
            return [.. _seen];
        }
    }

    public void Dispose()
    {
        _spans.Dispose();
        _metrics.Dispose();
    }

    private void See(string text)
    {
        lock (_seen)
        {
            _seen.Add(text);
        }
    }

    private static string Text(ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        string.Join(' ', tags.ToArray().Select(Text).Order(StringComparer.Ordinal));

    private static string Text(KeyValuePair<string, object?> tag) =>
        string.Create(CultureInfo.InvariantCulture, $"{tag.Key}={tag.Value}");

    private sealed class EndedSpans : BaseProcessor<Activity>
    {
        public Action<Activity> Ended { get; set; } = static _ => { };

        public override void OnEnd(Activity data) => Ended(data);
    }
}
