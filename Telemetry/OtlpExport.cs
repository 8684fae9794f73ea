using OpenTelemetry;
using OpenTelemetry.Logs;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Dmb.Telemetry;

/// <summary>
/// Exports traces, metrics and logs over OTLP, configured by the standard <c>OTEL_*</c> variables; off without an
/// endpoint. Starts after the server, and flushes and stops after all other services.
/// </summary>
internal sealed class OtlpExport(ILoggerFactory loggers) : IHostedLifecycleService, IDisposable
{
    private OpenTelemetrySdk? _sdk;
    private OtlpFailures? _failures;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken)
    {
        var (traces, metrics, logs) = (Wants("TRACES"), Wants("METRICS"), Wants("LOGS"));
        if (
            (traces || metrics || logs)
            && !string.Equals(Variable("OTEL_SDK_DISABLED"), "true", StringComparison.OrdinalIgnoreCase)
        )
        {
            Start(traces, metrics, logs);
        }

        return Task.CompletedTask;
    }

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken)
    {
        Dispose();
        return Task.CompletedTask;
    }

    public void Dispose()
    {
        _sdk?.Dispose();
        _failures?.Dispose();
        (_sdk, _failures) = (null, null);
    }

    private void Start(bool traces, bool metrics, bool logs)
    {
        _failures = new OtlpFailures(loggers.CreateLogger<OtlpFailures>());
        _sdk = OpenTelemetrySdk.Create(builder =>
        {
            // The variables take precedence.
            builder.ConfigureResource(resource =>
                resource.AddService("dmb", serviceVersion: BuildInfo.Version).AddEnvironmentVariableDetector()
            );
            builder.UseOtlpExporter();
            if (traces)
            {
                builder.WithTracing(tracing => tracing.AddSource(Tracing.SourceName, "Microsoft.AspNetCore"));
            }

            if (metrics)
            {
                builder.WithMetrics(all =>
                    all.AddMeter(
                        "Dmb",
                        "System.Runtime",
                        "Microsoft.AspNetCore.Hosting",
                        "Microsoft.AspNetCore.Server.Kestrel"
                    )
                );
            }
        });

        // Reading the properties creates the providers.
        _ = (_sdk.TracerProvider, _sdk.MeterProvider);
        if (logs)
        {
            loggers.AddProvider(new Logs(_sdk.GetLoggerFactory()));
        }
    }

    /// <summary>Whether a signal has an endpoint and is not disabled.</summary>
    private static bool Wants(string signal) =>
        (Variable("OTEL_EXPORTER_OTLP_ENDPOINT") ?? Variable($"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")) is not null
        && !string.Equals(Variable($"OTEL_{signal}_EXPORTER"), "none", StringComparison.OrdinalIgnoreCase);

    private static string? Variable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    /// <summary>Forwards log lines to the collector, with the current trace.</summary>
    private sealed class Logs(ILoggerFactory export) : ILoggerProvider
    {
        public ILogger CreateLogger(string categoryName) => export.CreateLogger(categoryName);

        public void Dispose()
        {
            // The exporter is disposed by its owner.
        }
    }
}
