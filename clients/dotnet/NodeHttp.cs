using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;

namespace Dmb.Client;

/// <summary>Requests to one node, with the credential of the client.</summary>
internal sealed class NodeHttp(Uri node, DmbClientOptions options, ClientState state) : IDisposable
{
    private readonly HttpClient _http = new(options.CreateHttpHandler?.Invoke() ?? new SocketsHttpHandler())
    {
        Timeout = Timeout.InfiniteTimeSpan,
    };

    private readonly Uri _node = new UriBuilder(
        node.Scheme is "https" or "wss" ? "https" : "http",
        node.Host,
        node.Port,
        node.AbsolutePath.EndsWith("/ws", StringComparison.Ordinal)
            ? node.AbsolutePath[..^2]
            : node.AbsolutePath.TrimEnd('/') + "/"
    ).Uri;

    /// <summary>The answer to a request, once its headers are there and its status is 200 to 299.</summary>
    /// <param name="method">GET, POST.</param>
    /// <param name="path">Behind the address of the node, without a slash at its start.</param>
    /// <param name="body">JSON; null: none.</param>
    /// <param name="since">A <c>Last-Event-ID</c>, by which this is a request for a stream; null: it is not.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <exception cref="HttpRefusal">The status is another.</exception>
    public async Task<HttpResponseMessage> OpenAsync(
        HttpMethod method,
        string path,
        ReadOnlyMemory<byte>? body,
        string? since,
        CancellationToken cancellationToken
    )
    {
        using var request = new HttpRequestMessage(method, new Uri(_node, path));
        if (body is { } json)
        {
            request.Content = new ReadOnlyMemoryContent(json);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        }

        if (since is not null)
        {
            request.Headers.Accept.ParseAdd("text/event-stream");
            if (since.Length > 0)
            {
                request.Headers.TryAddWithoutValidation("Last-Event-ID", since);
            }
        }

        if (state.Credential is { Length: > 0 } credential)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", credential);
        }

        var response = await _http
            .SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken)
            .ConfigureAwait(false);
        if (response.IsSuccessStatusCode)
        {
            return response;
        }

        using (response)
        {
            throw await RefusalAsync(response, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The body of the answer to a request.</summary>
    /// <exception cref="HttpRefusal">It was refused.</exception>
    /// <exception cref="JsonException">The body is not JSON.</exception>
    public async Task<JsonElement> AskAsync(
        HttpMethod method,
        string path,
        Action<Utf8JsonWriter>? body,
        CancellationToken cancellationToken
    )
    {
        using var response = await OpenAsync(
                method,
                path,
                body is null ? null : Json.Utf8(body),
                null,
                cancellationToken
            )
            .ConfigureAwait(false);
        return Json.Element(await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false));
    }

    public void Dispose() => _http.Dispose();

    /// <summary>The error of a problem document (RFC 9457), as far as the body is one.</summary>
    private static async Task<HttpRefusal> RefusalAsync(HttpResponseMessage response, CancellationToken ended)
    {
        var problem = Json.Null;
        try
        {
            problem = Json.Element(await response.Content.ReadAsByteArrayAsync(ended).ConfigureAwait(false));
        }
        catch (JsonException)
        {
            // A proxy's page: the status says enough.
        }

        var status = response.StatusCode;
        var error = new DmbException(
            problem.Text("code") ?? "internal",
            problem.Text("detail") ?? $"HTTP {(int)status}",
            retry: status is HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable
        );
        return new HttpRefusal(error, status, response.Headers.RetryAfter?.Delta ?? TimeSpan.Zero);
    }
}

/// <summary>An answer of HTTP that is a refusal.</summary>
internal sealed class HttpRefusal(DmbException error, HttpStatusCode status, TimeSpan after) : Exception(error.Message)
{
    public DmbException Error { get; } = error;

    /// <summary>What <c>Retry-After</c> says.</summary>
    public TimeSpan After { get; } = after;

    /// <summary>Whether the same is refused again, unless the credential is another.</summary>
    public bool IsFinal { get; } =
        status is HttpStatusCode.BadRequest or HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden;
}
