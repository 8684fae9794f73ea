namespace Dmb.Webhooks;

/// <summary>The state of a webhook's delivery, on the node that delivers to it.</summary>
/// <param name="Webhook">The id of the webhook.</param>
/// <param name="Node">The node.</param>
/// <param name="Messages">Number of queued messages, including the current one.</param>
/// <param name="AgeS">Age of the oldest one in seconds, from its publish; 0 for none.</param>
/// <param name="Breaker"><c>closed</c>, or <c>open</c> while repeated failures suspend delivery.</param>
/// <param name="Failure">The last attempt if it failed; null if it succeeded.</param>
internal sealed record WebhookState(
    string Webhook,
    string Node,
    int Messages,
    double AgeS,
    string Breaker,
    WebhookFailure? Failure
);

/// <summary>A failed attempt to deliver a message.</summary>
/// <param name="Time">When it failed.</param>
/// <param name="Message">The message id.</param>
/// <param name="Attempts">Number of attempts with this message on this node.</param>
/// <param name="Reason">The reason, such as <c>status</c> or <c>timeout</c> (docs/webhooks.md).</param>
/// <param name="Detail">The reason in English.</param>
internal sealed record WebhookFailure(DateTimeOffset Time, string Message, int Attempts, string Reason, string Detail);
