using System.Threading.Channels;
using Dmb.Routing;
using Dmb.Telemetry;
using Dmb.Webhooks;

namespace Dmb.Redis;

/// <summary>
/// Receives inputs from programs that use Redis and not HTTP: pushes and backend messages. Every node receives each
/// input, and one node processes it. Invalid inputs are counted, and logged once a minute.
/// </summary>
internal sealed partial class RedisInputs(
    NotifyInput notify,
    BackendInput backends,
    EmitterInput emitters,
    RedisOptions options,
    RoutingOptions routing,
    RedisNode node,
    TimeProvider time,
    Tail tail,
    IDeadLetters letters,
    WebhookTelemetry webhooks,
    BrokerTelemetry telemetry,
    ILogger<RedisInputs> logger
) : BackgroundService
{
    private const int InputsMax = 16_384;

    /// <summary>The event name that a trace shows for a refused backend message, whose event is unknown.</summary>
    private const string MessageEvent = "bk_message";
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);

    private readonly Channel<Input> _inputs = Channel.CreateBounded<Input>(
        new BoundedChannelOptions(InputsMax) { SingleReader = true }
    );
    private readonly InputCounts _counts = new(node.Channels, time);
    private long _refused;
    private long? _lastWarned;

    private enum Kind
    {
        /// <summary>A push, named by its event.</summary>
        Notify,

        /// <summary>A request to register or free a backend.</summary>
        Register,

        /// <summary>A backend's message, named by its bkid.</summary>
        Message,

        /// <summary>A message of a Socket.IO emitter, named by its channel.</summary>
        Emitter,
    }

    /// <summary>Subscribes the input channels on a new link.</summary>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task AttachAsync(RedisLink link, TimeSpan patience)
    {
        _counts.ListensSinceMs = await link.TimeAsync();

        // What this node has claimed it publishes, or spools, as long as it lives.
        await link.RunAsync(redis => redis.KeyDeleteAsync(node.Channels.NodeInputs(node.Id)));
        foreach (var pattern in (string[])[node.Channels.NotifyPattern, .. options.NotifyChannels])
        {
            // The event is the part matched by the *.
            var literal = pattern.IndexOf('*', StringComparison.Ordinal) is >= 0 and var star
                ? star
                : pattern.LastIndexOf(':') + 1;
            await link.SubscribeAsync(
                pattern,
                (channel, body) => Take(Kind.Notify, channel[literal..], body),
                patience,
                SubscriptionKind.Pattern
            );
        }

        await link.SubscribeAsync(
            node.Channels.Register,
            (channel, body) => Take(Kind.Register, channel, body),
            patience
        );
        await link.SubscribeAsync(
            node.Channels.BackendPattern,
            (channel, body) => Take(Kind.Message, node.Channels.BackendOf(channel), body),
            patience,
            SubscriptionKind.Pattern
        );
        if (options.SocketioEmitter.Length > 0)
        {
            await link.SubscribeAsync(
                EmitterInput.PatternOf(options.SocketioEmitter),
                (channel, body) => Take(Kind.Emitter, channel, body),
                patience,
                SubscriptionKind.Pattern
            );
        }
    }

    /// <summary>Publishes what a node that died has claimed and not published.</summary>
    /// <exception cref="RedisUnavailableException">A group is away; it is tried again.</exception>
    public Task TakeOverAsync(string other) => notify.TakeOverAsync(other);

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
                await ActAsync(
                    input.Kind,
                    input.Name,
                    input.Kind == Kind.Emitter ? input.Body : JsonText.Clean(input.Body, telemetry)
                );
            }
            catch (RedisUnavailableException)
            {
                Refused(input, "Redis went away");
            }
            catch (RefusedException refused)
            {
                if (input.Kind == Kind.Notify)
                {
                    tail.Refused(new Origin(Origin.Redis, Event: input.Name), refused, isOnEveryNode: true);
                }
                else if (input.Kind == Kind.Message)
                {
                    tail.Refused(new Origin(Origin.Backend, input.Name, MessageEvent), refused, isOnEveryNode: true);
                }

                Refused(input, refused.Message);
                await BuryAsync(input, refused.Message);
            }
            catch (Exception e)
            {
                // A failed input must not stop later ones.
                telemetry.Dropped("not_understood", 1);
                LogFailed(logger, input.Kind, input.Name, e);
            }
        }
    }

    private Task ActAsync(Kind kind, string name, ReadOnlyMemory<byte> json)
    {
        // The backend receives the refusal as its ack.
        if (kind != Kind.Message && json.Length > routing.MaxMessageBytes)
        {
            throw new RefusedException(ErrorCode.TooBig, $"it is larger than {routing.MaxMessageBytes} bytes");
        }

        return kind switch
        {
            Kind.Notify => notify.ActAsync(name, json, _counts),
            Kind.Emitter => emitters.ActAsync(name, json, _counts),
            Kind.Register => backends.RegisterAsync(json, _counts),
            _ => backends.SendAsync(name, json, _counts),
        };
    }

    private void Take(Kind kind, string name, byte[] body)
    {
        if (!_inputs.Writer.TryWrite(new Input(kind, name, body)))
        {
            telemetry.Dropped("inputs_full", 1);
        }
    }

    /// <summary>Stores a refused input as a dead letter, once for all nodes.</summary>
    private async Task BuryAsync(Input input, string why)
    {
        webhooks.Died(WebhookReason.RefusedInput);
        var channel = input.Kind switch
        {
            Kind.Notify => node.Channels.Notify(input.Name),
            Kind.Register => node.Channels.Register,
            _ => node.Channels.Backend(input.Name),
        };
        byte[] data = input.Body.Length <= routing.MaxMessageBytes ? input.Body : [];
        try
        {
            await letters.AddAsync(
                new DeadLetter(
                    "",
                    time.GetUtcNow(),
                    null,
                    channel,
                    input.Kind == Kind.Notify ? input.Name : "",
                    "",
                    null,
                    WebhookReason.RefusedInput,
                    why,
                    0,
                    data
                )
            );
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
        {
            // The refusal is counted and logged regardless.
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

    [LoggerMessage(
        3030,
        LogLevel.Warning,
        "{Messages} inputs over Redis were refused; the last one, {Kind} '{Name}': {Why}"
    )]
    private static partial void LogRefused(ILogger logger, long messages, Kind kind, string name, string why);

    [LoggerMessage(3031, LogLevel.Error, "Failed on an input over Redis, {Kind} '{Name}'.")]
    private static partial void LogFailed(ILogger logger, Kind kind, string name, Exception exception);

    private readonly record struct Input(Kind Kind, string Name, byte[] Body);
}
