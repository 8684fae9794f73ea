using System.Globalization;
using System.Text;

namespace Dmb.Tests.Support;

/// <summary>A client of <c>GET /events</c> that has been let in.</summary>
public sealed class EventReader : IDisposable
{
    private readonly HttpResponseMessage _response;
    private readonly StreamReader _reader;

    private EventReader(HttpResponseMessage response, Stream body)
    {
        _response = response;
        _reader = new StreamReader(body, new UTF8Encoding(false, throwOnInvalidBytes: true));
    }

    /// <summary>What the last <c>retry:</c> line said, in milliseconds; null before one has come.</summary>
    public int? RetryMs { get; private set; }

    public IReadOnlyDictionary<string, string> Headers =>
        _response
            .Headers.Concat(_response.Content.Headers)
            .ToDictionary(header => header.Key, header => string.Join(", ", header.Value));

    public static async Task<EventReader> OpenAsync(Node node, params string[] rooms)
    {
        var query = string.Join('&', rooms.Select(room => "room=" + Uri.EscapeDataString(room)));
        var stream = await OpenAsync(node.Http, new Uri(node.Url, "/events?" + query));
        Assert.Equal(": connected", await stream.ReadAsync());
        return stream;
    }

    /// <summary>Opens any stream of events, with all of it still to be read.</summary>
    public static async Task<EventReader> OpenAsync(HttpClient http, Uri url, string? lastEventId = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, url);
        if (lastEventId is not null)
        {
            request.Headers.Add("Last-Event-ID", lastEventId);
        }

        var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        response.EnsureSuccessStatusCode();
        return new EventReader(response, await response.Content.ReadAsStreamAsync());
    }

    /// <summary>
    /// The next comment, or the lines of the next message, as they came, up to its empty line. Lines <c>retry:</c> are
    /// read past.
    /// </summary>
    public async Task<string> ReadAsync()
    {
        var lines = new List<string>();
        while (true)
        {
            var line = await ReadLineAsync();
            if (line.StartsWith("retry: ", StringComparison.Ordinal))
            {
                RetryMs = int.Parse(line["retry: ".Length..], CultureInfo.InvariantCulture);
                continue;
            }

            if (line != "")
            {
                lines.Add(line);
            }

            if (lines is [[':', ..]] || (line == "" && lines.Count > 0))
            {
                return string.Join('\n', lines);
            }
        }
    }

    public void Dispose()
    {
        _reader.Dispose();
        _response.Dispose();
    }

    // Not StreamReader's lines, which also end at a carriage return: the broker must have sent none.
    private async Task<string> ReadLineAsync()
    {
        var line = new StringBuilder();
        var next = new char[1];
        while (await _reader.ReadAsync(next).AsTask().WaitAsync(Node.Patience) == 1)
        {
            if (next[0] == '\n')
            {
                return line.ToString();
            }

            line.Append(next[0]);
        }

        throw new EndOfStreamException("The stream ended in: " + line);
    }
}
