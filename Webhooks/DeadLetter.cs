namespace Dmb.Webhooks;

/// <summary>An undelivered message or input, with the reason.</summary>
/// <param name="Id">Its id, ordered by age; empty before it is stored.</param>
/// <param name="Time">When its delivery was abandoned.</param>
/// <param name="Webhook">The webhook that it was for; null for an input over Redis.</param>
/// <param name="Channel">The Redis channel of an input; null for a webhook.</param>
/// <param name="Event">Its event; empty for an invalid input.</param>
/// <param name="Message">The message id; empty for an input.</param>
/// <param name="Subject">The room or user that it is about, or null.</param>
/// <param name="Reason">One of <see cref="WebhookReason"/>.</param>
/// <param name="Detail">The reason in English.</param>
/// <param name="Attempts">Number of delivery attempts.</param>
/// <param name="Data">The undelivered data as received; empty if it is too large to store.</param>
internal sealed record DeadLetter(
    string Id,
    DateTimeOffset Time,
    string? Webhook,
    string? Channel,
    string Event,
    string Message,
    string? Subject,
    string Reason,
    string Detail,
    int Attempts,
    ReadOnlyMemory<byte> Data
);

/// <summary>
/// Stores the newest dead letters of all nodes: <see cref="LettersMax"/>, fewer while there are large ones.
/// </summary>
internal interface IDeadLetters
{
    /// <summary>Maximum number of letters.</summary>
    const int LettersMax = 10_000;

    /// <summary>Approximate maximum bytes of their data.</summary>
    const int BytesMax = 67_108_864;

    /// <summary>Stores a letter and assigns its id.</summary>
    ValueTask AddAsync(DeadLetter letter);

    /// <summary>Reads the newest letters before an id, or the newest of all.</summary>
    ValueTask<IReadOnlyList<DeadLetter>> ReadAsync(string? before, int max);

    /// <summary>The letter with an id, or null.</summary>
    ValueTask<DeadLetter?> FindAsync(string id);

    /// <summary>Deletes a letter; false if there is none with that id.</summary>
    ValueTask<bool> RemoveAsync(string id);

    /// <summary>Sends an input over Redis again.</summary>
    ValueTask RepeatAsync(string channel, ReadOnlyMemory<byte> body);
}
