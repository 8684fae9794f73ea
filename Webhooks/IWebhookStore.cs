namespace Dmb.Webhooks;

/// <summary>
/// Shares <see cref="WebhookTable"/> between nodes, and carries messages to the one node that delivers to a webhook, in
/// order.
/// </summary>
internal interface IWebhookStore
{
    /// <summary>Raised with each message that this node has to deliver.</summary>
    event Action<WebhookMessage>? Received;

    /// <summary>
    /// Raised with which webhooks (by id) another node may deliver to from now on: what waits for them is let go.
    /// </summary>
    event Action<Func<string, bool>>? Left;

    /// <summary>The webhook with an id, as all nodes have it, or null.</summary>
    /// <exception cref="Routing.RefusedException">That is not known now.</exception>
    ValueTask<Webhook?> FindAsync(string id);

    /// <summary>Registers a webhook on all nodes, or replaces the one with its id.</summary>
    /// <exception cref="Routing.RefusedException">It can't be stored now.</exception>
    ValueTask PutAsync(Webhook webhook);

    /// <summary>Removes a webhook on all nodes; false if there is none with that id.</summary>
    /// <exception cref="Routing.RefusedException">It can't be removed now.</exception>
    ValueTask<bool> RemoveAsync(string id);

    /// <summary>Hands a message to the node that delivers to its webhook.</summary>
    ValueTask EnqueueAsync(WebhookMessage message);

    /// <summary>A message that was received needs no delivery any more.</summary>
    ValueTask DoneAsync(WebhookMessage message);
}
