using Dmb.Backends;
using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>Registers and removes webhooks, and rotates their secrets.</summary>
internal sealed class WebhookRegistration
{
    /// <summary>How long a replaced secret still signs, besides the new one.</summary>
    public static readonly TimeSpan SecretOverlap = TimeSpan.FromDays(1);

    private readonly WebhookTable _table;
    private readonly IWebhookStore _store;
    private readonly WebhookClient _client;
    private readonly IBackendStore _backends;
    private readonly WebhookOptions _options;
    private readonly TimeProvider _time;

    public WebhookRegistration(
        WebhookTable table,
        IWebhookStore store,
        WebhookClient client,
        IBackendStore backends,
        WebhookOptions options,
        TimeProvider time
    )
    {
        (_table, _store, _client, _backends) = (table, store, client, backends);
        (_options, _time) = (options, time);
        backends.Freed += OnFreed;
    }

    /// <summary>
    /// Registers a webhook after the handshake with its URL. A backend's webhook replaces its previous one, or keeps it
    /// if the URL is equal.
    /// </summary>
    /// <returns>The webhook, and its secret if that is new.</returns>
    /// <exception cref="RefusedException">
    /// The request is invalid or not permitted, the handshake failed, or the limit is reached.
    /// </exception>
    public async Task<(Webhook Webhook, string? NewSecret)> RegisterAsync(
        WebhookRequest request,
        CancellationToken cancellationToken
    )
    {
        var url = request.Check();
        if (request.Backend is not null)
        {
            await _backends.TouchAsync(request.Backend);
        }

        var former = request.Backend is null ? null : _table.OfBackend(request.Backend);
        if (former is null && _table.Count >= _options.MaxWebhooks)
        {
            throw new RefusedException(
                ErrorCode.TooManyEvents,
                $"{_options.MaxWebhooks} webhooks are registered, which is the limit."
            );
        }

        if (former?.Url == url.AbsoluteUri && (request.Secret is null || request.Secret == former.Secrets[0].Text))
        {
            var same = former with { Events = request.Events ?? [], Rooms = request.Rooms ?? [] };
            await _store.PutAsync(same);
            return (same, null);
        }

        await _client.ShakeHandsAsync(url, cancellationToken);
        var secret = request.Secret ?? WebhookSignature.NewSecret();
        var webhook = new Webhook(
            Webhook.NewId(),
            url.AbsoluteUri,
            [.. (request.Events ?? []).Distinct()],
            [.. (request.Rooms ?? []).Distinct()],
            request.Backend,
            [new WebhookSecret(secret)],
            _time.GetUtcNow()
        );
        if (former is not null)
        {
            await _store.RemoveAsync(former.Id);
        }

        await _store.PutAsync(webhook);
        return (webhook, secret);
    }

    /// <summary>Rotates a webhook's secret. Deliveries are signed with both for <see cref="SecretOverlap"/>.</summary>
    /// <exception cref="RefusedException">There is no such webhook, or the secret is invalid.</exception>
    public async Task<Webhook> RotateAsync(string id, string? secret)
    {
        var webhook = _table.Find(id) ?? throw Webhook.Unknown(id);
        if (secret is not null && !WebhookSignature.IsSecret(secret))
        {
            throw new RefusedException(ErrorCode.BadWebhook, WebhookSignature.SecretForm);
        }

        var before = webhook.Secrets[0] with { Until = _time.GetUtcNow() + SecretOverlap };
        var rotated = webhook with { Secrets = [new WebhookSecret(secret ?? WebhookSignature.NewSecret()), before] };
        await _store.PutAsync(rotated);
        return rotated;
    }

    /// <summary>Removes a webhook; its queued messages are not delivered.</summary>
    /// <exception cref="RefusedException">There is no such webhook.</exception>
    public async Task RemoveAsync(string id)
    {
        if (!Webhook.IsId(id) || !await _store.RemoveAsync(id))
        {
            throw Webhook.Unknown(id);
        }
    }

    private void OnFreed(string bkid)
    {
        if (_table.OfBackend(bkid) is { } webhook)
        {
            _ = _store.RemoveAsync(webhook.Id).AsTask().ContinueWith(static task => _ = task.Exception);
        }
    }
}
