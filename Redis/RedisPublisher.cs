using Dmb.Backends;
using Dmb.Routing;
using Dmb.Telemetry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// Publishes to a group in Redis, each message within a timeout. While Redis is down, applies the outage policy
/// (docs/protocol.md §8). After an outage, sends again what Redis acknowledged shortly before it, since Redis may have
/// lost it.
/// </summary>
internal sealed partial class RedisPublisher
{
    /// <summary>
    /// Bytes sent again at first before an answer is awaited: more could exceed Redis's output buffer of a subscriber.
    /// </summary>
    private const int FlushBytes = 32_768;

    /// <summary>
    /// Bytes sent again at last, doubled with each answer so that it ends though new messages come meanwhile: Redis has to
    /// answer them within <see cref="RedisOptions.Patience"/>, and each group of each node sends at the same time.
    /// </summary>
    private const int FlushBytesMax = 8 * FlushBytes;

    /// <summary>How long Redis can lose acknowledged publishes if it crashes.</summary>
    private static readonly TimeSpan Unsettled = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private readonly int _group;
    private readonly RedisOptions _options;
    private readonly RedisConnection _connection;
    private readonly PublishCalls _calls;
    private readonly RedisReceiver _receiver;
    private readonly TimeProvider _time;
    private readonly BrokerTelemetry _telemetry;
    private readonly ILogger _logger;
    private readonly Spool _spool;
    private readonly Settling _settling;
    private bool _wasLeft;

    /// <summary>
    /// Other groups log that they are away once for all that share a server, and that they are up for debugging.
    /// </summary>
    private bool IsFirst => _group == 0;

    /// <summary>Completes when the spool was sent; changed under the lock.</summary>
    private TaskCompletionSource? _flushed;

    public RedisPublisher(
        int group,
        RedisOptions options,
        RedisConnection connection,
        PublishCalls calls,
        RedisReceiver receiver,
        SpoolSpace space,
        TimeProvider time,
        BrokerTelemetry telemetry,
        ILogger<RedisPublisher> logger
    )
    {
        _group = group;
        (_options, _connection, _calls, _receiver, _time, _telemetry, _logger) = (
            options,
            connection,
            calls,
            receiver,
            time,
            telemetry,
            logger
        );
        _spool = new Spool(space, options.SpoolTime, time);
        _settling = new Settling(new SpoolSpace(options.SpoolMessages, options.SpoolBytes), Unsettled, time);
    }

    /// <summary>Publishes a message, or applies the outage policy.</summary>
    /// <param name="envelope">The message.</param>
    /// <param name="body">The message as encoded for Redis.</param>
    /// <param name="bkid">The backend that a user's message is for; null for any other message.</param>
    /// <exception cref="RefusedException">
    /// Redis is down and the policy refuses the message, or the backend is not registered.
    /// </exception>
    public async ValueTask<PublishOutcome> PublishAsync(Envelope envelope, byte[] body, string? bkid = null)
    {
        var toBackend = bkid is null
            ? null
            : new UserMessage(bkid, envelope.Id, RedisFormat.DataStart(envelope.Event), envelope.Data.Length);
        var message = new PendingPublish(envelope.Id, envelope.Rooms, body, toBackend) { Since = _time.GetTimestamp() };
        while (true)
        {
            if (await _connection.GetAsync() is { } link)
            {
                try
                {
                    if (!await _calls.SendAsync(link, message))
                    {
                        throw Backend.Unknown(bkid);
                    }

                    envelope.KeptAt = message.Positions;
                    Settle(link, message);
                    return PublishOutcome.Fully;
                }
                catch (RedisUnavailableException e)
                {
                    Leave(link, $"a publish failed: {e.Why}");
                    link.Lose($"a publish failed: {e.Why}");
                }
            }

            switch (_options.Outage)
            {
                case "reject":
                    throw new RedisUnavailableException("publishes are refused");
                case "local":
                    return await HereAsync(envelope, PublishOutcome.Locally);
            }

            if (TryKeep(message))
            {
                return await HereAsync(envelope, PublishOutcome.Spooled);
            }
        }
    }

