using System.Globalization;
using System.Text;
using System.Threading.Channels;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Redis;

/// <summary>
/// Processes received messages of a group in order, one at a time, on the thread that received them unless an earlier one
/// is still processed: a thread of its own would have to be woken for each. Messages published while the connection was
/// cut are read from the log before later ones are delivered.
/// </summary>
internal sealed partial class RedisReceiver(
    RoutingOptions options,
    MessageLog log,
    RedisChannels channels,
    RedisRooms rooms,
    RoomCounts? counts,
    TimeProvider time,
    BrokerTelemetry telemetry,
    ILogger<RedisReceiver> logger
)
{
    private const int InboundMax = 65_536;

    /// <summary>Maximum bytes that the broker adds to a client's data, as in <c>shouted</c>.</summary>
    private const int WrappingMax = 1_024;
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);

    private readonly Channel<Inbound> _inbound = Channel.CreateBounded<Inbound>(
        new BoundedChannelOptions(InboundMax) { SingleReader = true }
    );

    /// <summary>Whether a thread processes what is inbound; changed atomically.</summary>
    private bool _isProcessing;

    /// <summary>
    /// Messages received after a cut, held until the log is read; null while nothing is held.
    /// </summary>
    private List<ReceivedMessage>? _held;
    private long? _lastWarned;
    private long _notUnderstood;

    /// <summary>Raised when a backend was freed by any node.</summary>
    public event Action<string>? BackendFreed;

    /// <summary>Raised for each received probe, with its number.</summary>
    public event Action<long>? ProbeReceived;

    /// <summary>
    /// Subscribes all rooms on a new link, and holds messages until <see cref="RecoverAsync"/>.
    /// </summary>
    /// <exception cref="RedisUnavailableException">Redis did not answer in time.</exception>
    public async Task AttachAsync(RedisLink link, TimeSpan patience)
    {
        await TakeAsync(new Hold(), link.Gone);
        link.Receive((channel, body) => Take(new ReceivedMessage(link, channels.RoomOf(channel), body)));
        rooms.OnAnyRoom = (channel, body) =>
        {
            // A sharded channel has the messages of all rooms, which they name themselves.
            var room = channels.IsSharded ? null : channels.RoomOf(channel);
            if (room is null || rooms.IsNeededByPattern(link, room))
            {
                Take(new ReceivedMessage(link, room, body));
            }
        };
        void Hear(string channel, byte[] line) => Take(new ReceivedLine(link, line));
        if (channels.IsSharded)
        {
            await link.SubscribeAsync(channels.Node, Hear, patience, SubscriptionKind.Shard);
        }

        foreach (var channel in Lines())
        {
            await link.SubscribeAsync(channel, Hear, patience);
        }

        await rooms.AttachAsync(link, patience);
    }

    /// <summary>Delivers the log's messages since the last received probe, then the held ones.</summary>
    /// <exception cref="RedisUnavailableException">
    /// The log cannot be read; held messages stay held for the next link.
    /// </exception>
    public async Task RecoverAsync(RedisLink link)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await TakeAsync(new Recover(link, done), link.Gone);
        await done.Task.WaitAsync(link.Gone);
    }

    /// <summary>Delivers, on this node only, a message that did not go through Redis; after received ones.</summary>
    public ValueTask DeliverHereAsync(Envelope envelope) =>
        TakeAsync(new LocalMessage(envelope), CancellationToken.None);

    /// <summary>Delivers this node's latest publishes, unless they are received.</summary>
    public void DeliverOwn(IEnumerable<PendingPublish> messages)
    {
        foreach (var message in messages)
        {
            Enqueue(new OwnMessage(message));
        }

        // The caller holds a lock.
        ThreadPool.UnsafeQueueUserWorkItem(static receiver => receiver.Process(), this, preferLocal: false);
    }

    /// <summary>Processes what is inbound, unless another thread does.</summary>
    private void Process()
    {
        if (!Interlocked.Exchange(ref _isProcessing, true))
        {
            _ = ProcessAsync();
        }
    }

    /// <summary>Processes what is inbound; after a wait, on a thread of the pool.</summary>
    private async Task ProcessAsync()
    {
        do
        {
            while (_inbound.Reader.TryRead(out var inbound))
            {
                // One that was received on a connection that has a gap before it is in the log, in order.
                if (inbound is not Received { Link: { IsWhole: false } link })
                {
                    await TryHandleAsync(inbound);
                }
                else
                {
                    link.Lose("the connection for subscriptions was cut");
                }
            }

            Interlocked.Exchange(ref _isProcessing, false);
        } while (_inbound.Reader.TryPeek(out _) && !Interlocked.Exchange(ref _isProcessing, true));
    }

    /// <summary>Handles what is inbound. An error that is not expected is logged, and ends this one alone.</summary>
    private async ValueTask TryHandleAsync(Inbound inbound)
    {
        try
        {
            await HandleAsync(inbound);
        }
        catch (Exception e)
        {
            LogFailed(logger, e);
            (inbound as Recover)?.Done.TrySetException(e);
        }
    }

    /// <summary>
    /// The channels of lines that are not sharded: those of the first group, and for probes this node's.
    /// </summary>
    private string[] Lines() =>
        counts is not null ? [channels.Node, channels.Nodes]
        : channels.IsSharded ? []
        : [channels.Node];

    private async ValueTask HandleAsync(Inbound inbound)
    {
        switch (inbound)
        {
            case ReceivedMessage message when _held is { } held:
                held.Add(message);
                break;
            case ReceivedMessage message:
                await DeliverAsync(message);
                break;
            case ReceivedLine line:
                Read(Encoding.UTF8.GetString(line.Body), line.Link);
                break;
            case LocalMessage local:
                await rooms.DeliverAsync(local.Envelope);
                break;
            case OwnMessage { Message: var own }
                when rooms.IsMissing(own) && Parse(own.Body, room: null, isAgain: true) is { } envelope:
                await rooms.DeliverAgainAsync(envelope);
                break;
            case Hold:
                _held ??= [];
                break;
            case Recover(var link, var done):
                await FillAsync(link, done);
                break;
        }
    }

    /// <summary>
    /// Delivers received messages. Messages that cannot be delivered on this link are read from the log on the next
    /// one, with all earlier ones.
    /// </summary>
    private async ValueTask DeliverAsync(ReceivedMessage message)
    {
        if (Parse(message.Body, message.Room) is not { } envelope)
        {
            return;
        }

        if (message.Room is null && !Array.Exists(envelope.Rooms, room => rooms.IsNeededByPattern(message.Link, room)))
        {
            return;
        }

        try
        {
            await rooms.DeliverAsync(message.Link, envelope);
        }
        catch (RedisUnavailableException e)
        {
            message.Link.Lose($"a message could not be delivered: {e.Why}");
        }
    }

    private async Task FillAsync(RedisLink link, TaskCompletionSource done)
    {
        try
        {
            IReadOnlyList<(RoomRequest Request, RoomHistory History)> histories = [];
            var isMissingSome = await log.IsMissingSomeAsync(link);
            if (isMissingSome || !log.IsProven)
            {
                // Read before the log, so that all newer messages are in the log or are received; what only they have
                // is older.
                histories = await rooms.ReadAsync(link);
            }

            var (bodies, last) = await log.ReadAsync(link);
            var logged = bodies.Select(body => Parse(body, room: null, isAgain: true)).OfType<Envelope>().ToArray();
            var first = logged.Select(message => message.Number).FirstOrDefault(number => number > 0);
            await rooms.DeliverAsync(
                link,
                histories
                    .SelectMany(room => room.History.Messages)
                    .Where(message => first == 0 || message.Number < first)
            );
            foreach (var message in logged)
            {
                await rooms.DeliverAsync(link, message);
            }

            log.MoveTo(last);
            if (isMissingSome)
            {
                LogGap(logger);
            }

            var held = _held ?? [];
            _held = null;
            foreach (var message in held)
            {
                if (Parse(message.Body, message.Room, isAgain: true) is { } envelope)
                {
                    await rooms.DeliverAsync(link, envelope);
                }
            }

            // Messages that are not kept any more, and were the last ones.
            foreach (var (request, history) in histories)
            {
                await rooms.TellGapAsync(request.Room, history.Position with { Seq = history.Position.Seq + 1 });
            }

            done.SetResult();
        }
        catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
        {
            // Held messages stay held, and the log has the rest after the known position: there the next
            // link begins.
            done.SetException(e);
        }
    }

    /// <summary>Parses a message; null if it is invalid or too large, counted and logged once a minute.</summary>
    private Envelope? Parse(byte[] body, string? room, bool isAgain = false)
    {
        if (RedisFormat.Read(body, room, time, out var why) is not { } envelope)
        {
            NotUnderstood(room ?? "", why);
            return null;
        }

        if (envelope.Data.Length > options.MaxMessageBytes + WrappingMax)
        {
            NotUnderstood(room ?? "", $"its data is larger than {options.MaxMessageBytes} bytes");
            return null;
        }

        envelope.IsAgain |= isAgain;
        return envelope;
    }

    private void Read(string line, RedisLink from)
    {
        switch (line.Split(' ', 4))
        {
            case ["probe", var count, var place]
                when long.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                    && MessageLog.IsPlace(place):
                // While messages are held, those before this probe are still to be read from the log, holes and all;
                // and so they are where one could not be delivered, for which the link was given up.
                log.Note(place, isUpToDate: _held is null && from.IsWhole);
                ProbeReceived?.Invoke(number);
                break;
            case ["count", var number, var asker, var room] when rooms.Link is { } link:
                counts?.Answer(link, asker, number, room);
                break;
            case ["sessions", var number, var sessions]:
                counts?.Note(number, sessions);
                break;
            case ["freed", var bkid]:
                BackendFreed?.Invoke(bkid);
                break;
            case ["count", _, _, _]:
                break;
            default:
                NotUnderstood(channels.Node, "it is no line that nodes say to each other");
                break;
        }
    }

    private void Take(Inbound inbound)
    {
        Enqueue(inbound);
        Process();
    }

    private async ValueTask TakeAsync(Inbound inbound, CancellationToken cancellationToken)
    {
        await _inbound.Writer.WriteAsync(inbound, cancellationToken);
        Process();
    }

    private void Enqueue(Inbound inbound)
    {
        if (!_inbound.Writer.TryWrite(inbound))
        {
            // The node receives more than it can deliver: the next link starts again from the log.
            rooms.Link?.Lose($"{InboundMax} messages are waiting to be delivered");
        }
    }

    private void NotUnderstood(string where, string why)
    {
        _notUnderstood++;
        telemetry.Dropped("not_understood", 1);
        if (_lastWarned is not { } last || time.GetElapsedTime(last) >= WarningInterval)
        {
            LogNotUnderstood(logger, _notUnderstood, where, why);
            _notUnderstood = 0;
            _lastWarned = time.GetTimestamp();
        }
    }

    [LoggerMessage(
        3010,
        LogLevel.Warning,
        "{Messages} messages from Redis were no messages; the last one, for '{Where}': {Why}."
    )]
    private static partial void LogNotUnderstood(ILogger logger, long messages, string where, string why);

    [LoggerMessage(3014, LogLevel.Error, "What was received from Redis could not be delivered.")]
    private static partial void LogFailed(ILogger logger, Exception error);

    [LoggerMessage(
        3011,
        LogLevel.Warning,
        "The log in Redis does not have all since the connection was cut: messages may be lost."
    )]
    private static partial void LogGap(ILogger logger);
}
