using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Access;

/// <summary>
/// Asks a URL of the operator who has a session's cookie or token, and whether a user may join a room
/// (docs/access.md), for logins that are no JWTs. Answers hold for as long as they say (<c>Cache-Control:
/// max-age</c>); where there is none within a second, the answer is no.
/// </summary>
internal sealed partial class AuthorizeUrl : IDisposable
{
    private const int CredentialLengthMax = 16_384;
    private const int AnswerBytesMax = 65_536;
    private const int CachedMax = 10_000;
    private const int AsksMax = 64;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan SessionLife = TimeSpan.FromDays(1);
    private static readonly MediaTypeHeaderValue Json = new("application/json");

    private readonly ConcurrentDictionary<string, Known> _known = [];
    private readonly SemaphoreSlim _asking = new(AsksMax);
    private readonly HttpClient _http = new(
        new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            UseProxy = false,
        }
    )
    {
        MaxResponseContentBufferSize = AnswerBytesMax,
    };
    private readonly Uri _url;
    private readonly TimeProvider _time;
    private readonly ILogger<AuthorizeUrl> _logger;

    public AuthorizeUrl(AccessOptions options, TimeProvider time, ILogger<AuthorizeUrl> logger) =>
        (_url, _time, _logger) = (new Uri(options.AuthorizeUrl), time, logger);

    /// <summary>The user who has a credential.</summary>
    /// <param name="kind"><c>token</c> or <c>cookie</c>.</param>
    /// <param name="credential">The token, or the header <c>Cookie</c>.</param>
    /// <exception cref="RefusedException"><c>unauthenticated</c>.</exception>
    public async ValueTask<Caller> FindAsync(string kind, string credential)
    {
        // Only its hash is kept.
        var hash = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(credential)));
        var answer =
            credential.Length > CredentialLengthMax
                ? new Known(null, default)
                : await AskAsync(
                    $"{kind} {hash}",
                    [
                        .. "{\"type\":\"connect\",\""u8,
                        .. Encoding.ASCII.GetBytes(kind),
                        .. "\":"u8,
                        .. JsonText.Quote(credential),
                        .. "}"u8,
                    ],
                    ReadUser
                );
        return answer.Caller ?? throw new RefusedException(ErrorCode.Unauthenticated, "The login is not accepted.");
    }

    /// <summary>Whether a user may join a room.</summary>
    public async Task<bool> MayJoinAsync(string user, string room)
    {
        var answer = await AskAsync(
            $"room {user}\n{room}",
            [
                .. "{\"type\":\"subscribe\",\"user\":"u8,
                .. JsonText.Quote(user),
                .. ",\"room\":"u8,
                .. JsonText.Quote(room),
                .. "}"u8,
            ],
            static _ => Caller.TrustedHost
        );
        return answer.Caller is not null;
    }

    public void Dispose()
    {
        _http.Dispose();
        _asking.Dispose();
    }

    /// <summary>The answer to a question: one that still holds, or a new one.</summary>
    private async Task<Known> AskAsync(string key, byte[] question, Func<byte[], Caller?> read)
    {
        if (_known.TryGetValue(key, out var known) && known.Until > _time.GetUtcNow())
        {
            return known;
        }

        using var patience = new CancellationTokenSource(Patience, _time);
        try
        {
            await _asking.WaitAsync(patience.Token);
            try
            {
                return await AskAsync(key, question, read, patience.Token);
            }
            finally
            {
                _asking.Release();
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException or OperationCanceledException)
        {
            LogUnanswered(_logger, e.Message);
            return new Known(null, default);
        }
    }

    private async Task<Known> AskAsync(
        string key,
        byte[] question,
        Func<byte[], Caller?> read,
        CancellationToken cancellationToken
    )
    {
        using var body = new ByteArrayContent(question) { Headers = { ContentType = Json } };
        using var response = await _http.PostAsync(_url, body, cancellationToken);
        var isYes = response.StatusCode is HttpStatusCode.OK or HttpStatusCode.NoContent;
        if (!isYes && response.StatusCode is not (HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden))
        {
            LogUnanswered(_logger, $"it answered {(int)response.StatusCode}");
            return new Known(null, default);
        }

        var answer = await response.Content.ReadAsByteArrayAsync(cancellationToken);
        var life = response.Headers.CacheControl is { NoStore: false, MaxAge: { } age } ? age : TimeSpan.Zero;
        var known = new Known(isYes ? read(answer) : null, _time.GetUtcNow() + life);
        if (life > TimeSpan.Zero)
        {
            if (_known.Count >= CachedMax)
            {
                _known.Clear();
            }

            _known[key] = known;
        }

        return known;
    }

    /// <summary>
    /// Reads <c>{"user","roles":[…]?,"admin"?,"exp"?}</c>; null if it is not that. Without <c>exp</c>, in seconds since
    /// 1970, the session lasts a day.
    /// </summary>
    private Caller? ReadUser(byte[] answer)
    {
        try
        {
            var user = JsonSerializer.Deserialize(answer, AuthorizeJson.Wire.AuthorizedUser);
            return user?.User is { } name && Names.IsUser(name)
                ? Caller.User(
                    name,
                    user.Admin,
                    user.Roles ?? [],
                    user.Exp is { } seconds
                        ? DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(seconds, 0, 253_402_300_799))
                        : _time.GetUtcNow() + SessionLife
                )
                : null;
        }
        catch (JsonException e)
        {
            LogUnanswered(_logger, e.Message);
            return null;
        }
    }

    [LoggerMessage(1020, LogLevel.Warning, "DMB_AUTHORIZE_URL gave no answer, so that a caller is refused: {Why}")]
    private static partial void LogUnanswered(ILogger logger, string why);

    /// <summary>What is known: the user, or that the answer is no.</summary>
    private readonly record struct Known(Caller? Caller, DateTimeOffset Until);
}

/// <summary>What the URL answers about a login.</summary>
internal sealed record AuthorizedUser(string? User, string[]? Roles = null, bool Admin = false, long? Exp = null);

/// <summary>Generated code, no reflection.</summary>
[System.Text.Json.Serialization.JsonSerializable(typeof(AuthorizedUser))]
internal sealed partial class AuthorizeJson : System.Text.Json.Serialization.JsonSerializerContext
{
    public static AuthorizeJson Wire { get; } =
        new(new JsonSerializerOptions { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower });
}