    /// <summary>
    /// Publishes by a script that begins with a claim (<see cref="PublishCalls.SendOnceAsync"/>); returns its results.
    /// </summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public async Task<RedisResult[]> PublishOnceAsync(
        Envelope envelope,
        byte[] body,
        RedisScript script,
        InputClaim claim,
        RedisKey[] keys,
        RedisValue[] arguments
    )
    {
        var link = await _connection.RequiredAsync();
        var message = new PendingPublish(envelope.Id, envelope.Rooms, body) { Since = _time.GetTimestamp() };
        var (answer, isPublished) = await _calls.SendOnceAsync(link, message, script, claim, keys, arguments);
        if (isPublished)
        {
            envelope.KeptAt = message.Positions;
            Settle(link, message);
        }

        return answer;
    }

    /// <summary>Publishes a message of a node that died, which may have published it.</summary>
    /// <exception cref="RedisUnavailableException">It is not known whether it was published.</exception>
    public async Task PublishAgainAsync(Envelope envelope, byte[] body)
    {
        var message = new PendingPublish(envelope.Id, envelope.Rooms, body) { Since = _time.GetTimestamp() };
        message.MarkSent(seen: 0);
        await SendAgainAsync(await _connection.RequiredAsync(), message);
    }

    /// <summary>
    /// Handles the loss of the link: later publishes are spooled, after recently acknowledged ones were delivered on
    /// this node. Without effect if another link is in use.
    /// </summary>
    public void Leave(RedisLink link, string why)
    {
        lock (_lock)
        {
            if (_connection.Link != link)
            {
                return;
            }

            _connection.Link = null;
            _wasLeft = true;
            _settling.Expire();
            _receiver.DeliverOwn(_settling.ToArray());
        }

        if (IsFirst)
        {
            LogDown(_logger, why, _options.Outage);
        }
    }

    /// <summary>
    /// Sends the spooled messages in order. Resumes direct publishing while the last ones are under way, which later ones
    /// follow on the same connection.
    /// </summary>
    /// <exception cref="RedisUnavailableException">
    /// Redis is unavailable; messages without an answer stay spooled.
    /// </exception>
    public async Task ResumeAsync(RedisLink link)
    {
        PendingPublish[] settling;
        lock (_lock)
        {
            settling = _settling.ToArray();
            foreach (var message in settling)
            {
                // Redis may lose it again, so its age restarts; it stays in its place.
                message.Since = _time.GetTimestamp();
            }
        }

        var bytes = FlushBytes;
        for (var done = 0; done < settling.Length; bytes = Grown(bytes))
        {
            var batch = Spool.Oldest(settling.Skip(done), bytes);
            await SendAgainAsync(link, batch);
            done += batch.Length;
        }

        var sent = 0;
        for (var isLast = false; !isLast; bytes = Grown(bytes))
        {
            PendingPublish[] batch;
            Task sending;
            lock (_lock)
            {
                Expire();
                batch = _spool.Oldest(bytes);
                sending = SendAgainAsync(link, batch);
                isLast = batch.Length == _spool.Count;
                if (isLast)
                {
                    _connection.Link = link;
                }
            }

            try
            {
                await sending;
            }
            catch (RedisUnavailableException e) when (isLast)
            {
                Leave(link, $"a publish failed: {e.Why}");
                throw;
            }

            lock (_lock)
            {
                foreach (var message in batch)
                {
                    _spool.Remove(message);
                    message.Since = _time.GetTimestamp();
                    _settling.Push(message);
                }

                if (_spool.Count == 0)
                {
                    _flushed?.TrySetResult();
                }
            }

            sent += batch.Length;
        }

        if (!IsFirst)
        {
            LogGroupUp(_logger, _group, settling.Length, sent);
        }
        else if (_wasLeft)
        {
            LogUp(_logger, settling.Length, sent);
        }
        else
        {
            LogConnected(_logger, sent);
        }

        static int Grown(int bytes) => Math.Min(2 * bytes, FlushBytesMax);
    }

    /// <summary>
    /// Completes when the spool is empty, or after the given time; messages still spooled are then lost, which is
    /// logged.
    /// </summary>
    public async Task FlushAsync(TimeSpan max, CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            Expire();
            if (_spool.Count == 0)
            {
                return;
            }

            _flushed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            LogFlushing(_logger, _spool.Count, max.TotalSeconds);
        }

        await Task.WhenAny(_flushed.Task, Task.Delay(max, _time, cancellationToken));
        lock (_lock)
        {
            if (_spool.Count > 0)
            {
                _telemetry.Dropped("spool_lost", _spool.Count);
                LogLost(_logger, _spool.Count);
            }
        }
    }

    private async ValueTask<PublishOutcome> HereAsync(Envelope envelope, PublishOutcome outcome)
    {
        envelope.Keep();
        await _receiver.DeliverHereAsync(envelope);
        return outcome;
    }

    /// <summary>Spools a message; false if Redis is up again, so that it can be published directly.</summary>
    private bool TryKeep(PendingPublish message)
    {
        lock (_lock)
        {
            if (_connection.Link is not null)
            {
                return false;
            }

            Expire();
            return _spool.TryInsert(message)
                ? true
                : throw new RefusedException(
                    ErrorCode.BackplaneDown,
                    "Redis is away, and no more messages can be kept."
                );
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

    /// <summary>Sends messages together: each is sent, behind those before it, when this returns.</summary>
    private Task SendAgainAsync(RedisLink link, PendingPublish[] messages) =>
        Task.WhenAll(messages.Select(message => SendAgainAsync(link, message)));

    /// <summary>A message whose room or backend has a key that holds something else is given up.</summary>
    private async Task SendAgainAsync(RedisLink link, PendingPublish message)
    {
        try
        {
            await _calls.SendAsync(link, message, isAgain: true);
        }
        catch (RedisKeyException)
        {
            // Counted and logged by the link; the messages behind it go on.
        }
    }

    /// <summary>Keeps an acknowledged message while Redis could still lose it.</summary>
    private void Settle(RedisLink link, PendingPublish message)
    {
        lock (_lock)
        {
            _settling.Push(message);
            if (_connection.Link != link)
            {
                // The link was lost after the answer: deliver it here, before later publishes.
                _receiver.DeliverOwn([message]);
            }
        }
    }

    /// <summary>Messages that are kept for Redis.</summary>
    public long Spooled
    {
        get
        {
            lock (_lock)
            {
                return _spool.Count;
            }
        }
    }

    [LoggerMessage(3001, LogLevel.Warning, "Redis is away: {Why}. Publishes are treated by DMB_OUTAGE={Outage}.")]
    private static partial void LogDown(ILogger logger, string why, string outage);

    [LoggerMessage(
        3002,
        LogLevel.Information,
        "Redis is back: {Settling} messages of the last seconds and {Spooled} kept ones were sent again."
    )]
    private static partial void LogUp(ILogger logger, int settling, int spooled);

    [LoggerMessage(
        3007,
        LogLevel.Debug,
        "Group {Group} is up: {Settling} messages of the last seconds and {Spooled} kept ones were sent again."
    )]
    private static partial void LogGroupUp(ILogger logger, int group, int settling, int spooled);

    [LoggerMessage(
        3004,
        LogLevel.Information,
        "Connected to Redis; {Spooled} messages that were kept for it were sent."
    )]
    private static partial void LogConnected(ILogger logger, int spooled);

    [LoggerMessage(
        3005,
        LogLevel.Warning,
        "{Messages} messages are kept for Redis: waiting up to {Seconds} s for it before this node stops."
    )]
    private static partial void LogFlushing(ILogger logger, int messages, double seconds);

    [LoggerMessage(
        3006,
        LogLevel.Error,
        "Redis did not come back: {Messages} messages that were kept for it are lost with this node."
    )]
    private static partial void LogLost(ILogger logger, int messages);

    [LoggerMessage(
        3003,
        LogLevel.Warning,
        "Dropped {Messages} messages that were kept for Redis for {Seconds} s: other nodes never got them."
    )]
    private static partial void LogExpired(ILogger logger, int messages, double seconds);
}
