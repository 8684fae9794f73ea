using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>The outcome of one delivery attempt.</summary>
internal enum AttemptKind
{
    Delivered,

    /// <summary>A retry can succeed.</summary>
    Failed,

    /// <summary>The receiver refused the message for good.</summary>
    Refused,

    /// <summary>The receiver unsubscribed (410).</summary>
    Gone,
}

/// <summary>The result of one delivery attempt.</summary>
/// <param name="Kind">The outcome.</param>
/// <param name="Reason">One of <see cref="WebhookReason"/>, if it was not delivered.</param>
/// <param name="Detail">The reason in English.</param>
/// <param name="RetryAfter">The receiver's <c>Retry-After</c>, if any.</param>
/// <param name="Answer">The body of a backend's response, if any.</param>
internal sealed record Attempt(
    AttemptKind Kind,
    string Reason = "",
    string Detail = "",
    TimeSpan? RetryAfter = null,
    byte[]? Answer = null
);

/// <summary>Why a message was not delivered.</summary>
internal static class WebhookReason
{
    public const string Status = "status";
    public const string Redirect = "redirect";
    public const string Timeout = "timeout";
    public const string NoAnswer = "no_answer";
    public const string Tls = "tls";
    public const string ForbiddenAddress = "forbidden_address";
    public const string QueueFull = "queue_full";
    public const string Gone = "gone";

    /// <summary>An invalid input over Redis.</summary>
    public const string RefusedInput = "refused_input";
}

/// <summary>
/// Posts messages to webhooks: CloudEvents 1.0 in binary mode, signed after Standard Webhooks. Checks the address of
/// each connection. Follows no redirects, uses no proxies or cookies, and limits the bytes read of a response.
/// </summary>
internal sealed class WebhookClient(WebhookOptions options, TimeProvider time) : IDisposable
{
    private const int AnswerBytesMax = 4_194_304;
    private const int HeaderKilobytesMax = 16;
    private const int DrainedBytesMax = 65_536;

    /// <summary>Name lookups under way: each blocks a thread of the pool.</summary>
    private const int LookupsMax = 4;
    private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ConnectionLife = TimeSpan.FromMinutes(2);
    private static readonly MediaTypeHeaderValue Json = new("application/json");

    private readonly SemaphoreSlim _lookups = new(LookupsMax);
    private HttpMessageInvoker? _http;

    /// <summary>Resolves a name to addresses.</summary>
    public Func<string, CancellationToken, Task<IPAddress[]>> Resolve { get; set; } = Dns.GetHostAddressesAsync;

    private HttpMessageInvoker Http => _http ?? Interlocked.CompareExchange(ref _http, Create(), null) ?? _http;

    /// <summary>Performs the validation handshake with a URL (CloudEvents, HTTP Web Hooks §4).</summary>
    /// <exception cref="RefusedException">The URL refuses, or is unreachable.</exception>
    public async Task ShakeHandsAsync(Uri url, CancellationToken cancellationToken)
    {
        using var patience = new CancellationTokenSource(options.WebhookTimeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        try
        {
            if (options.WebhookHandshake == "off")
            {
                await FindAllowedAsync(url.IdnHost, either.Token);
                return;
            }

            using var request = new HttpRequestMessage(HttpMethod.Options, url);
            request.Headers.TryAddWithoutValidation("WebHook-Request-Origin", options.WebhookOrigin);
            using var response = await Http.SendAsync(request, either.Token);
            if (
                !response.IsSuccessStatusCode
                || !response.Headers.TryGetValues("WebHook-Allowed-Origin", out var allowed)
                || !allowed.Any(origin => origin == "*" || origin == options.WebhookOrigin)
            )
            {
                throw new RefusedException(
                    ErrorCode.BadWebhook,
                    $"{url.Host} answered OPTIONS with {(int)response.StatusCode}, and not with "
                        + $"WebHook-Allowed-Origin: {options.WebhookOrigin}."
                );
            }
        }
        catch (Exception e)
            when (e is HttpRequestException or IOException or SocketException or ForbiddenAddressException
                || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
            )
        {
            throw new RefusedException(ErrorCode.BadWebhook, $"{url.Host} can't be used: {Failure(e).Detail}.", e);
        }
    }

    /// <summary>Makes one delivery attempt.</summary>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public async ValueTask<Attempt> SendAsync(
        Webhook webhook,
        WebhookMessage message,
        string? traceparent,
        CancellationToken cancellationToken
    )
    {
        using var patience = new CancellationTokenSource(options.WebhookTimeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(patience.Token, cancellationToken);
        using var request = Write(webhook, message, traceparent);
        try
        {
            using var response = await Http.SendAsync(request, either.Token);
            return response.IsSuccessStatusCode
                ? new Attempt(
                    AttemptKind.Delivered,
                    Answer: webhook.Backend is null ? null : await ReadAsync(response, either.Token)
                )
                : Judge(response);
        }
        catch (Exception e)
            when (e is HttpRequestException or IOException
                || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
            )
        {
            return Failure(e);
        }
    }

    public void Dispose() => _http?.Dispose();

    private HttpRequestMessage Write(Webhook webhook, WebhookMessage message, string? traceparent)
    {
        var now = time.GetUtcNow();
        var id = Encode(message.Id);
        var request = new HttpRequestMessage(HttpMethod.Post, webhook.Url)
        {
            Content = new ReadOnlyMemoryContent(message.Data) { Headers = { ContentType = Json } },
        };
        Add("ce-specversion", "1.0");
        Add("ce-id", id);
        Add("ce-type", "dmb." + message.Event);
        Add("ce-source", options.WebhookOrigin);
        Add("ce-time", message.Time.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture));
        Add("webhook-id", id);
        Add("webhook-timestamp", now.ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture));
        Add("webhook-signature", WebhookSignature.Sign(webhook.Secrets, id, now, message.Data.Span));
        if (message.Subject is not null)
        {
            Add("ce-subject", Encode(message.Subject));
        }

