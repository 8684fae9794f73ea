namespace Dmb.Webhooks;

/// <summary>
/// Shares <see cref="WebhookTable"/> between nodes, and carries messages to the one node that delivers to a webhook, in
/// order.
/// </summary>
internal interface IWebhookStore
{
    /// <summary>Raised for each message that this node has to deliver.</summary>
    event Action<WebhookMessage>? Received;

    /// <summary>
    /// Raised with the filter of webhooks (by id) that another node delivers to from now on; their queues end.
    /// </summary>
    event Action<Func<string, bool>>? Left;

    /// <summary>Reads the webhook of an id, shared by all nodes; null if there is none.</summary>
    /// <exception cref="Routing.RefusedException">The store is unavailable.</exception>
    ValueTask<Webhook?> FindAsync(string id);

    /// <summary>Registers a webhook on all nodes, or replaces the one with its id.</summary>
    /// <exception cref="Routing.RefusedException">The store is unavailable.</exception>
    ValueTask PutAsync(Webhook webhook);

    /// <summary>Removes a webhook on all nodes; false if there is none with that id.</summary>
    /// <exception cref="Routing.RefusedException">The store is unavailable.</exception>
    ValueTask<bool> RemoveAsync(string id);

    /// <summary>Queues messages for the nodes that deliver to their webhooks.</summary>
    ValueTask EnqueueAsync(IReadOnlyList<WebhookMessage> messages);

    /// <summary>Acknowledges a received message, which needs no further delivery.</summary>
    ValueTask DoneAsync(WebhookMessage message);
}
