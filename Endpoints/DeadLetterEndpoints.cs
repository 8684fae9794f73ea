using System.Text.Json;
using Dmb.Access;
using Dmb.Webhooks;

namespace Dmb.Endpoints;

/// <summary>A message that was not delivered.</summary>
/// <param name="Id">Its id among the dead letters.</param>
/// <param name="Time">When its delivery was abandoned.</param>
/// <param name="Webhook">The webhook that it was for; null for an input over Redis.</param>
/// <param name="Channel">The Redis channel of an input, or null.</param>
/// <param name="Event">Its event; empty for an input.</param>
/// <param name="Message">The message id; empty for an input.</param>
/// <param name="Subject">The room or user that it is about, or null.</param>
/// <param name="Reason">Why: `status`, `timeout`, … in docs/webhooks.md.</param>
/// <param name="Detail">The reason in English.</param>
/// <param name="Attempts">Number of delivery attempts.</param>
/// <param name="Data">The undelivered data as received; a string if it is not JSON, null if it was too large.</param>
internal sealed record DeadLetterAnswer(
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
    JsonElement Data
)
{
    public static DeadLetterAnswer Of(DeadLetter letter) =>
        new(
            letter.Id,
            letter.Time,
            letter.Webhook,
            letter.Channel,
            letter.Event,
            letter.Message,
            letter.Subject,
            letter.Reason,
            letter.Detail,
            letter.Attempts,
            Parse(letter.Data)
        );

    private static JsonElement Parse(ReadOnlyMemory<byte> data)
    {
        try
        {
            return data.IsEmpty
                ? JsonElement.Parse("null")
                : JsonElement.Parse(data.Span, new JsonDocumentOptions { MaxDepth = 1_002 });
        }
        catch (JsonException)
        {
            return JsonSerializer.SerializeToElement(
                System.Text.Encoding.UTF8.GetString(data.Span),
                ApiJson.Wire.String
            );
        }
    }
}

/// <summary>Dead letters, the newest first.</summary>
/// <param name="Items">The letters.</param>
/// <param name="Next">What `after` takes for more; null at the end.</param>
internal sealed record DeadLettersAnswer(IReadOnlyList<DeadLetterAnswer> Items, string? Next);

/// <summary>The result of a replay.</summary>
/// <param name="Replayed">Number of replayed dead letters.</param>
internal sealed record ReplayedAnswer(int Replayed);

/// <summary>The result of a deletion.</summary>
/// <param name="Deleted">Number of deleted dead letters.</param>
internal sealed record DeletedAnswer(int Deleted);

/// <summary>Maps /dead: lists, replays and deletes dead letters.</summary>
internal static partial class DeadLetterEndpoints
{
    private const string IdExample = "0000000000000001";

    private static readonly QueryParameter Reason = new("reason", "Only those with this reason.");
    private static readonly QueryParameter OfWebhook = new("webhook", "Only those of this webhook.");

    public static void MapDeadLetters(this IEndpointRouteBuilder routes)
    {
        routes
            .MapGet("/dead", ListAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("listDeadLetters")
            .WithSummary("List what could not be delivered, the newest first.")
            .WithMetadata(Reason, OfWebhook, OperatorEndpoints.Limit, OperatorEndpoints.After)
            .Produces<DeadLettersAnswer>()
            .ProducesProblems(400, 401, 403, 503)
            .Requires(Operation.Administer);

        routes
            .MapPost("/dead/replay", ReplayAllAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("replayDeadLetters")
            .WithSummary("Deliver dead letters again, the oldest first.")
            .WithDescription("Those of webhooks that were removed stay.")
            .WithMetadata(Reason, OfWebhook)
            .Produces<ReplayedAnswer>()
            .ProducesProblems(401, 403, 503)
            .Requires(Operation.Administer);

        routes
            .MapPost("/dead/{letter}/replay", ReplayAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("replayDeadLetter")
            .WithSummary("Deliver a dead letter again.")
            .WithMetadata(new RouteExample("letter", IdExample))
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(401, 403, 404, 503)
            .Requires(Operation.Administer);

        routes
            .MapDelete("/dead/{letter}", RemoveAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("deleteDeadLetter")
            .WithSummary("Delete a dead letter.")
            .WithMetadata(new RouteExample("letter", IdExample))
            .Produces(StatusCodes.Status204NoContent)
            .ProducesProblems(401, 403, 404, 503)
            .Requires(Operation.Administer);

        routes
            .MapDelete("/dead", RemoveAllAsync)
            .WithTags(OperatorEndpoints.Tag)
            .WithName("deleteDeadLetters")
            .WithSummary("Delete dead letters.")
            .WithMetadata(Reason, OfWebhook)
            .Produces<DeletedAnswer>()
            .ProducesProblems(401, 403, 503)
            .Requires(Operation.Administer);
    }

    private static async Task<IResult> ListAsync(
        DeadLetterReplay letters,
        string? reason = null,
        string? webhook = null,
        int? limit = null,
        string? after = null
    )
    {
        var max = OperatorEndpoints.LimitOf(limit);
        var found = await letters.FindAsync(new DeadLetterFilter(reason, webhook), after, max + 1);
        return Results.Json(
            new DeadLettersAnswer(
                [.. found.Take(max).Select(DeadLetterAnswer.Of)],
                found.Count > max ? found[max - 1].Id : null
            ),
            ApiJson.Wire.DeadLettersAnswer
        );
    }

    private static async Task<IResult> ReplayAsync(
        HttpContext context,
        string letter,
        DeadLetterReplay letters,
        ILogger<DeadLetterReplay> logger
    )
    {
        await letters.ReplayAsync(letter);
        LogReplayed(logger, context.Caller().Name, 1);
        return Results.NoContent();
    }

    private static async Task<IResult> ReplayAllAsync(
        HttpContext context,
        DeadLetterReplay letters,
        ILogger<DeadLetterReplay> logger,
        string? reason = null,
        string? webhook = null
    )
    {
        var replayed = await letters.ReplayAsync(new DeadLetterFilter(reason, webhook));
        LogReplayed(logger, context.Caller().Name, replayed);
        return Results.Json(new ReplayedAnswer(replayed), ApiJson.Wire.ReplayedAnswer);
    }

    private static async Task<IResult> RemoveAsync(
        HttpContext context,
        string letter,
        DeadLetterReplay letters,
        ILogger<DeadLetterReplay> logger
    )
    {
        await letters.RemoveAsync(letter);
        LogDeleted(logger, context.Caller().Name, 1);
        return Results.NoContent();
    }

    private static async Task<IResult> RemoveAllAsync(
        HttpContext context,
        DeadLetterReplay letters,
        ILogger<DeadLetterReplay> logger,
        string? reason = null,
        string? webhook = null
    )
    {
        var deleted = await letters.RemoveAsync(new DeadLetterFilter(reason, webhook));
        LogDeleted(logger, context.Caller().Name, deleted);
        return Results.Json(new DeletedAnswer(deleted), ApiJson.Wire.DeletedAnswer);
    }

    [LoggerMessage(5013, LogLevel.Information, "{Caller} had {Letters} dead letters delivered again.")]
    private static partial void LogReplayed(ILogger logger, string? caller, int letters);

    [LoggerMessage(5014, LogLevel.Information, "{Caller} deleted {Letters} dead letters.")]
    private static partial void LogDeleted(ILogger logger, string? caller, int letters);
}