        if (traceparent is not null)
        {
            Add("traceparent", traceparent);
        }

        return request;

        void Add(string name, string value) => request.Headers.TryAddWithoutValidation(name, value);
    }

    /// <summary>
    /// Encodes a text as a header's value, percent-encoded as required (CloudEvents, HTTP binding §3.1.3.2).
    /// </summary>
    private static string Encode(string text)
    {
        if (text.All(c => c is > ' ' and <= '~' and not '"' and not '%'))
        {
            return text;
        }

        var encoded = new StringBuilder();
        foreach (var unit in Encoding.UTF8.GetBytes(text))
        {
            if (unit is > (byte)' ' and <= (byte)'~' and not (byte)'"' and not (byte)'%')
            {
                encoded.Append((char)unit);
            }
            else
            {
                encoded.Append(CultureInfo.InvariantCulture, $"%{unit:X2}");
            }
        }

        return encoded.ToString();
    }

    /// <summary>Reads the body of a response; null if it is too large.</summary>
    private static async Task<byte[]?> ReadAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var read = new byte[1_024];
        var length = 0;
        while (await body.ReadAsync(read.AsMemory(length), cancellationToken) is > 0 and var count)
        {
            length += count;
            if (length > AnswerBytesMax)
            {
                return null;
            }

            if (length == read.Length)
            {
                Array.Resize(ref read, length * 2);
            }
        }

        return read[..length];
    }

    /// <summary>The result of an unsuccessful status.</summary>
    private Attempt Judge(HttpResponseMessage response)
    {
        var status = (int)response.StatusCode;
        var detail = string.Create(CultureInfo.InvariantCulture, $"{status} {response.StatusCode}");
        return status switch
        {
            410 => new Attempt(AttemptKind.Gone, WebhookReason.Gone, detail),
            408 or 429 or >= 500 => new Attempt(
                AttemptKind.Failed,
                WebhookReason.Status,
                detail,
                response.Headers.RetryAfter switch
                {
                    { Delta: { } delta } => delta,
                    { Date: { } date } when date > time.GetUtcNow() => date - time.GetUtcNow(),
                    _ => null,
                }
            ),
            >= 300 and < 400 => new Attempt(AttemptKind.Refused, WebhookReason.Redirect, detail),
            _ => new Attempt(AttemptKind.Refused, WebhookReason.Status, detail),
        };
    }

    private static Attempt Failure(Exception e) =>
        e switch
        {
            OperationCanceledException => new Attempt(
                AttemptKind.Failed,
                WebhookReason.Timeout,
                "there is no answer in time"
            ),
            ForbiddenAddressException or { InnerException: ForbiddenAddressException } => new Attempt(
                AttemptKind.Refused,
                WebhookReason.ForbiddenAddress,
                ForbiddenAddressException.Text
            ),
            { InnerException: AuthenticationException } => new Attempt(
                AttemptKind.Failed,
                WebhookReason.Tls,
                "TLS fails: " + e.InnerException.Message
            ),
            _ => new Attempt(AttemptKind.Failed, WebhookReason.NoAnswer, e.GetBaseException().Message),
        };

    private HttpMessageInvoker Create() =>
        new(
            new SocketsHttpHandler
            {
                ConnectCallback = ConnectAsync,
                AllowAutoRedirect = false,
                UseCookies = false,
                UseProxy = false,
                AutomaticDecompression = DecompressionMethods.None,
                ActivityHeadersPropagator = null,
                ConnectTimeout = options.WebhookTimeout,
                PooledConnectionLifetime = ConnectionLife,
                MaxResponseHeadersLength = HeaderKilobytesMax,
                MaxResponseDrainSize = DrainedBytesMax,
                ResponseDrainTimeout = DrainTimeout,
            }
        );

    private async ValueTask<Stream> ConnectAsync(
        SocketsHttpConnectionContext context,
        CancellationToken cancellationToken
    )
    {
        var addresses = await FindAllowedAsync(context.DnsEndPoint.Host, cancellationToken);
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(addresses, context.DnsEndPoint.Port, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>The permitted addresses of a name.</summary>
    private async Task<IPAddress[]> FindAllowedAsync(string host, CancellationToken cancellationToken)
    {
        var addresses = IPAddress.TryParse(host, out var address)
            ? [address]
            : await FindAsync(host, cancellationToken);
        return options.WebhookPrivate == WebhookOptions.Allowed ? addresses
            : Array.FindAll(addresses, PublicAddress.Is) is { Length: > 0 } allowed ? allowed
            : throw new ForbiddenAddressException();
    }

    private async Task<IPAddress[]> FindAsync(string host, CancellationToken cancellationToken)
    {
        await _lookups.WaitAsync(cancellationToken);
        try
        {
            return await Resolve(host, cancellationToken);
        }
        finally
        {
            _lookups.Release();
        }
    }

    /// <summary>A name has no permitted address.</summary>
    private sealed class ForbiddenAddressException() : Exception(Text)
    {
        public const string Text = "its address is one of this machine or of a private network (DMB_WEBHOOK_PRIVATE)";
    }
}
