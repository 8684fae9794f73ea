using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;
using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>What became of one attempt to deliver.</summary>
internal enum AttemptKind
{
    Delivered,

    /// <summary>It may work later.</summary>
    Failed,

    /// <summary>The receiver refused the message for good.</summary>
    Refused,

    /// <summary>The receiver wants no messages any more (410).</summary>
    Gone,
}

/// <summary>One attempt to deliver.</summary>
/// <param name="Kind">What became of it.</param>
/// <param name="Reason">One of <see cref="WebhookReason"/>, if it was not delivered.</param>
/// <param name="Detail">The same for people.</param>
/// <param name="RetryAfter">When the receiver wants it again, if it says so.</param>
/// <param name="Answer">The body of a backend's answer, where there is one.</param>
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

    /// <summary>Of an input over Redis that is no message.</summary>
    public const string RefusedInput = "refused_input";
}

/// <summary>
/// Posts messages to webhooks: CloudEvents 1.0 in binary mode, signed after Standard Webhooks. Each connection is
/// judged by the address that it goes to. Redirects are not followed, proxies and cookies not used, and of an answer no
/// more is read than is needed.
/// </summary>
internal sealed class WebhookClient(WebhookOptions options, TimeProvider time) : IDisposable
{
    private const int AnswerBytesMax = 4_194_304;
    private const int HeaderKilobytesMax = 16;
    private const int DrainedBytesMax = 65_536;
    private static readonly TimeSpan DrainTimeout = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ConnectionLife = TimeSpan.FromMinutes(2);
    private static readonly MediaTypeHeaderValue Json = new("application/json");

    private HttpMessageInvoker? _http;

    /// <summary>Asks for the addresses of a name.</summary>
    public Func<string, CancellationToken, Task<IPAddress[]>> Resolve { get; set; } = Dns.GetHostAddressesAsync;

    private HttpMessageInvoker Http => _http ?? Interlocked.CompareExchange(ref _http, Create(), null) ?? _http;

    /// <summary>
    /// Asks a URL whether it takes messages of this origin (CloudEvents, HTTP Web Hooks §4).
    /// </summary>
    /// <exception cref="RefusedException">It does not, or can't be reached.</exception>
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

    /// <summary>Makes one attempt.</summary>
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
    /// A text as the value of a header: percent-encoded where it has to be (CloudEvents, HTTP binding §3.1.3.2).
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

    /// <summary>The body of an answer; null if it is too large.</summary>
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

    /// <summary>What a status that is no success means.</summary>
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

    /// <summary>The addresses of a name that may be connected to.</summary>
    private async Task<IPAddress[]> FindAllowedAsync(string host, CancellationToken cancellationToken)
    {
        var addresses = IPAddress.TryParse(host, out var address) ? [address] : await Resolve(host, cancellationToken);
        return options.WebhookPrivate == WebhookOptions.Allowed ? addresses
            : Array.FindAll(addresses, PublicAddress.Is) is { Length: > 0 } allowed ? allowed
            : throw new ForbiddenAddressException();
    }

    /// <summary>A name has no address that webhooks may reach.</summary>
    private sealed class ForbiddenAddressException() : Exception(Text)
    {
        public const string Text = "its address is one of this machine or of a private network (DMB_WEBHOOK_PRIVATE)";
    }
}
