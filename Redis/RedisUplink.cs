using Dmb.Backends;
using Dmb.Routing;
using Dmb.Telemetry;
using Polly;
using Polly.CircuitBreaker;
using Polly.Timeout;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Towards Redis: publishes and commands, each within a timeout. While Redis is away a publish is treated by the outage
/// policy (docs/protocol.md §8), and no command is waited for.
/// </summary>
internal sealed partial class RedisUplink
{
    private const int LogMessagesMax = 10_000;
    private const int LogMessagesMin = 64;
    private const int LogBytesMax = 16_777_216;
    private const int FlushBatch = 256;

    /// <summary>Bytes sent again before Redis's answer is waited for: more at once may be more than it lets wait for a subscriber.</summary>
    private const int FlushBytesMax = 32_768;

    /// <summary>How long Redis may still lose what it has said yes to, if it dies.</summary>
    private static readonly TimeSpan Unsettled = TimeSpan.FromSeconds(5);

    /// <summary>How long after it was sent the same uplink may be sent again.</summary>
    private static readonly TimeSpan Again = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private readonly RedisOptions _options;
    private readonly BackendOptions _backends;
    private readonly RedisChannels _channels;
    private readonly RedisDownlink _downlink;
    private readonly RedisHistory _history;
    private readonly TimeProvider _time;
    private readonly BrokerTelemetry _telemetry;
    private readonly ILogger _logger;
    private readonly Spool _spool;
    private readonly Spool _settling;
    private readonly CircuitBreakerManualControl _circuit = new(isIsolated: true);
    private readonly ResiliencePipeline _pipeline;

    private bool _wasLeft;

    /// <summary>What waits for all that is kept to be sent; changed under the lock.</summary>
    private TaskCompletionSource? _flushed;

    /// <summary>Where publishes go; null while they are kept. Changed under the lock.</summary>
    private volatile RedisLink? _link;

    public RedisUplink(
        RedisOptions options, BackendOptions backends, RedisNode node, RedisDownlink downlink, RedisHistory history, TimeProvider time, BrokerTelemetry telemetry, ILogger<RedisUplink> logger)
    {
        (_options, _backends, _channels, _downlink, _history, _time, _telemetry, _logger) = (options, backends, node.Channels, downlink, history, time, telemetry, logger);
        _spool = new Spool(options.SpoolMessages, options.SpoolBytes, options.SpoolTime, time);
        _settling = new Spool(options.SpoolMessages, options.SpoolBytes, Unsettled, time);
        _pipeline = new ResiliencePipelineBuilder { TimeProvider = time }
            .AddCircuitBreaker(new CircuitBreakerStrategyOptions { ManualControl = _circuit, MinimumThroughput = 100 })
            .AddTimeout(new TimeoutStrategyOptions { Timeout = options.PublishTimeout })
            .Build();
    }

    /// <summary>Messages kept while Redis is away.</summary>
    public int Spooled
    {
        get
        {
            lock (_lock)
            {
                return _spool.Count;
            }
        }
    }

    /// <summary>Publishes, or does what the outage policy says.</summary>
    /// <exception cref="RefusedException">Redis is away and the message is refused, or there is no such backend.</exception>
    /// <param name="envelope">The message.</param>
    /// <param name="body">The same, as it goes to Redis.</param>
    /// <param name="bkid">The backend whose uplink it is; null for any other message.</param>
    public async ValueTask<Taken> PublishAsync(Envelope envelope, byte[] body, string? bkid = null)
    {
        var uplink = bkid is null ? null : new OutgoingUplink(bkid, envelope.Id, RedisFormat.DataStart(envelope.Event), envelope.Data.Length);
        var message = new Outgoing(envelope.Id, envelope.Rooms, body, _time.GetTimestamp(), uplink);
        while (true)
        {
            if (_link is { } link)
            {
                try
                {
                    var answer = await SendAsync(link, message);
                    if (bkid is not null && (int)answer < 0)
                    {
                        throw Backend.Unknown(bkid);
                    }

                    Settle(link, Placed(message, answer));
                    return Taken.Fully;
                }
                catch (Exception e) when (IsAway(e))
                {
                    message = message with { Place = Outgoing.Unknown };
                    Leave(link, $"a publish failed: {e.Message}");
                    link.Lose($"a publish failed: {e.GetType().Name}");
                }
            }

            switch (_options.Outage)
            {
                case "reject":
                    throw Away();
                case "local":
                    return await HereAsync(envelope, Taken.Locally);
            }

            if (TryKeep(message))
            {
                return await HereAsync(envelope, Taken.Spooled);
            }
        }
    }

    /// <summary>Runs a command within the timeout; at once an exception of <see cref="IsAway"/> while Redis is away.</summary>
    public async Task<T> RunAsync<T>(Func<IDatabase, Task<T>> command)
    {
        var link = _link ?? throw new BrokenCircuitException("Redis is away.");
        return await _pipeline.ExecuteAsync(
            static async (state, token) => await state.command(state.link.Commands).WaitAsync(token), (command, link), link.Gone);
    }

