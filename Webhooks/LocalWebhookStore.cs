using Dmb.Backends;
using Dmb.Routing;
using Dmb.Telemetry;

namespace Dmb.Webhooks;

/// <summary>Stores the webhooks and queued messages of a single node in memory, until it stops.</summary>
internal sealed class LocalWebhookStore : IWebhookStore
{
    private readonly WebhookTable _table;
    private readonly TimeProvider _time;

    public LocalWebhookStore(WebhookTable table, LocalBackendStore backends, TimeProvider time)
    {
        (_table, _time) = (table, time);
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

    public ValueTask EnqueueAsync(WebhookMessage message)
    {
        Received?.Invoke(message);
        return default;
    }

    public ValueTask DoneAsync(WebhookMessage message) => default;

    /// <summary>Called in the order of a backend's uplink.</summary>
    private void OnStored(string bkid, string user, Envelope uplink)
    {
        if (_table.OfBackend(bkid) is { } webhook)
        {
            var (now, trace) = (_time.GetUtcNow(), Tracing.Carried(uplink.Traceparent));
            Received?.Invoke(new WebhookMessage(webhook.Id, uplink.Id, uplink.Event, user, now, trace, uplink.Data));
        }
    }
}
