using System.Diagnostics;
using System.Globalization;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Dmb.Telemetry;

/// <summary>
/// Exports traces, metrics and logs over OTLP with OpenTelemetry.Extensions.Hosting, configured by the standard
/// <c>OTEL_*</c> variables. OpenTelemetry has a container of its own, which is built in the background once the server
/// has started, and flushed and disposed of after all other services have stopped.
/// </summary>
internal sealed partial class TelemetryExport(ILoggerFactory loggers) : IHostedLifecycleService
{
    private static readonly string[] Signals = ["TRACES", "METRICS", "LOGS"];

    /// <summary>Paths of frequent probes, which are not traced.</summary>
    private static readonly string[] Probes = ["/healthz", "/readyz", "/metrics"];

    private readonly ILogger _logger = loggers.CreateLogger<TelemetryExport>();
    private Task<ServiceProvider>? _starting;

    /// <summary>Whether any signal is exported.</summary>
    public static bool IsOn =>
        Array.Exists(Signals, IsExported)
        && !string.Equals(Variable("OTEL_SDK_DISABLED"), "true", StringComparison.OrdinalIgnoreCase);

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken)
    {
        _starting = Task.Run(StartAsync, CancellationToken.None);
        return Task.CompletedTask;
    }

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task StoppedAsync(CancellationToken cancellationToken)
    {
        if (_starting is not null)
        {
            await (await _starting).DisposeAsync();
        }
    }

    /// <summary>
    /// Selects the spans to export: those of messages, and of requests without probes and query strings, which can
    /// contain a token.
    /// </summary>
    public static void Trace(TracerProviderBuilder tracing) =>
        tracing
            .AddSource(Tracing.SourceName)
            .AddAspNetCoreInstrumentation(static requests =>
            {
                requests.Filter = static context => !Array.Exists(Probes, path => context.Request.Path == path);
                requests.EnrichWithHttpRequest = static (span, _) => span.SetTag("url.query", null);
            });

    private async Task<ServiceProvider> StartAsync()
    {
        var services = new ServiceCollection();
        services.AddSingleton(new OtlpFailures(loggers.CreateLogger<OtlpFailures>()));
        var telemetry = services
            .AddOpenTelemetry()
            // The variables take precedence.
            .ConfigureResource(static resource =>
                resource.AddService("dmb", serviceVersion: BuildInfo.Version).AddEnvironmentVariableDetector()
            )
            .UseOtlpExporter();
        if (IsExported("TRACES"))
        {
            var sampler = ReadSampler();
            Tracing.Sampler = (parent, trace) =>
                sampler.ShouldSample(new(parent, trace, "", ActivityKind.Server)).Decision
                == SamplingDecision.RecordAndSample;
            telemetry.WithTracing(tracing =>
            {
                Trace(tracing);
                tracing.SetSampler(sampler);
            });
        }

        if (IsExported("METRICS"))
        {
            telemetry.WithMetrics(static metrics =>
                metrics.AddMeter("Dmb").AddAspNetCoreInstrumentation().AddRuntimeInstrumentation()
            );
        }

        if (IsExported("LOGS"))
        {
            telemetry.WithLogging();
        }

        var provider = services.BuildServiceProvider();
        _ = provider.GetRequiredService<OtlpFailures>();
        foreach (var service in provider.GetServices<IHostedService>())
        {
            await service.StartAsync(CancellationToken.None);
        }

        foreach (var logs in provider.GetServices<ILoggerProvider>())
        {
            loggers.AddProvider(logs);
        }

        LogExported(_logger, string.Join(", ", Signals.Where(IsExported)).ToLowerInvariant());
        return provider;
    }

    /// <summary>
    /// The sampler that <c>OTEL_TRACES_SAMPLER</c> and <c>OTEL_TRACES_SAMPLER_ARG</c> name; as in OpenTelemetry's
    /// specification, the caller's decision, and without one each trace, where they name none.
    /// </summary>
    private static Sampler ReadSampler()
    {
        var isRatio = double.TryParse(
            Variable("OTEL_TRACES_SAMPLER_ARG"),
            NumberStyles.Float,
            CultureInfo.InvariantCulture,
            out var ratio
        );
        var ratioBased = new TraceIdRatioBasedSampler(isRatio && ratio is >= 0 and <= 1 ? ratio : 1);
        return Variable("OTEL_TRACES_SAMPLER")?.ToLowerInvariant() switch
        {
            "always_on" => new AlwaysOnSampler(),
            "always_off" => new AlwaysOffSampler(),
            "traceidratio" => ratioBased,
            "parentbased_always_off" => new ParentBasedSampler(new AlwaysOffSampler()),
            "parentbased_traceidratio" => new ParentBasedSampler(ratioBased),
            _ => new ParentBasedSampler(new AlwaysOnSampler()),
        };
    }

    /// <summary>Whether a signal has an endpoint and is not disabled.</summary>
    private static bool IsExported(string signal) =>
        (Variable("OTEL_EXPORTER_OTLP_ENDPOINT") ?? Variable($"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")) is not null
        && !string.Equals(Variable($"OTEL_{signal}_EXPORTER"), "none", StringComparison.OrdinalIgnoreCase);

    private static string? Variable(string name) =>
        Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    [LoggerMessage(8002, LogLevel.Information, "Exported over OTLP from now on: {Signals}.")]
    private static partial void LogExported(ILogger logger, string signals);
}
