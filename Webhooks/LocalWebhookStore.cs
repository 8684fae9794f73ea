using System.Collections.Concurrent;
using Dmb.Backends;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Webhooks;

/// <summary>
/// Stores the webhooks and queued messages of a single node in memory, until it stops. Messages are handed over a
/// moment later, so that a delivery takes no processor from the answer to the publish.
/// </summary>
internal sealed class LocalWebhookStore : IWebhookStore, IDisposable
{
    private static readonly TimeSpan Moment = TimeSpan.FromMilliseconds(1);

    /// <summary>Number of messages above which a publish hands them over itself.</summary>
    private const int TakenMax = 1_024;

    private readonly ConcurrentQueue<WebhookMessage> _taken = new();
    private readonly Lock _handing = new();
    private readonly ITimer _timer;
    private int _isDue;
    private readonly WebhookTable _table;
    private readonly TimeProvider _time;

    public LocalWebhookStore(WebhookTable table, LocalBackendStore backends, TimeProvider time)
    {
        (_table, _time) = (table, time);

        // System time, since it only paces.
        _timer = TimeProvider.System.CreateTimer(
            _ => HandOver(),
            null,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan
        );
        backends.Stored += OnStored;
    }

    public event Action<WebhookMessage>? Received;

    /// <summary>Never raised on a single node.</summary>
    public event Action<Func<string, bool>>? Left
    {
        add { }
        remove { }
    }

    public ValueTask<Webhook?> FindAsync(string id) => ValueTask.FromResult(_table.Find(id));

    public ValueTask PutAsync(Webhook webhook)
    {
        _table.Put(webhook);
        return default;
    }

    public ValueTask<bool> RemoveAsync(string id) => ValueTask.FromResult(_table.Remove(id));

    public ValueTask EnqueueAsync(IReadOnlyList<WebhookMessage> messages)
    {
        foreach (var message in messages)
        {
            Take(message);
        }

        return default;
    }

    public ValueTask DoneAsync(WebhookMessage message) => default;

    public void Dispose() => _timer.Dispose();

    /// <summary>Called in the order of a backend's uplink.</summary>
    private void OnStored(string bkid, string user, Envelope uplink)
    {
        if (_table.OfBackend(bkid) is { } webhook)
        {
            var (now, trace) = (_time.GetUtcNow(), Tracing.Carried(uplink.Traceparent));
            Take(new WebhookMessage(webhook.Id, uplink.Id, uplink.Event, user, now, trace, uplink.Data));
        }
    }

    private void Take(WebhookMessage message)
    {
        _taken.Enqueue(message);
        if (_taken.Count > TakenMax)
        {
            HandOver();
        }
        else if (Interlocked.Exchange(ref _isDue, 1) == 0)
        {
            _timer.Change(Moment, Timeout.InfiniteTimeSpan);
        }
    }

    private void HandOver()
    {
        // One at a time, in their order.
        lock (_handing)
        {
            Volatile.Write(ref _isDue, 0);
            while (_taken.TryDequeue(out var message))
            {
                Received?.Invoke(message);
            }
        }
    }
}
