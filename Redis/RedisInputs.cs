using System.Threading.Channels;
using Dmb.Routing;
using Dmb.Telemetry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// What programs that have Redis and nothing else say to the broker: pushes, and backends. Every node gets each of them, and
/// one acts; what is none is counted, and logged once a minute.
/// </summary>
internal sealed partial class RedisInputs(
    NotifyInput notify, BackendInput backends, RedisOptions options, RoutingOptions routing, RedisNode node, TimeProvider time, BrokerTelemetry telemetry, ILogger<RedisInputs> logger)
    : BackgroundService
{
    private const int InputsMax = 16_384;
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);

    private readonly Channel<Input> _inputs = Channel.CreateBounded<Input>(new BoundedChannelOptions(InputsMax) { SingleReader = true });
    private readonly Claims _claims = new(node.Channels, time);
    private long _refused;
    private long? _lastWarned;

    private enum Kind
    {
        /// <summary>A push; its name is the event.</summary>
        Notify,

        /// <summary>A backend that wants to be registered, or freed.</summary>
        Register,

        /// <summary>A backend's message; its name is the bkid.</summary>
        Message,
    }

    /// <summary>Subscribes the inputs on a new link.</summary>
    public async Task AttachAsync(RedisLink link, TimeSpan patience, CancellationToken cancellationToken)
    {
        _claims.ListensSinceMs = await link.TimeAsync().WaitAsync(patience, TimeProvider.System, cancellationToken);
        foreach (var pattern in (string[])[node.Channels.NotifyPattern, .. options.NotifyChannels])
        {
            // The event is what the * stands for.
            var literal = pattern.IndexOf('*', StringComparison.Ordinal) is >= 0 and var star ? star : pattern.LastIndexOf(':') + 1;
            await SubscribeAsync(pattern, RedisChannel.PatternMode.Pattern, (channel, body) => Take(Kind.Notify, channel[literal..], body));
        }

        await SubscribeAsync(node.Channels.Register, RedisChannel.PatternMode.Literal, (channel, body) => Take(Kind.Register, channel, body));
        await SubscribeAsync(
            node.Channels.BackendPattern, RedisChannel.PatternMode.Pattern, (channel, body) => Take(Kind.Message, node.Channels.BackendOf(channel), body));

        Task SubscribeAsync(string name, RedisChannel.PatternMode mode, Action<string, byte[]> take) =>
            link.Downlink.SubscribeAsync(new RedisChannel(name, mode), (channel, body) => take(channel!, body!))
                .WaitAsync(patience, TimeProvider.System, cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await foreach (var input in _inputs.Reader.ReadAllAsync(stoppingToken))
        {
            using var receive = input.Kind switch
            {
                Kind.Notify => Tracing.Input("notify:", input.Name),
                Kind.Message => Tracing.Input("bk_message", ""),
                _ => null,
            };
            try
            {
                await ActAsync(input.Kind, input.Name, JsonText.Clean(input.Body, telemetry));
            }
            catch (RefusedException refused)
            {
                Refused(input, refused.Message);
            }
            catch (Exception e) when (RedisUplink.IsAway(e))
            {
                Refused(input, "Redis went away");
            }
            catch (Exception e)
            {
                // Whatever it is, the next input is not to suffer from it.
                telemetry.Dropped("not_understood", 1);
                LogFailed(logger, input.Kind, input.Name, e);
            }
        }
    }

    private Task ActAsync(Kind kind, string name, ReadOnlyMemory<byte> json)
    {
        // A backend is told of its message.
        if (kind != Kind.Message && json.Length > routing.MaxMessageBytes)
        {
            throw new RefusedException(ErrorCode.TooBig, $"it is larger than {routing.MaxMessageBytes} bytes");
        }

        return kind switch
        {
            Kind.Notify => notify.ActAsync(name, json, _claims),
            Kind.Register => backends.RegisterAsync(json, _claims),
            _ => backends.SendAsync(name, json, _claims),
        };
    }

    private void Take(Kind kind, string name, byte[] body)
    {
        if (!_inputs.Writer.TryWrite(new Input(kind, name, body)))
        {
            telemetry.Dropped("inputs_full", 1);
        }
    }

    private void Refused(Input input, string why)
    {
        _refused++;
        telemetry.Dropped("not_understood", 1);
        if (_lastWarned is not { } last || time.GetElapsedTime(last) >= WarningInterval)
        {
            LogRefused(logger, _refused, input.Kind, input.Name, why);
            _refused = 0;
            _lastWarned = time.GetTimestamp();
        }
    }

    [LoggerMessage(3030, LogLevel.Warning, "{Messages} inputs over Redis were refused; the last one, {Kind} '{Name}': {Why}")]
    private static partial void LogRefused(ILogger logger, long messages, Kind kind, string name, string why);

    [LoggerMessage(3031, LogLevel.Error, "Failed on an input over Redis, {Kind} '{Name}'.")]
    private static partial void LogFailed(ILogger logger, Kind kind, string name, Exception exception);

    private readonly record struct Input(Kind Kind, string Name, byte[] Body);
}
