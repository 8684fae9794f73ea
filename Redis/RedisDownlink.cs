using System.Globalization;
using System.Text;
using System.Threading.Channels;
using Dmb.Routing;
using Dmb.Telemetry;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// From Redis: takes what comes down, in its order. What Redis published while the connection was cut is read from the log before
/// anything later is delivered.
/// </summary>
internal sealed partial class RedisDownlink : BackgroundService
{
    private const int IncomingMax = 65_536;
    private const int LogPage = 500;

    /// <summary>What the broker may have put around a client's data, as in `shouted`.</summary>
    private const int WrappingMax = 1_024;
    private static readonly TimeSpan WarningInterval = TimeSpan.FromMinutes(1);
    private const int BatchMax = 1_000;

    private readonly Channel<Incoming> _incoming = Channel.CreateBounded<Incoming>(new BoundedChannelOptions(IncomingMax) { SingleReader = true });
    private readonly RedisRooms _rooms;
    private readonly RoomCounts _counts;
    private readonly RedisChannels _channels;
    private readonly RedisOptions _options;
    private readonly RoutingOptions _routing;
    private readonly TimeProvider _time;
    private readonly BrokerTelemetry _telemetry;
    private readonly ILogger _logger;

    /// <summary>Messages that came after the connection was cut, until the log was read; null while there is no need to wait.</summary>
    private List<Incoming>? _held;

    /// <summary>The place in the log up to which all came down; null before the first probe did.</summary>
    private string? _position;

    /// <summary>Whether that place is an entry's, which is gone from the log only if later ones may be too.</summary>
    private bool _isProven;

    /// <summary>Whether Redis could not write the last probe into the log, for want of memory.</summary>
    private bool _isUnwritten;

    /// <summary>Whether it could not write any of those behind that place: the log may lack messages there.</summary>
    private bool _hasHole;
    private long _lastWarned;
    private readonly long _started;
    private long _notUnderstood;

    public RedisDownlink(
        RedisOptions options, RoutingOptions routing, RedisNode node, RedisRooms rooms, RoomCounts counts, TimeProvider time, BrokerTelemetry telemetry, ILogger<RedisDownlink> logger)
    {
        (_options, _routing, _channels, _rooms, _counts, _time, _telemetry, _logger) = (options, routing, node.Channels, rooms, counts, time, telemetry, logger);
        _started = time.GetTimestamp();
        _lastWarned = _started - (long)(WarningInterval.TotalSeconds * time.TimestampFrequency);
    }

    /// <summary>Raised when a backend was freed, on any node.</summary>
    public event Action<string>? BackendFreed;

    /// <summary>Raised for each probe that came down, with its count.</summary>
    public event Action<long>? ProbeCame;

    private enum Kind
    {
        /// <summary>A message on a room's channel.</summary>
        Message,

        /// <summary>A line on the node's own channel, or on that of all nodes.</summary>
        Node,

        /// <summary>A message of this node's own, not by way of Redis.</summary>
        Here,

        /// <summary>From now on messages wait for the log.</summary>
        Hold,

        /// <summary>The log is to be read now.</summary>
        Recover,
    }

    /// <summary>Subscribes all rooms on a new link. From here until <see cref="RecoverAsync"/> messages are held.</summary>
    public async Task AttachAsync(RedisLink link, TimeSpan patience, CancellationToken cancellationToken)
    {
        await _incoming.Writer.WriteAsync(new Incoming(Kind.Hold), cancellationToken);
        link.OnMessage = (channel, body) => Take(new Incoming(Kind.Message, _channels.RoomOf(channel!), body!, link));
        void OnNode(RedisChannel channel, RedisValue body) => Take(new Incoming(Kind.Node, Body: body!, State: link));
        await link.Downlink.SubscribeAsync(new RedisChannel(_channels.Node, RedisChannel.PatternMode.Literal), OnNode)
            .WaitAsync(patience, TimeProvider.System, cancellationToken);
        await link.Downlink.SubscribeAsync(new RedisChannel(_channels.Nodes, RedisChannel.PatternMode.Literal), OnNode)
            .WaitAsync(patience, TimeProvider.System, cancellationToken);
        await _rooms.AttachAsync(link, patience, cancellationToken);
    }

    /// <summary>Delivers what the log has since the last probe that came down, and then what was held.</summary>
    public async Task RecoverAsync(RedisLink link, CancellationToken cancellationToken)
    {
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await _incoming.Writer.WriteAsync(new Incoming(Kind.Recover, State: (link, done)), cancellationToken);
        await done.Task.WaitAsync(cancellationToken);
    }

