using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>Filters dead letters by reason and webhook.</summary>
internal sealed record DeadLetterFilter(string? Reason, string? Webhook)
{
    public bool Has(DeadLetter letter) =>
        (Reason is null || letter.Reason == Reason) && (Webhook is null || letter.Webhook == Webhook);
}

/// <summary>Lists dead letters, delivers them again and deletes them.</summary>
internal sealed class DeadLetterReplay(IDeadLetters letters, WebhookTable table, IWebhookStore store, TimeProvider time)
{
    private const int Page = 500;

    /// <summary>The refusal of an unknown id.</summary>
    public static RefusedException Unknown(string id) =>
        new(ErrorCode.UnknownLetter, $"There is no dead letter {id}: it was delivered again, deleted, or is too old.");

    /// <summary>Lists the newest matching letters, at most <paramref name="max"/>.</summary>
    public async Task<List<DeadLetter>> FindAsync(DeadLetterFilter filter, string? before, int max)
    {
        var found = new List<DeadLetter>();
        while (found.Count < max)
        {
            var page = await letters.ReadAsync(before, Page);
            found.AddRange(page.Where(filter.Has).Take(max - found.Count));
            if (page.Count < Page)
            {
                break;
            }

            before = page[^1].Id;
        }

        return found;
    }

    /// <summary>Delivers a letter again, as if it had been published now.</summary>
    /// <exception cref="RefusedException">There is no such letter, or its webhook was removed.</exception>
    public async Task ReplayAsync(string id) => await ReplayAsync(await letters.FindAsync(id) ?? throw Unknown(id));

    /// <summary>Delivers all matching letters again, the oldest first; returns their number.</summary>
    public async Task<int> ReplayAsync(DeadLetterFilter filter)
    {
        var found = await FindAsync(filter, before: null, IDeadLetters.LettersMax);
        var replayed = 0;
        foreach (var letter in found.AsEnumerable().Reverse())
        {
            if (letter.Webhook is null || table.Find(letter.Webhook) is not null)
            {
                await ReplayAsync(letter);
                replayed++;
            }
        }

        return replayed;
    }

    /// <summary>Deletes a letter.</summary>
    /// <exception cref="RefusedException">There is no such letter.</exception>
    public async Task RemoveAsync(string id)
    {
        if (!await letters.RemoveAsync(id))
        {
            throw Unknown(id);
        }
    }

    /// <summary>Deletes all matching letters; returns their number.</summary>
    public async Task<int> RemoveAsync(DeadLetterFilter filter)
    {
        var found = await FindAsync(filter, before: null, IDeadLetters.LettersMax);
        foreach (var letter in found)
        {
            await letters.RemoveAsync(letter.Id);
        }

        return found.Count;
    }

    private async Task ReplayAsync(DeadLetter letter)
    {
        if (letter.Webhook is { } webhook)
        {
            if (table.Find(webhook) is null)
            {
                throw Webhook.Unknown(webhook);
            }

            await store.EnqueueAsync([
                new WebhookMessage(
                    webhook,
                    letter.Message,
                    letter.Event,
                    letter.Subject,
                    time.GetUtcNow(),
                    null,
                    letter.Data
                ),
            ]);
        }
        else
        {
            await letters.RepeatAsync(letter.Channel!, letter.Data);
        }

        await letters.RemoveAsync(letter.Id);
    }
}
