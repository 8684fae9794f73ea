using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>The body and status of a push's answer, on either way in.</summary>
internal static class NotifyAnswers
{
    /// <summary>Limit of a body in bytes.</summary>
    public const int BytesMax = 64 + (6 * Names.MaxIdLength);

    /// <summary>Writes the body, by hand since there are so many of them; gives its length.</summary>
    /// <param name="published">The result of the push.</param>
    /// <param name="target">Room for <see cref="BytesMax"/>.</param>
    public static int Write(PublishResult published, Span<byte> target)
    {
        var rest = target;
        if (published.Id is { } id)
        {
            JsonText.Put("{\"ok\":true,\"id\":"u8, ref rest);
            rest = rest[JsonText.Quote(id, rest)..];
            JsonText.Put(
                published.Duplicate
                    ? ",\"duplicate\":true}"u8
                    : published.Outcome switch
                    {
                        PublishOutcome.Spooled => ",\"degraded\":\"spooled\"}"u8,
                        PublishOutcome.Locally => ",\"degraded\":\"local\"}"u8,
                        _ => "}"u8,
                    },
                ref rest
            );
        }
        else
        {
            JsonText.Put("{\"ok\":false,\"ignore\":true}"u8, ref rest);
        }

        return target.Length - rest.Length;
    }

    /// <summary>The status.</summary>
    public static int StatusOf(PublishResult published) =>
        published.Outcome == PublishOutcome.Spooled ? StatusCodes.Status202Accepted : StatusCodes.Status200OK;

    /// <summary>What an answer says of a message that Redis does not have; null if it has it.</summary>
    public static string? DegradedOf(PublishOutcome outcome) =>
        outcome switch
        {
            PublishOutcome.Spooled => "spooled",
            PublishOutcome.Locally => "local",
            _ => null,
        };
}
