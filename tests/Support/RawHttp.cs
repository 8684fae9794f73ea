using System.Globalization;
using System.IO.Compression;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace Dmb.Tests.Support;

/// <summary>An HTTP client that tidies nothing up: bytes are sent as they are given, and shown as they come.</summary>
public sealed class RawHttp : IDisposable
{
    private readonly TcpClient _tcp;
    private readonly NetworkStream _sent;
    private readonly BufferedStream _received;
    private readonly int _port;

    private RawHttp(TcpClient tcp, int port)
    {
        (_tcp, _port) = (tcp, port);
        _sent = tcp.GetStream();
        _received = new BufferedStream(_sent);
    }

    public static Task<RawHttp> ConnectAsync(Node node) => ConnectAsync(node.Port);

    public static async Task<RawHttp> ConnectAsync(int port)
    {
        var tcp = new TcpClient { NoDelay = true };
        await tcp.ConnectAsync("127.0.0.1", port);
        return new RawHttp(tcp, port);
    }

    /// <summary>An ordinary request, such as <c>GET /register</c>, on its own connection, and its answer.</summary>
    public static async Task<RawAnswer> AskAsync(Node node, string request, string body = "", params string[] headers)
    {
        using var http = await ConnectAsync(node);
        return await http.AskAsync(request, body, headers);
    }

    /// <summary>An ordinary request on this connection, and its answer.</summary>
    public async Task<RawAnswer> AskAsync(string request, string body = "", params string[] headers)
    {
        var bytes = Encoding.UTF8.GetBytes(body);
        string[] lines =
        [
            $"{request} HTTP/1.1",
            $"Host: localhost:{_port}",
            $"Content-Length: {bytes.Length}",
            .. headers,
        ];
        await SendAsync(string.Join('\n', lines), bytes);
        return await ReadAsync();
    }

    /// <summary>Sends a head, with the line endings of HTTP and the empty line after it, and then the body.</summary>
    public Task SendAsync(string head, params byte[] body)
    {
        return SendAsync([.. Encoding.Latin1.GetBytes(head.ReplaceLineEndings("\r\n") + "\r\n\r\n"), .. body]);
    }

    /// <summary>Sends bytes, as many as the other side takes: after a refusal it may take no more.</summary>
    public Task SendAsync(byte[] bytes) => TrySendAsync(bytes);

    /// <summary>Sends bytes; false if the other side takes no more.</summary>
    public async Task<bool> TrySendAsync(byte[] bytes)
    {
        try
        {
            await _sent.WriteAsync(bytes).AsTask().WaitAsync(Node.Patience);
            return true;
        }
        catch (IOException)
        {
            // Cut off. What counts may be whether there is an answer to be read.
            return false;
        }
    }

    /// <summary>A body as <c>Content-Encoding: gzip</c> has it.</summary>
    public static byte[] Gzip(byte[] body)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest))
        {
            gzip.Write(body);
        }

        return packed.ToArray();
    }

    /// <summary>Says that nothing more will be sent. Answers can still be read.</summary>
    public void EndSending() => _tcp.Client.Shutdown(SocketShutdown.Send);

    /// <summary>The next answer. A body without length or chunks ends with the connection.</summary>
    public async Task<RawAnswer> ReadAsync()
    {
        var (status, headers) = await ReadHeadAsync();
        var body =
            status is 100 or 101 or 204 or 304 ? ""
            : headers.TryGetValue("Content-Length", out var length)
                ? await ReadTextAsync(int.Parse(length, CultureInfo.InvariantCulture))
            : headers.ContainsKey("Transfer-Encoding") ? await ReadChunksAsync()
            : await ReadToEndAsync();
        return new RawAnswer(status, headers, body);
    }

    /// <summary>Everything up to the end of the connection, be it closed or reset.</summary>
    public Task<string> ReadToEndAsync() => ReadTextAsync(int.MaxValue);

    /// <summary>Reads up to the end of an expected text.</summary>
    public async Task UntilAsync(string expected)
    {
        var text = new StringBuilder();
        while (!text.ToString().EndsWith(expected, StringComparison.Ordinal))
        {
            var next = await ReadTextAsync(1);
            text.Append(next != "" ? next : throw new EndOfStreamException("The connection ended in: " + text));
        }
    }

    /// <summary>Cuts the connection without a word, as when a process is killed.</summary>
    public void Abort()
    {
        _tcp.Client.LingerState = new LingerOption(true, 0);
        _tcp.Close();
    }

    public void Dispose() => _tcp.Dispose();

    private async Task<(int Status, Dictionary<string, string> Headers)> ReadHeadAsync()
    {
        var first = await ReadLineAsync();
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        while (await ReadLineAsync() is { Length: > 0 } line)
        {
            var (name, value) = (line[..line.IndexOf(':')], line[(line.IndexOf(':') + 1)..].Trim());
            headers[name] = headers.TryGetValue(name, out var before) ? $"{before}, {value}" : value;
        }

        return (int.Parse(first.Split(' ')[1], CultureInfo.InvariantCulture), headers);
    }

    private async Task<string> ReadChunksAsync()
    {
        var text = new StringBuilder();
        for (var size = -1; size != 0; )
        {
            size = int.Parse(await ReadLineAsync(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            text.Append(await ReadTextAsync(size));
            await ReadLineAsync();
        }

        return text.ToString();
    }

    /// <summary>The next line, without its end.</summary>
    public async Task<string> ReadLineAsync()
    {
        var line = new StringBuilder();
        while (!line.ToString().EndsWith("\r\n", StringComparison.Ordinal))
        {
            var next = await ReadTextAsync(1);
            line.Append(next != "" ? next : throw new EndOfStreamException("The connection ended in: " + line));
        }

        return line.ToString()[..^2];
    }

    private async Task<string> ReadTextAsync(int most)
    {
        var bytes = new List<byte>();
        var one = new byte[1];
        try
        {
            while (bytes.Count < most && await _received.ReadAsync(one).AsTask().WaitAsync(Node.Patience) == 1)
            {
                bytes.Add(one[0]);
            }
        }
        catch (IOException)
        {
            // Reset, which ends it as well.
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }
}

/// <summary>An answer as it came. Headers of the same name are joined by a comma.</summary>
public sealed record RawAnswer(int Status, IReadOnlyDictionary<string, string> Headers, string Body)
{
    public JsonElement Json => JsonElement.Parse(Body);

    /// <summary>Whether the other side said that it will close the connection.</summary>
    public bool SaysClose => Headers.GetValueOrDefault("Connection") == "close";

    /// <summary>The id of a message that was taken.</summary>
    public string TakenId()
    {
        Assert.True(Status == 200, $"{Status} {Body}");
        Assert.Equal("application/json", Headers["Content-Type"].Split(';')[0]);
        Assert.True(Json.GetProperty("ok").GetBoolean());
        return Json.GetProperty("id").GetString()!;
    }

    /// <summary>
    /// Checks that this is an error of that status and code, with all that a problem document must have.
    /// </summary>
    public void IsProblem(int status, string code)
    {
        Assert.True(Status == status, $"{Status} {Body}");
        Assert.Equal("application/problem+json", Headers["Content-Type"].Split(';')[0]);
        Assert.Equal(status, Json.GetProperty("status").GetInt32());
        Assert.Equal(code, Json.GetProperty("code").GetString());
        Assert.NotEqual("", Json.GetProperty("type").GetString());
        Assert.NotEqual("", Json.GetProperty("title").GetString());
        Assert.NotEqual("", Json.GetProperty("detail").GetString());
    }
}
