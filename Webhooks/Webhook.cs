using System.Buffers;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>A webhook: a URL that messages are posted to.</summary>
/// <param name="Id">Its id: 128 random bits as 32 of 0-9 a-f.</param>
/// <param name="Url">The URL to post to.</param>
/// <param name="Events">Events whose messages it receives, in any room.</param>
/// <param name="Rooms">Rooms whose messages it receives.</param>
/// <param name="Backend">The bkid of the backend whose uplinks it receives, or null.</param>
/// <param name="Secrets">The signing secrets, the newest first; expired ones are not used.</param>
/// <param name="Created">When it was registered.</param>
internal sealed record Webhook(
    string Id,
    string Url,
    string[] Events,
    string[] Rooms,
    string? Backend,
    WebhookSecret[] Secrets,
    DateTimeOffset Created
)
{
    private const int IdBytes = 16;
    private static readonly SearchValues<char> Hexadecimal = SearchValues.Create("0123456789abcdef");

    /// <summary>Whether all members have their form: another program may have written it.</summary>
    [JsonIgnore]
    public bool IsWhole =>
        IsId(Id)
        && Uri.TryCreate(Url, UriKind.Absolute, out _)
        && Events is not null
        && Array.TrueForAll(Events, name => Names.IsEvent(name))
        && Rooms is not null
        && Array.TrueForAll(Rooms, room => Names.IsRoom(room))
        && Secrets is { Length: > 0 }
        && Array.TrueForAll(Secrets, secret => secret?.Text is { } text && WebhookSignature.IsSecret(text));

    public static string NewId() => RandomNumberGenerator.GetHexString(IdBytes * 2, lowercase: true);

    /// <summary>Whether a text has the form of an id; only ids become part of keys.</summary>
    public static bool IsId(string? text) =>
        text is { Length: IdBytes * 2 } && !text.AsSpan().ContainsAnyExcept(Hexadecimal);

    /// <summary>The refusal of an id that is not registered.</summary>
    public static RefusedException Unknown(string id) =>
        new(ErrorCode.UnknownWebhook, $"There is no webhook {id}: it was never registered, or was removed.");
}

/// <summary>A secret, <c>whsec_…</c>, and its expiry; null for the current one.</summary>
internal sealed record WebhookSecret(string Text, DateTimeOffset? Until = null);

/// <summary>
/// A requested webhook: the body of <c>POST /webhooks</c>, and <c>webhook</c> in a backend's registration.
/// </summary>
internal sealed record WebhookRequest(
    string? Url,
    string[]? Events = null,
    string[]? Rooms = null,
    string? Backend = null,
    string? Secret = null
)
{
    private const int UrlLengthMax = 2_048;
    private const int NamesMax = 100;

    /// <summary>Parses JSON; unknown members are skipped.</summary>
    /// <exception cref="RefusedException">It is not an object of that form.</exception>
    public static WebhookRequest Read(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, WebhookJson.Wire.WebhookRequest)
                ?? throw new RefusedException(ErrorCode.BadJson, "It is no object.");
        }
        catch (JsonException e)
        {
            throw new RefusedException(ErrorCode.BadJson, $"It is not a webhook: {e.Message}");
        }
    }

    /// <summary>Validates the request without network access; returns the URL.</summary>
    /// <exception cref="RefusedException">A member is missing or invalid.</exception>
    public Uri Check()
    {
        string[] events = Events ?? [];
        string[] rooms = Rooms ?? [];
        if (events.Length > NamesMax || rooms.Length > NamesMax)
        {
            throw new RefusedException(ErrorCode.TooManyRooms, $"A webhook has at most {NamesMax} events and rooms.");
        }

        if (events.Any(name => !Names.IsEvent(name)))
        {
            throw new RefusedException(ErrorCode.BadName, Names.EventForm);
        }

        if (rooms.Any(name => !Names.IsRoom(name)))
        {
            throw new RefusedException(ErrorCode.BadName, Names.RoomForm);
        }

        if (Backend is not null && !Backends.Backend.IsBkid(Backend))
        {
            throw new RefusedException(ErrorCode.BadName, "The member backend is a bkid: 32 of 0-9 a-f.");
        }

        if (events.Length == 0 && rooms.Length == 0 && Backend is null)
        {
            throw new RefusedException(ErrorCode.BadWebhook, "A webhook names events, rooms or a backend.");
        }

        if (Secret is not null && !WebhookSignature.IsSecret(Secret))
        {
            throw new RefusedException(ErrorCode.BadWebhook, WebhookSignature.SecretForm);
        }

        return
            Url is { Length: > 0 and <= UrlLengthMax }
            && Uri.TryCreate(Url, UriKind.Absolute, out var url)
            && url is { Scheme: "http" or "https", UserInfo: "", Fragment: "", Host.Length: > 0 }
            ? url
            : throw new RefusedException(
                ErrorCode.BadWebhook,
                $"The member url is http:// or https://, at most {UrlLengthMax} characters, without a user or a "
                    + "fragment."
            );
    }
}

/// <summary>A message for a webhook.</summary>
/// <param name="Webhook">The id of the webhook.</param>
/// <param name="Id">The message id, equal for all attempts.</param>
/// <param name="Event">The event.</param>
/// <param name="Subject">Its room or user; null for none.</param>
/// <param name="Time">When it was published.</param>
/// <param name="Traceparent">Its <c>traceparent</c>, if the trace is sampled.</param>
/// <param name="Data">One JSON value, as received.</param>
internal sealed record WebhookMessage(
    string Webhook,
    string Id,
    string Event,
    string? Subject,
    DateTimeOffset Time,
    string? Traceparent,
    ReadOnlyMemory<byte> Data
)
{
    /// <summary>Its key in the store; null in memory.</summary>
    public string? Place { get; init; }
}

/// <summary>Serializes webhooks by generated code.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(Webhook))]
[JsonSerializable(typeof(WebhookRequest))]
[JsonSerializable(typeof(WebhookRequest[]))]
internal sealed partial class WebhookJson : JsonSerializerContext
{
    /// <summary>Escapes only what JSON requires.</summary>
    public static WebhookJson Wire { get; } =
        new(
            new JsonSerializerOptions
            {
                PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
                Encoder = JsonText.Encoder,
            }
        );
}
