namespace Dmb.Routing;

/// <summary>The error codes of HTTP problems and socket errors (docs/protocol.md §3).</summary>
internal static class ErrorCode
{
    public const string BadJson = "bad_json";
    public const string BadName = "bad_name";
    public const string BadFrame = "bad_frame";
    public const string BadMethod = "bad_method";
    public const string NotFound = "not_found";
    public const string PublishOnly = "publish_only";
    public const string TooBig = "too_big";
    public const string Unauthenticated = "unauthenticated";
    public const string TokenExpired = "token_expired";
    public const string ForbiddenRoom = "forbidden_room";
    public const string ForbiddenOrigin = "forbidden_origin";
    public const string ForbiddenHost = "forbidden_host";
    public const string ForbiddenPublish = "forbidden_publish";
    public const string UnknownEvent = "unknown_event";
    public const string UnknownSession = "unknown_session";
    public const string UnknownBackend = "unknown_backend";
    public const string UnknownWebhook = "unknown_webhook";
    public const string UnknownLetter = "unknown_letter";
    public const string BadWebhook = "bad_webhook";
    public const string TooManyRooms = "too_many_rooms";
    public const string TooManyEvents = "too_many_events";
    public const string BackplaneDown = "backplane_down";
    public const string RateLimited = "rate_limited";
    public const string Draining = "draining";
    public const string Internal = "internal";
}

/// <summary>A refusal of a caller's request: a code of <see cref="ErrorCode"/> and a sentence in English.</summary>
internal class RefusedException(string code, string message, Exception? cause = null) : Exception(message, cause)
{
    public string Code { get; } = code;

    /// <summary>The rooms that the refused message is addressed to; null if unknown.</summary>
    public string[]? Rooms { get; set; }

    /// <summary>Time after which a retry can succeed; null if unknown.</summary>
    public TimeSpan? RetryAfter { get; init; }

    /// <summary>Whether a retry can succeed.</summary>
    public bool Retry => Code is ErrorCode.BackplaneDown or ErrorCode.RateLimited or ErrorCode.Draining;

    /// <summary>Encodes the <c>error</c> of an ack, members in the order of docs/protocol.md §4.</summary>
    public byte[] ToJson() =>
        [
            .. "{\"code\":"u8,
            .. JsonText.Quote(Code),
            .. ",\"message\":"u8,
            .. JsonText.Quote(Message),
            .. ",\"retry\":"u8,
            .. Retry ? "true"u8 : "false"u8,
            .. "}"u8,
        ];
}
