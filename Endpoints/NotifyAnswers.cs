using Dmb.Routing;

namespace Dmb.Endpoints;

/// <summary>Encodes the body and status of a push's response, for Kestrel and the fast path.</summary>
internal static class NotifyAnswers
{
    /// <summary>Maximum bytes of a body.</summary>
    public const int BytesMax = 64 + (6 * Names.MaxIdLength);

    /// <summary>Writes the body, without a serializer on this hot path; returns its length.</summary>
    /// <param name="published">The result of the push.</param>
    /// <param name="target">At least <see cref="BytesMax"/> bytes.</param>
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

    /// <summary>The HTTP status of a result.</summary>
    public static int StatusOf(PublishResult published) =>
        published.Outcome == PublishOutcome.Spooled ? StatusCodes.Status202Accepted : StatusCodes.Status200OK;

    /// <summary>The value of <c>degraded</c> for a message that Redis does not have; else null.</summary>
    public static string? DegradedOf(PublishOutcome outcome) =>
        outcome switch
        {
            PublishOutcome.Spooled => "spooled",
            PublishOutcome.Locally => "local",
            _ => null,
        };
}