    /// <summary>What is said to whoever asks for what can't be done without Redis.</summary>
    public static RefusedException Away() => new(ErrorCode.BackplaneDown, "Redis is away; try again.");

    /// <summary>Whether an exception says that Redis is away, or doesn't do what it is told.</summary>
    public static bool IsAway(Exception e) =>
        e is RedisException or TimeoutException or BrokenCircuitException or TimeoutRejectedException or ObjectDisposedException or OperationCanceledException;

    /// <summary>
    /// The link is lost: from here on publishes are kept. What Redis said yes to just now is delivered here before them.
    /// Nothing happens when another link is in use meanwhile.
    /// </summary>
    public void Leave(RedisLink link, string why)
    {
        lock (_lock)
        {
            if (_link != link)
            {
                return;
            }

            _link = null;
            _wasLeft = true;
            _ = _circuit.IsolateAsync();
            _settling.Expire();
            _downlink.DeliverOwn(_settling.ToArray());
        }

        LogDown(_logger, why, _options.Outage);
    }

    /// <summary>Sends what was kept, in order, and publishes directly again.</summary>
    /// <exception cref="Exception">One of <see cref="IsAway"/>: what wasn't sent is kept.</exception>
    public async Task ResumeAsync(RedisLink link)
    {
        await _circuit.CloseAsync();
        Outgoing[] settling;
        lock (_lock)
        {
            settling = _settling.ToArray();
        }

        await SendAgainAsync(link, settling);
        var sent = 0;
        while (true)
        {
            Outgoing[] batch;
            lock (_lock)
            {
                Expire();
                batch = [.. _spool.ToArray().Take(FlushBatch)];
                if (batch.Length == 0)
                {
                    _link = link;
                    _flushed?.TrySetResult();
                    break;
                }
            }

            await SendAgainAsync(link, batch);
            lock (_lock)
            {
                foreach (var _ in batch)
                {
                    _spool.Take();
                }
            }

            sent += batch.Length;
        }

        if (_wasLeft)
        {
            LogUp(_logger, settling.Length, sent);
        }
        else
        {
            LogConnected(_logger, sent);
        }
    }

    /// <summary>Completes when nothing is kept for Redis any more, or after that time: what is kept then is lost, and told.</summary>
    public async Task FlushAsync(TimeSpan max, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            Expire();
            if (_link is not null || _spool.Count == 0)
            {
                return;
            }

            _flushed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            LogFlushing(_logger, _spool.Count, max.TotalSeconds);
        }

