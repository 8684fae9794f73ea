namespace Dmb.Webhooks;

/// <summary>A message that was not delivered, and why.</summary>
/// <param name="Id">Its place among the dead letters; a larger one is newer. Empty before it is kept.</param>
/// <param name="Time">When it was given up.</param>
/// <param name="Webhook">The webhook that it was for; null for an input over Redis.</param>
/// <param name="Channel">The Redis channel that an input came on; null for a webhook.</param>
/// <param name="Event">Its event; empty for an input that is none.</param>
/// <param name="Message">The message id; empty for an input.</param>
/// <param name="Subject">The room or user that it is about, or null.</param>
/// <param name="Reason">One of <see cref="WebhookReason"/>.</param>
/// <param name="Detail">The same for people.</param>
/// <param name="Attempts">How often it was tried.</param>
/// <param name="Data">What was not delivered, as it came; empty where it is too large to be kept.</param>
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

/// <summary>The newest dead letters of all nodes: <see cref="LettersMax"/>, fewer while there are large ones.</summary>
internal interface IDeadLetters
{
    /// <summary>How many are kept.</summary>
    const int LettersMax = 10_000;

    /// <summary>Bytes of their data that are kept, about.</summary>
    const int BytesMax = 67_108_864;

    /// <summary>Keeps a letter; its id is given here.</summary>
    ValueTask AddAsync(DeadLetter letter);

    /// <summary>The newest letters that are older than the one with an id, or the newest of all.</summary>
    ValueTask<IReadOnlyList<DeadLetter>> ReadAsync(string? before, int max);

    /// <summary>The letter with an id, or null.</summary>
    ValueTask<DeadLetter?> FindAsync(string id);

    /// <summary>Deletes a letter; false if there is none with that id.</summary>
    ValueTask<bool> RemoveAsync(string id);

    /// <summary>Sends an input over Redis again.</summary>
    ValueTask RepeatAsync(string channel, ReadOnlyMemory<byte> body);
}
