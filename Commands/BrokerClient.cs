using System.Net;
using System.Net.Http.Headers;
using System.Security.Authentication;
using System.Text;
using System.Text.Json;

namespace Dmb.Commands;

/// <summary>
/// The broker that the commands use: <c>DMB_URL</c>, or this machine's at <c>DMB_PORT</c>, by the key or token
/// <c>DMB_KEY</c>.
/// </summary>
internal sealed class BrokerClient : IDisposable
{
    private const int PageSize = 500;

    /// <summary>The media type of lists that the broker streams, one item a line.</summary>
    private const string Lines = "application/x-ndjson";

    /// <summary>Timeout; longer than a stream's heartbeat interval.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly HttpClient _http = new() { Timeout = Timeout.InfiniteTimeSpan };

    public BrokerClient()
    {
        _http.BaseAddress = Url;
        _http.DefaultRequestHeaders.UserAgent.ParseAdd("dmb/" + Telemetry.BuildInfo.Version);
        if (Key is { } key)
        {
            _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        }
    }

    /// <summary>The key or token; null without one.</summary>
    public static string? Key =>
        Environment.GetEnvironmentVariable("DMB_KEY")?.Trim() is { Length: > 0 } key ? key : null;

    /// <summary>The broker's base URL, which ends in a slash.</summary>
    /// <exception cref="CommandException"><c>DMB_URL</c> is not a URL.</exception>
    public static Uri Url
    {
        get
        {
            var port = Environment.GetEnvironmentVariable("DMB_PORT");
            var set = Environment.GetEnvironmentVariable("DMB_URL") is { Length: > 0 } url ? url : null;
            var text = set ?? $"http://127.0.0.1:{(string.IsNullOrEmpty(port) ? "8082" : port)}";
            return
                Uri.TryCreate(text.TrimEnd('/') + "/", UriKind.Absolute, out var broker)
                && broker.Scheme is "http" or "https"
                ? broker
                : throw new CommandException(
                    set is null
                        ? $"DMB_PORT: '{port}' is no port."
                        : $"DMB_URL: '{set}' is no URL such as http://127.0.0.1:8082.",
                    2
                );
        }
    }