        await Task.WhenAny(_flushed.Task, Task.Delay(max, _time, cancellationToken));
        lock (_lock)
        {
            if (_link is null && _spool.Count > 0)
            {
                _telemetry.Dropped("spool_lost", _spool.Count);
                LogLost(_logger, _spool.Count);
            }
        }
    }

    /// <summary>Publishes an input that every node has, if no node did yet (<see cref="RedisScripts.PublishOnce"/>); false if one did.</summary>
    /// <exception cref="Exception">One of <see cref="IsAway"/>: it is not known whether it was published.</exception>
    public async Task<bool> PublishOnceAsync(Envelope envelope, byte[] body, Claim claim)
    {
        var message = new Outgoing(envelope.Id, envelope.Rooms, body, _time.GetTimestamp());
        return (int)(await RunOnceAsync(message, RedisScripts.PublishOnce, claim, [], []))[0] == 1;
    }

    /// <summary>
    /// Runs a script that begins with a claim and ends with publishing a message, unless its third answer is no; its last two are the
    /// message's number and place.
    /// </summary>
    /// <exception cref="Exception">One of <see cref="IsAway"/>: it is not known whether it was published.</exception>
    public async Task<RedisResult[]> RunOnceAsync(Outgoing message, string script, Claim claim, RedisKey[] keys, RedisValue[] arguments)
    {
        var link = _link ?? throw new BrokenCircuitException("Redis is away.");
        var answer = (RedisResult[])(await RunAsync(
            link, script, [.. claim.Keys, .. keys, .. _history.Keys(message)], [.. claim.Arguments, .. arguments, .. _history.Arguments(message)]))!;
        claim.Seen = (long)answer[1];
        if ((int)answer[0] == 1 && (int)answer[2] == 1)
        {
            Settle(link, Placed(message, answer[^2], answer[^1]));
        }

        return answer;
    }

    private Task<RedisResult> SendAsync(RedisLink link, Outgoing message)
    {
        if (_history.Keeps(message))
        {
            return RunAsync(link, RedisScripts.PublishKept, _history.Keys(message), _history.Arguments(message));
        }

        var length = LogLength(message.Body);
        if (message.Uplink is not { } uplink)
        {
            return RunAsync(link, RedisScripts.Publish, [_channels.Log], [length, message.Body, .. message.Rooms.Select(room => (RedisValue)_channels.Room(room))]);
        }

        // Lua counts from one, and to the last.
        var (bkid, id, start, bytes) = uplink;
        return RunAsync(
            link,
            RedisScripts.SendUplink,
            [_channels.Log, _channels.BackendUplink(bkid), _channels.Backend(bkid), _channels.Claim(id)],
            [
                length, _backends.UplinkMessages, _channels.Room(message.Rooms[0]), _channels.Uplink, (long)_backends.BackendTtl.TotalMilliseconds,
                message.Body, start + 1, start + bytes, id, (long)Again.TotalMilliseconds,
            ]);
    }

    /// <summary>How many messages the log keeps: fewer while there are large ones.</summary>
    public static long LogLength(byte[] body) => Math.Clamp(LogBytesMax / body.Length, LogMessagesMin, LogMessagesMax);

    /// <summary>The message with the place that Redis has given it, if it is kept.</summary>
    private Outgoing Placed(Outgoing message, RedisResult answer) =>
        _history.Keeps(message) && (RedisResult[])answer! is [var number, var place, ..] ? Placed(message, number, place) : message;

    private Outgoing Placed(Outgoing message, RedisResult number, RedisResult place)
    {
        _history.Saw((long)number);
        return (string?)place is { Length: > 0 } text ? message with { Place = text } : message;
    }

    private async Task<RedisResult> RunAsync(RedisLink link, string script, RedisKey[] keys, RedisValue[] arguments)
    {
        return await _pipeline.ExecuteAsync(
            static async (call, token) => await RedisScripts.RunAsync(call.link.Commands, call.script, call.keys, call.arguments).WaitAsync(token),
            (link, script, keys, arguments),
            link.Gone);
    }

    private async ValueTask<Taken> HereAsync(Envelope envelope, Taken taken)
    {
        envelope.Keep();
        await _downlink.DeliverHereAsync(envelope);
        return taken;
    }

    private void Remember(Outgoing message)
    {
        _settling.Expire();
        while (!_settling.TryAdd(message) && _settling.Count > 0)
        {
            _settling.Take();
        }
    }

    /// <summary>Keeps a message for Redis; false when Redis is back, so that it can go there directly.</summary>
    private bool TryKeep(Outgoing message)
    {
        lock (_lock)
        {
            if (_link is not null)
            {
                return false;
            }

            Expire();
            return _spool.TryAdd(message)
                ? true
                : throw new RefusedException(ErrorCode.BackplaneDown, "Redis is away, and no more messages can be kept.");
        }
    }

    private void Expire()
    {
        if (_spool.Expire() is > 0 and var expired)
        {
            _telemetry.Dropped("spool_expired", expired);
            LogExpired(_logger, expired, _options.SpoolTime.TotalSeconds);
        }
    }

    private async Task SendAgainAsync(RedisLink link, Outgoing[] messages)
    {
        foreach (var batch in Batches(messages))
        {
            var answers = await Task.WhenAll(batch.Select(message => SendAsync(link, message with { Body = RedisFormat.MarkAgain(message.Body) })));
            lock (_lock)
            {
                foreach (var (message, answer) in batch.Zip(answers))
                {
                    Remember(Placed(message, answer) with { Since = _time.GetTimestamp() });
                }
            }
        }
    }

    private static IEnumerable<Outgoing[]> Batches(Outgoing[] messages)
    {
        for (int start = 0, end; start < messages.Length; start = end)
        {
            var bytes = Published(messages[start]);
            for (end = start + 1; end < messages.Length && end - start < FlushBatch && bytes < FlushBytesMax; end++)
            {
                bytes += Published(messages[end]);
            }

            yield return messages[start..end];
        }

        // Once for each room, to a node that has them all.
        static int Published(Outgoing message) => message.Body.Length * message.Rooms.Length;
    }

    /// <summary>Remembers what Redis said yes to, for as long as it may still lose it.</summary>
    private void Settle(RedisLink link, Outgoing message)
    {
        lock (_lock)
        {
            Remember(message);
            if (_link != link)
            {
                // The link was lost between its answer and this: what comes next is delivered here behind it.
                _downlink.DeliverOwn([message]);
            }
        }
    }

    [LoggerMessage(3001, LogLevel.Warning, "Redis is away: {Why}. Publishes are treated by DMB_OUTAGE={Outage}.")]
    private static partial void LogDown(ILogger logger, string why, string outage);

    [LoggerMessage(3002, LogLevel.Information, "Redis is back: {Settling} messages of the last seconds and {Spooled} kept ones were sent again.")]
    private static partial void LogUp(ILogger logger, int settling, int spooled);

    [LoggerMessage(3004, LogLevel.Information, "Connected to Redis; {Spooled} messages that were kept for it were sent.")]
    private static partial void LogConnected(ILogger logger, int spooled);

    [LoggerMessage(3005, LogLevel.Warning, "{Messages} messages are kept for Redis: waiting up to {Seconds} s for it before this node stops.")]
    private static partial void LogFlushing(ILogger logger, int messages, double seconds);

    [LoggerMessage(3006, LogLevel.Error, "Redis did not come back: {Messages} messages that were kept for it are lost with this node.")]
    private static partial void LogLost(ILogger logger, int messages);

    [LoggerMessage(3003, LogLevel.Warning, "Dropped {Messages} messages that were kept for Redis for {Seconds} s: other nodes never got them.")]
    private static partial void LogExpired(ILogger logger, int messages, double seconds);
}
