using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using Dmb.Backends;
using Dmb.Routing;
using Dmb.Webhooks;
using StackExchange.Redis;

namespace Dmb.Redis;

/// <summary>
/// The webhooks of all nodes: one hash, kept over restarts, and a channel that names one that changed. Messages to them
/// go to one of <see cref="Lanes"/> streams by the webhook's id; <see cref="RedisWebhooks"/> reads them. What can't be
/// written while Redis is away is kept here, and written when it is back.
/// </summary>
internal sealed partial class RedisWebhookStore(
    WebhookTable table,
    RedisNode node,
    RedisConnection connection,
    ILogger<RedisWebhookStore> logger
) : IWebhookStore
{
    /// <summary>Streams that messages are spread over: as many nodes can deliver at a time.</summary>
    public const int Lanes = 16;

    private const int SpoolMax = 10_000;
    private const int DoneMax = 500;

    private readonly ConcurrentQueue<WebhookMessage> _spool = [];
    private readonly RedisWebhookWriter _adding = new(node.Channels, connection);
    private readonly ConcurrentQueue<(int Lane, string Place)> _done = [];
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite }
    );
    private readonly RedisChannels _channels = node.Channels;
    private long _writes;

    public event Action<WebhookMessage>? Received;

    public event Action<Func<string, bool>>? Left;

    /// <summary>The stream of a webhook.</summary>
    public static int LaneOf(string webhook) =>
        int.Parse(webhook.AsSpan(0, 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    /// <summary>Receives changes on a new link, and takes over all webhooks.</summary>
    /// <exception cref="RedisUnavailableException">Redis did not do it in time.</exception>
    public async Task AttachAsync(RedisLink link, TimeSpan patience)
    {
        // What changes while all are read is read again behind them.
        var early = new ConcurrentQueue<string>();
        var isRead = false;
        await link.SubscribeAsync(
            _channels.Webhooks,
            (channel, body) =>
            {
                var id = Encoding.UTF8.GetString(body);
                if (Volatile.Read(ref isRead))
                {
                    _ = ReadAsync(link, id);
                }
                else
                {
                    early.Enqueue(id);
                }
            },
            patience
        );
        Apply(await ReadAllAsync(link, patience));
        Volatile.Write(ref isRead, true);
        while (early.TryDequeue(out var id))
        {
            await ReadAsync(link, id);
        }
    }

    /// <summary>
    /// Takes over all webhooks, on a node that is told of no changes. What was written meanwhile is not undone.
    /// </summary>
    /// <exception cref="RedisUnavailableException">Redis did not do it in time.</exception>
    public async Task RefreshAsync(RedisLink link, TimeSpan patience)
    {
        var writes = Volatile.Read(ref _writes);
        var all = await ReadAllAsync(link, patience);
        if (Volatile.Read(ref _writes) == writes)
        {
            Apply(all);
        }
    }

    public async ValueTask<Webhook?> FindAsync(string id) =>
        Parse(id, await connection.RunAsync(redis => redis.HashGetAsync(_channels.Webhooks, id)));

    public async ValueTask PutAsync(Webhook webhook)
    {
        Interlocked.Increment(ref _writes);
        var json = JsonSerializer.SerializeToUtf8Bytes(webhook, WebhookJson.Wire.Webhook);
        await connection.RunAsync(redis => redis.HashSetAsync(_channels.Webhooks, webhook.Id, json));
        if (webhook.Backend is { } bkid)
        {
            var lane = $"{_channels.WebhookLane(LaneOf(webhook.Id))} {webhook.Id}";
            await connection.RunAsync(redis => redis.HashSetAsync(_channels.Backend(bkid), "webhook", lane));
        }

        table.Put(webhook);
        Interlocked.Increment(ref _writes);
        await connection.RunAsync(redis => redis.PublishAsync(RedisChannel.Literal(_channels.Webhooks), webhook.Id));
    }

    public async ValueTask<bool> RemoveAsync(string id)
    {
        Interlocked.Increment(ref _writes);
        if (table.Find(id) is { Backend: { } bkid })
        {
            await connection.RunAsync(redis => redis.HashDeleteAsync(_channels.Backend(bkid), "webhook"));
        }

        var isRemoved = await connection.RunAsync(redis => redis.HashDeleteAsync(_channels.Webhooks, id));
        table.Remove(id);
        Interlocked.Increment(ref _writes);
        await connection.RunAsync(redis => redis.PublishAsync(RedisChannel.Literal(_channels.Webhooks), id));
        return isRemoved;
    }

    public async ValueTask EnqueueAsync(IReadOnlyList<WebhookMessage> messages)
    {
        if (_spool.IsEmpty)
        {
            try
            {
                await _adding.AddAsync(messages);
                Wake();
                return;
            }
            catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
            {
                // They may have been written: a receiver may get one twice, under one id.
            }
        }

        foreach (var message in messages)
        {
            if (_spool.Count < SpoolMax)
            {
                _spool.Enqueue(message);
            }
            else
            {
                LogLost(logger, message.Id, message.Webhook);
            }
        }
    }

    public ValueTask DoneAsync(WebhookMessage message)
    {
        _done.Enqueue((LaneOf(message.Webhook), message.Place!));
        Wake();
        return default;
    }

    /// <summary>Completes when there may be something to do, or after a while.</summary>
    public async Task WaitAsync(TimeSpan max, CancellationToken cancellationToken)
    {
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        either.CancelAfter(max);
        try
        {
            await _wake.Reader.ReadAsync(either.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            // The while is over.
        }
    }

    /// <summary>Lets <see cref="WaitAsync"/> complete.</summary>
    public void Wake() => _wake.Writer.TryWrite(true);

    /// <summary>Writes what was kept while Redis was away, in its order.</summary>
    /// <exception cref="RedisUnavailableException">What was not written is kept.</exception>
    public async Task SendSpooledAsync()
    {
        while (_spool.TryPeek(out var message))
        {
            await _adding.AddAsync([message]);
            _spool.TryDequeue(out _);
        }
    }

    /// <summary>Takes what is done out of the streams.</summary>
    /// <exception cref="RedisUnavailableException">It stays to be taken out.</exception>
    public async Task AcknowledgeAsync()
    {
        while (!_done.IsEmpty)
        {
            var done = new List<(int Lane, string Place)>();
            while (done.Count < DoneMax && _done.TryDequeue(out var one))
            {
                done.Add(one);
            }

            try
            {
                var lanes = done.GroupBy(one => one.Lane, one => (RedisValue)one.Place).ToArray();
                await connection.RunAsync(
                    RedisScript.WebhookDone,
                    [.. lanes.Select(lane => (RedisKey)_channels.WebhookLane(lane.Key))],
                    [.. lanes.SelectMany(lane => lane.Prepend(lane.Count()))]
                );
            }
            catch (Exception e) when (e is RedisUnavailableException or RedisKeyException)
            {
                done.ForEach(_done.Enqueue);
                throw;
            }
        }
    }

    /// <summary>Hands over an entry of a stream; one of a webhook that is not there is done.</summary>
    public async Task ReceiveAsync(int lane, RedisResult entry)
    {
        var (place, values) = ((string)((RedisResult[])entry!)[0]!, (RedisValue[])((RedisResult[])entry!)[1]!);
        RedisValue webhook = "",
            id = "",
            @event = "",
            subject = "",
            trace = "",
            data = "";
        for (var i = 0; i + 1 < values.Length; i += 2)
        {
            switch ((string?)values[i])
            {
                case "w":
                    webhook = values[i + 1];
                    break;
                case "i":
                    id = values[i + 1];
                    break;
                case "e":
                    @event = values[i + 1];
                    break;
                case "s":
                    subject = values[i + 1];
                    break;
                case "p":
                    trace = values[i + 1];
                    break;
                case "d":
                    data = values[i + 1];
                    break;
            }
        }

        await ReceiveAsync(
            lane,
            new WebhookMessage(
                webhook!,
                id!,
                @event!,
                @event == Backend.Uplink ? UserOf((byte[])data!) : OrNull(subject),
                DateTimeOffset.FromUnixTimeMilliseconds(
                    long.Parse(place.AsSpan(0, place.IndexOf('-')), CultureInfo.InvariantCulture)
                ),
                OrNull(trace),
                (byte[])data!
            )
            {
                Place = place,
            }
        );

        static string? OrNull(RedisValue text) => text.IsNullOrEmpty ? null : (string)text!;
    }

    private async ValueTask ReceiveAsync(int lane, WebhookMessage message)
    {
        var webhook = message.Webhook;
        if (Webhook.IsId(webhook) && table.Find(webhook) is null)
        {
            // It may have been registered just now.
            await ReadAsync(await connection.RequiredAsync(), webhook);
        }

        if (table.Find(webhook) is null)
        {
            _done.Enqueue((lane, message.Place!));
        }
        else
        {
            Received?.Invoke(message);
        }
    }

    /// <summary>Other nodes may deliver to the webhooks of these lanes from now on.</summary>
    public void Leave(IReadOnlyCollection<int> lanes) => Left?.Invoke(webhook => lanes.Contains(LaneOf(webhook)));

    private async Task<HashEntry[]> ReadAllAsync(RedisLink link, TimeSpan patience) =>
        await link.RunAsync(patience, redis => redis.HashGetAllAsync(_channels.Webhooks));

    private void Apply(HashEntry[] all)
    {
        var stored = all.Select(entry => Parse(entry.Name!, entry.Value))
            .OfType<Webhook>()
            .ToDictionary(webhook => webhook.Id);
        foreach (var known in table.All.Where(known => !stored.ContainsKey(known.Id)).ToArray())
        {
            table.Remove(known.Id);
        }

        foreach (var webhook in stored.Values)
        {
            table.Put(webhook);
        }
    }

    private async Task ReadAsync(RedisLink link, string id)
    {
        try
        {
            var json = await link.RunAsync(redis => redis.HashGetAsync(_channels.Webhooks, id));
            if (Parse(id, json) is { } webhook)
            {
                table.Put(webhook);
                Wake();
            }
            else
            {
                table.Remove(id);
            }
        }
        catch (RedisUnavailableException e)
        {
            // The next link takes over all there are.
            link.Lose($"a webhook could not be read: {e.Why}");
        }
    }

    private static Webhook? Parse(string? id, RedisValue json)
    {
        try
        {
            return
                !json.IsNull
                && JsonSerializer.Deserialize((byte[])json!, WebhookJson.Wire.Webhook) is { IsWhole: true } webhook
                && webhook.Id == id
                ? webhook
                : null;
        }
        catch (JsonException)
        {
            // Another program wrote it: it is no webhook.
            return null;
        }
    }

    private static string? UserOf(byte[] uplink)
    {
        try
        {
            return JsonMembers.Read(uplink, 1_002, ErrorCode.BadJson).TextOrNull("user");
        }
        catch (RefusedException)
        {
            return null;
        }
    }

    [LoggerMessage(
        3050,
        LogLevel.Error,
        "Redis is away, and no more messages to webhooks can be kept: {Id} to {Webhook} is lost."
    )]
    private static partial void LogLost(ILogger logger, string id, string webhook);
}