    /// <summary>Sends a request, and returns the body of a successful response.</summary>
    /// <exception cref="CommandException">The broker refuses, or does not answer.</exception>
    public async Task<string> AskAsync(
        HttpMethod method,
        string path,
        CancellationToken cancellationToken,
        byte[]? body = null,
        params (string Name, string Value)[] headers
    )
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(body);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        }

        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(Patience);
        try
        {
            using var answer = await _http.SendAsync(request, patience.Token);
            var text = await answer.Content.ReadAsStringAsync(patience.Token);
            return answer.IsSuccessStatusCode ? text : throw Refusal(answer.StatusCode, text);
        }
        catch (Exception e) when (IsNoAnswer(e, cancellationToken))
        {
            throw NoAnswer(e);
        }
    }

    /// <summary>
    /// Reads the items of a list, streamed where the broker does that, else over all pages; missing nodes are named on
    /// stderr.
    /// </summary>
    /// <exception cref="CommandException">The broker refuses, or does not answer.</exception>
    public async IAsyncEnumerable<JsonElement> ListAsync(
        string path,
        IEnumerable<(string Name, string? Value)> query,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken
    )
    {
        string? after = null;
        do
        {
            using var request = new HttpRequestMessage(
                HttpMethod.Get,
                path + Query([.. query, ("limit", $"{PageSize}"), ("after", after)])
            );
            request.Headers.TryAddWithoutValidation("Accept", $"{Lines}, application/json");
            using var answer = await BeginAsync(request, cancellationToken);
            using var body = new StreamReader(await answer.Content.ReadAsStreamAsync(cancellationToken));
            if (answer.Content.Headers.ContentType?.MediaType != Lines)
            {
                var page = JsonElement.Parse(
                    await ReadAsync(body.ReadToEndAsync(cancellationToken), cancellationToken)
                );
                foreach (var item in page.GetProperty("items").EnumerateArray())
                {
                    yield return item;
                }

                await TellMissingAsync(page);
                after = page.GetProperty("next").GetString();
                continue;
            }

            JsonElement line;
            do
            {
                line = JsonElement.Parse(
                    await ReadAsync(body.ReadLineAsync(cancellationToken).AsTask(), cancellationToken)
                        ?? throw NoAnswer(new IOException("The list ends too early"))
                );
                if (!line.TryGetProperty("missing", out _))
                {
                    yield return line;
                }
            } while (!line.TryGetProperty("missing", out _));

            await TellMissingAsync(line);
        } while (after is not null);
    }

    /// <summary>Lists that do not ask the nodes have no such member.</summary>
    private static async Task TellMissingAsync(JsonElement answer)
    {
        if (answer.TryGetProperty("missing", out var missing))
        {
            foreach (var node in missing.EnumerateArray())
            {
                await Console.Error.WriteLineAsync($"Node {node.GetString()} did not answer; what it has is missing.");
            }
        }
    }

    /// <summary>Sends a request, and returns a successful response whose body is not read yet.</summary>
    /// <exception cref="CommandException">The broker refuses, or does not answer.</exception>
    private async Task<HttpResponseMessage> BeginAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        HttpResponseMessage? answer = null;
        try
        {
            answer = await _http
                .SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken)
                .WaitAsync(Patience, TimeProvider.System, cancellationToken);
            return answer.IsSuccessStatusCode
                ? answer
                : throw Refusal(answer.StatusCode, await answer.Content.ReadAsStringAsync(cancellationToken));
        }
        catch (Exception e) when (IsNoAnswer(e, cancellationToken))
        {
            answer?.Dispose();
            throw NoAnswer(e);
        }
    }

    private static async Task<T> ReadAsync<T>(Task<T> reading, CancellationToken cancellationToken)
    {
        try
        {
            return await reading.WaitAsync(Patience, TimeProvider.System, cancellationToken);
        }
        catch (Exception e) when (IsNoAnswer(e, cancellationToken))
        {
            throw NoAnswer(e);
        }
    }

    /// <summary>Opens a stream of events.</summary>
    /// <exception cref="CommandException">The broker refuses, or does not answer.</exception>
    public async Task<EventStreamReader> OpenAsync(
        string path,
        CancellationToken cancellationToken,
        string? lastEventId = null
    )
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (lastEventId is not null)
        {
            request.Headers.TryAddWithoutValidation("Last-Event-ID", lastEventId);
        }

        var answer = await BeginAsync(request, cancellationToken);
        return new EventStreamReader(answer, await answer.Content.ReadAsStreamAsync(cancellationToken));
    }

    /// <summary>Builds a query string of the parameters with a value.</summary>
    public static string Query(params (string Name, string? Value)[] parameters)
    {
        var query = new StringBuilder();
        foreach (var (name, value) in parameters)
        {
            if (!string.IsNullOrEmpty(value))
            {
                query
                    .Append(query.Length == 0 ? '?' : '&')
                    .Append(name)
                    .Append('=')
                    .Append(Uri.EscapeDataString(value));
            }
        }

        return query.ToString();
    }

    public void Dispose() => _http.Dispose();

    /// <summary>Whether an exception means that the broker is unreachable or does not answer.</summary>
    public static bool IsNoAnswer(Exception e, CancellationToken cancellationToken) =>
        e is HttpRequestException or IOException or TimeoutException
        || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested);

    /// <summary>The message that says most: of a failed TLS handshake the outer one says nothing.</summary>
    private static string Innermost(Exception e) =>
        e.GetBaseException() is AuthenticationException tls
            ? $"no TLS: {tls.Message.TrimEnd('.')}"
            : e.Message.TrimEnd('.');

    private static CommandException NoAnswer(Exception e) =>
        new(
            $"{Url}: {(e is OperationCanceledException or TimeoutException ? "no answer" : Innermost(e))}. "
                + "Is the broker running? DMB_URL says where it is."
        )
        {
            MayPass = true,
        };

    private static CommandException Refusal(HttpStatusCode status, string problem)
    {
        var (code, detail) = ("", problem);
        try
        {
            var json = JsonElement.Parse(problem);
            (code, detail) = (json.GetProperty("code").GetString()!, json.GetProperty("detail").GetString()!);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            // A proxy's page, or another body that is not a problem document.
            detail = "it is no answer of DMB; is DMB_URL right?";
        }

        var next = status switch
        {
            HttpStatusCode.Unauthorized => " DMB_KEY is the key or token.",
            HttpStatusCode.Forbidden => " The key in DMB_KEY lacks the scope.",
            _ => "",
        };
        return new CommandException($"{(int)status} {code}: {CommandLine.Printable(detail)}{next}")
        {
            MayPass = status is HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable,
        };
    }
}