    /// <summary>Delivers a message here that could not go through Redis, behind what came down before.</summary>
    public ValueTask DeliverHereAsync(Envelope envelope) => _incoming.Writer.WriteAsync(new Incoming(Kind.Here, State: envelope));

    /// <summary>Delivers what this node published just now, should it not have come down.</summary>
    public void DeliverOwn(IEnumerable<Outgoing> messages)
    {
        foreach (var message in messages)
        {
            Take(new Incoming(Kind.Here, Body: message.Body, State: message));
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var batch = new List<Incoming>();
        while (await _incoming.Reader.WaitToReadAsync(stoppingToken))
        {
            while (batch.Count < BatchMax && _incoming.Reader.TryRead(out var incoming))
            {
                batch.Add(incoming);
            }

            // Asked once they are here: one that came on another socket, past a gap, shows by now. The log has it, in order.
            (RedisLink? Link, bool IsWhole) asked = default;
            foreach (var incoming in batch)
            {
                if (incoming.State is RedisLink link && link != asked.Link)
                {
                    asked = (link, link.IsWhole);
                }

                if (incoming.State is not RedisLink || asked.IsWhole)
                {
                    await HandleAsync(incoming);
                }
                else
                {
                    asked.Link!.Lose("the downlink was cut");
                }
            }

            batch.Clear();
        }
    }

    private async ValueTask HandleAsync(Incoming incoming)
    {
        switch (incoming.Kind)
        {
            case Kind.Message when _held is { } held:
                held.Add(incoming);
                break;
            case Kind.Message or Kind.Here:
                await DeliverAsync(incoming);
                break;
            case Kind.Node:
                Read(Encoding.UTF8.GetString(incoming.Body!), (RedisLink)incoming.State!);
                break;
            case Kind.Hold:
                _held ??= [];
                break;
            case Kind.Recover:
                var (link, done) = ((RedisLink, TaskCompletionSource))incoming.State!;
                await FillAsync(link, done);
                break;
        }
    }

    private async Task FillAsync(RedisLink link, TaskCompletionSource done)
    {
        try
        {
            IReadOnlyList<(RoomRequest Request, RoomHistory History)> histories = [];
            var position = _position ??= await StartAsync(link);
            var mayLack = _hasHole || (_isProven && (await PageAsync(link, position, position)).Length == 0);
            if (mayLack || !_isProven)
            {
                // Read before the log, so that all that is newer is in the log or comes down; what only they have is older.
                histories = await _rooms.ReadAsync(link);
            }

            var (logged, last) = await ReadLogAsync(link, position);
            var first = logged.Select(body => RedisFormat.Read(body, null, _time, out _)?.Number ?? 0).FirstOrDefault(number => number > 0);
            await _rooms.DeliverAsync(link, histories.SelectMany(room => room.History.Messages).Where(message => first == 0 || message.Number < first));
            foreach (var body in logged)
            {
                await DeliverAsync(new Incoming(Kind.Here, Body: body), link);
            }

            _isProven |= last != position;
            _position = last;

            // What was lost up to here is told once; without memory as before, more may be lost behind it.
            _hasHole = _isUnwritten;
            if (mayLack)
            {
                LogGap(_logger);
            }

            var held = _held ?? [];
            _held = null;
            foreach (var incoming in held)
            {
                await DeliverAsync(incoming, link);
            }

            // Of what is kept no more, and had nothing behind it.
            foreach (var (request, history) in histories)
            {
                await _rooms.TellGapAsync(request.Room, history.Position with { Seq = history.Position.Seq + 1 });
            }

            done.SetResult();
        }
        catch (Exception e) when (RedisUplink.IsAway(e))
        {
            // What is still held stays held, and the log has the rest, behind the place that is known: there the next link begins.
            done.SetException(e);
        }
    }

    /// <summary>The messages that the log has behind a place, at most as many as it keeps, and the place of the last entry.</summary>
    private async Task<(List<byte[]> Messages, string Last)> ReadLogAsync(RedisLink link, string position)
    {
        var messages = new List<byte[]>();
        while (true)
        {
            var page = await PageAsync(link, "(" + position, "+");
            foreach (var entry in page)
            {
                var parts = (RedisResult[])entry!;
                position = (string)parts[0]!;
                var fields = (RedisValue[])parts[1]!;
                if (fields[0] == "m")
                {
                    messages.Add(fields[1]!);
                }
            }

            if (page.Length < LogPage)
            {
                return (messages, position);
            }
        }
    }

    /// <summary>Where the log was when this node started, by Redis's clock.</summary>
    private async Task<string> StartAsync(RedisLink link)
    {
        var now = await link.TimeAsync().WaitAsync(_options.PublishTimeout, TimeProvider.System, link.Gone);
        var started = now - (long)_time.GetElapsedTime(_started).TotalMilliseconds;
        return string.Create(CultureInfo.InvariantCulture, $"{Math.Max(0, started)}-0");
    }

    private async Task<RedisResult[]> PageAsync(RedisLink link, string from, string to)
    {
        return (RedisResult[])(await link.Commands.ExecuteAsync("XRANGE", _channels.Log, from, to, "COUNT", LogPage)
            .WaitAsync(_options.PublishTimeout * 2, TimeProvider.System, link.Gone))!;
    }

    /// <summary>Delivers what came down, or, while a link is brought up to date, what was missed before.</summary>
    /// <exception cref="Exception">One of <see cref="RedisUplink.IsAway"/>: that link is gone, and the message was not delivered.</exception>
    private async ValueTask DeliverAsync(Incoming incoming, RedisLink? filling = null)
    {
        var why = "";
        if ((incoming.State as Envelope ?? RedisFormat.Read(incoming.Body!, incoming.Room, _time, out why)) is not { } envelope)
        {
            NotUnderstood(incoming.Room ?? "", why);
        }
        else if (incoming.State is Outgoing own && !_rooms.Lacks(own))
        {
            // It came down, or nobody was here to get it.
        }
        else if (envelope.Data.Length > _routing.MaxMessageBytes + WrappingMax)
        {
            NotUnderstood(incoming.Room ?? "", $"its data is larger than {_routing.MaxMessageBytes} bytes");
        }
        else if ((filling ?? incoming.State as RedisLink) is not { } link)
        {
            await _rooms.DeliverAsync(envelope);
        }
        else
        {
            try
            {
                await _rooms.DeliverAsync(link, envelope);
            }
            catch (Exception e) when (filling is null && RedisUplink.IsAway(e))
            {
                // The next link reads it, and what is missing before it.
                link.Lose($"a message could not be delivered: {e.Message}");
            }
        }
    }

    private void Read(string line, RedisLink from)
    {
        switch (line.Split(' ', 4))
        {
            case ["probe", var count, var position] when long.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out var number):
                _isUnwritten = position.Length == 0;
                _hasHole |= _isUnwritten;

                // While messages are held, what came down before this is still to be read from the log, holes and all; and so it is where
                // one that came down could not be delivered, for which the link was given up.
                if (!_isUnwritten && _held is null && from.IsWhole)
                {
                    _position = position;
                    _isProven = true;
                    _hasHole = false;
                }

                ProbeCame?.Invoke(number);
                break;
            case ["count", var number, var node, var room] when _rooms.Link is { } link:
                _counts.Answer(link, node, number, room);
                break;
            case ["sessions", var number, var sessions]:
                _counts.Hear(number, sessions);
                break;
            case ["freed", var bkid]:
                BackendFreed?.Invoke(bkid);
                break;
            case ["count", _, _, _]:
                break;
            default:
                NotUnderstood(_channels.Node, "it is no line that nodes say to each other");
                break;
        }
    }

    private void Take(Incoming incoming)
    {
        if (!_incoming.Writer.TryWrite(incoming))
        {
            // More than this node can deliver came down: start again from the log.
            _rooms.Link?.Lose($"{IncomingMax} messages are waiting to be delivered");
        }
    }

    /// <summary>Counts what is no message, and logs it once a minute.</summary>
    private void NotUnderstood(string where, string why)
    {
        _notUnderstood++;
        _telemetry.Dropped("not_understood", 1);
        if (_time.GetElapsedTime(_lastWarned) >= WarningInterval)
        {
            LogNotUnderstood(_logger, _notUnderstood, where, why);
            _notUnderstood = 0;
            _lastWarned = _time.GetTimestamp();
        }
    }

    [LoggerMessage(3010, LogLevel.Warning, "{Messages} messages from Redis were no messages; the last one, for '{Where}': {Why}.")]
    private static partial void LogNotUnderstood(ILogger logger, long messages, string where, string why);

    [LoggerMessage(3011, LogLevel.Warning, "The log in Redis does not have all since the connection was cut: messages may be lost.")]
    private static partial void LogGap(ILogger logger);

    private readonly record struct Incoming(Kind Kind, string? Room = null, byte[]? Body = null, object? State = null);
}
