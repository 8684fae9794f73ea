using System.Diagnostics.Tracing;
using System.Globalization;

namespace Dmb.Telemetry;

/// <summary>
/// Logs why telemetry does not reach its collector: one warning for each kind of failure, since an exporter retries for
/// as long as the node runs. OpenTelemetry reports failures to an event source only.
/// </summary>
internal sealed partial class OtlpFailures(ILogger<OtlpFailures> logger) : EventListener
{
    private const string Source = "OpenTelemetry-Exporter-OpenTelemetryProtocol";

    private readonly HashSet<int> _logged = [];

    protected override void OnEventSourceCreated(EventSource eventSource)
    {
        if (eventSource.Name == Source)
        {
            EnableEvents(eventSource, EventLevel.Warning);
        }
    }

    protected override void OnEventWritten(EventWrittenEventArgs eventData)
    {
        lock (_logged)
        {
            if (!_logged.Add(eventData.EventId))
            {
                return;
            }
        }

        LogFailure(logger, Text(eventData.Message ?? eventData.EventName ?? "", [.. eventData.Payload ?? []]));
    }

    /// <summary>The first line of the message with its arguments.</summary>
    private static string Text(string format, object?[] arguments)
    {
        var text = string.Format(CultureInfo.InvariantCulture, format, arguments);
        return text.Split('\n', 2)[0].TrimEnd();
    }

    [LoggerMessage(8001, LogLevel.Warning, "Telemetry is not exported; this is logged once, and tried again: {Why}")]
    private static partial void LogFailure(ILogger logger, string why);
}
