using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using Dmb.Routing;
using Dmb.Telemetry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Pushes from programs that have Redis and no HTTP: <c>dmb:notify:{event}</c>, and the patterns of
/// <see cref="BrokerOptions.NotifyChannels"/>. Every node gets each of them, and one acts.
/// </summary>
internal sealed partial class NotifyInputs(
    EventTable events, Publisher publisher, BrokerOptions options, RedisNode node, RedisUplink uplink, TimeProvider time, BrokerTelemetry telemetry,
    ILogger<NotifyInputs> logger)
    : BackgroundService
{
    private const int InputsMax = 10_000;
    private const int CountsMax = 10_000;
    private static readonly TimeSpan Lately = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);

    private readonly Channel<(string Event, byte[] Body)> _inputs =
        Channel.CreateBounded<(string, byte[])>(new BoundedChannelOptions(InputsMax) { SingleReader = true });
    private readonly Dictionary<string, (long Count, long Seen)> _counts = [];
    private long _refused;
    private long? _lastWarned;
    private long _listensSinceMs;

    /// <summary>Subscribes the inputs on a new link.</summary>
    public async Task AttachAsync(RedisLink link, TimeSpan patience, CancellationToken cancellationToken)
    {
        Volatile.Write(ref _listensSinceMs, await link.TimeAsync().WaitAsync(patience, TimeProvider.System, cancellationToken));
        foreach (var pattern in (string[])[node.Channels.NotifyPattern, .. options.NotifyChannels])
        {
            // The event is what the * stands for.
            var literal = pattern.IndexOf('*', StringComparison.Ordinal) is >= 0 and var star ? star : pattern.LastIndexOf(':') + 1;
            await link.Downlink.SubscribeAsync(
                    new RedisChannel(pattern, RedisChannel.PatternMode.Pattern), (channel, body) => Take(((string)channel!)[literal..], body!))
                .WaitAsync(patience, TimeProvider.System, cancellationToken);
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await foreach (var (name, body) in _inputs.Reader.ReadAllAsync(stoppingToken))
        {
            try
            {
                await ActAsync(name, JsonText.Clean(body, telemetry));
            }
            catch (RefusedException refused)
            {
                Refused(name, refused.Message);
            }
        }
    }

    private async Task ActAsync(string name, ReadOnlyMemory<byte> json)
    {
        if (json.Length > options.MaxMessageBytes)
        {
            throw new RefusedException(ErrorCode.TooBig, $"it is larger than {options.MaxMessageBytes} bytes");
        }

        var address = publisher.ReadAddress(json.Span);
        var own = ReadId(json.Span);
        if (publisher.Prepare(events.Find(name), json, address, own) is not { Rooms.Length: > 0 } envelope)
        {
            return;
        }

        var hash = Convert.ToHexStringLower(SHA256.HashData([.. Encoding.UTF8.GetBytes(name + "\n"), .. json.Span])[..16]);
        var count = own is null ? Before(hash) : 0;
        try
        {
            var claim = node.Channels.Claim(own is null ? hash : "id:" + own);
            var body = RedisFormat.Write(envelope, node.Id);
            var (_, seen) = await uplink.PublishOnceAsync(envelope, body, claim, own is null ? count : "id", Lately, Volatile.Read(ref _listensSinceMs));
            count = own is null ? seen - 1 : 0;
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // Nobody can be asked: all nodes act, under one id, so that each session gets it once.
            var id = own ?? string.Create(CultureInfo.InvariantCulture, $"{hash}-{count}");
            await publisher.PublishAsync(events.Find(name), json, address, key: null, id);
        }

        if (own is null)
        {
            _counts[hash] = (count + 1, time.GetTimestamp());
        }
    }

    /// <summary>How often an equal input was seen lately.</summary>
    private long Before(string hash)
    {
        if (_counts.Count >= CountsMax)
        {
            Forget();
        }

        var (count, seen) = _counts.GetValueOrDefault(hash);
        return count > 0 && time.GetElapsedTime(seen) >= Lately ? 0 : count;
    }

    private void Forget()
    {
        foreach (var (hash, (_, seen)) in _counts.ToArray())
        {
            if (time.GetElapsedTime(seen) >= Lately)
            {
                _counts.Remove(hash);
            }
        }

        if (_counts.Count >= CountsMax)
        {
            _counts.Clear();
        }
    }

    /// <summary>The <c>id</c> or <c>nonce</c> that an input brought, if it is a string that can be one.</summary>
    private string? ReadId(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json, publisher.ReaderOptions);
        reader.Read();
        string? found = null;
        while (reader.TokenType is JsonTokenType.StartObject or JsonTokenType.PropertyName || reader.CurrentDepth > 0)
        {
            if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth == 1)
            {
                var isId = JsonText.Is(ref reader, "id"u8) || (found is null && JsonText.Is(ref reader, "nonce"u8));
                reader.Read();
                if (isId && reader.TokenType == JsonTokenType.String && JsonText.Read(ref reader) is { } id && Names.IsId(id))
                {
                    found = id;
                }

                reader.Skip();
            }

            if (!reader.Read())
            {
                break;
            }
        }

        return found;
    }

    private void Take(string name, byte[] body)
    {
        if (!_inputs.Writer.TryWrite((name, body)))
        {
            telemetry.Dropped("inputs_full", 1);
        }
    }

    private void Refused(string name, string why)
    {
        _refused++;
        telemetry.Dropped("not_understood", 1);
        if (_lastWarned is not { } last || time.GetElapsedTime(last) >= WarningInterval)
        {
            LogRefused(logger, _refused, name, why);
            _refused = 0;
            _lastWarned = time.GetTimestamp();
        }
    }

    [LoggerMessage(3030, LogLevel.Warning, "{Messages} pushes over Redis were refused; the last one, for the event '{Event}': {Why}")]
    private static partial void LogRefused(ILogger logger, long messages, string @event, string why);
}
