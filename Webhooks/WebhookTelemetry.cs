using System.Diagnostics.Metrics;
using Dmb.Telemetry;

namespace Dmb.Webhooks;

/// <summary>Adds the instruments of webhooks to the meter (docs/telemetry.md).</summary>
internal sealed class WebhookTelemetry
{
    private readonly Dictionary<string, Count> _attempts;
    private readonly Dictionary<string, Count> _dead;

    public WebhookTelemetry(BrokerTelemetry telemetry)
    {
        _attempts = Counts("delivered", "failed", "refused", "gone");
        _dead = Counts(
            WebhookReason.Status,
            WebhookReason.Redirect,
            WebhookReason.Timeout,
            WebhookReason.NoAnswer,
            WebhookReason.Tls,
            WebhookReason.ForbiddenAddress,
            WebhookReason.QueueFull,
            WebhookReason.Gone,
            WebhookReason.RefusedInput
        );
        Counter(
            telemetry,
            "dmb.webhook.attempts",
            "{attempt}",
            "Attempts to deliver to webhooks.",
            "outcome",
            _attempts
        );
        Counter(telemetry, "dmb.dead", "{message}", "Messages that became dead letters, by reason.", "reason", _dead);
        telemetry.Meter.CreateObservableGauge(
            "dmb.webhook.queue",
            () => Waiting().Messages,
            "{message}",
            "Messages that wait for webhooks on this node."
        );
        telemetry.Meter.CreateObservableGauge(
            "dmb.webhook.queue.age",
            () => Waiting().Age.TotalSeconds,
            "s",
            "Age of the oldest message that waits for a webhook on this node."
        );
    }

    /// <summary>
    /// Returns the number of queued messages on this node, and the age of the oldest; set by
    /// <see cref="WebhookDelivery"/>.
    /// </summary>
    public Func<(long Messages, TimeSpan Age)> Waiting { get; set; } = static () => default;

    public void Attempted(AttemptKind kind) =>
        _attempts[
            kind switch
            {
                AttemptKind.Delivered => "delivered",
                AttemptKind.Failed => "failed",
                AttemptKind.Refused => "refused",
                _ => "gone",
            }
        ]
            .Add(1);

    /// <param name="reason">One of <see cref="WebhookReason"/>.</param>
    public void Died(string reason) => _dead[reason].Add(1);

    private static Dictionary<string, Count> Counts(params string[] values) =>
        values.ToDictionary(v => v, _ => new Count());

    private static void Counter(
        BrokerTelemetry telemetry,
        string name,
        string unit,
        string description,
        string tag,
        Dictionary<string, Count> counts
    ) =>
        telemetry.Meter.CreateObservableCounter(
            name,
            () =>
                counts.Select(entry => new Measurement<long>(
                    entry.Value.Value,
                    KeyValuePair.Create<string, object?>(tag, entry.Key)
                )),
            unit,
            description
        );
}
