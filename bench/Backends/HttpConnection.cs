using System.Globalization;
using System.Net;
using System.Text;

namespace Dmb.Bench.Backends;

/// <summary>A kept-alive HTTP connection with one request under way.</summary>
internal sealed class HttpConnection(IPEndPoint server) : Connection(server)
{
    private readonly IPEndPoint _server = server;

    /// <summary>Whether an answer is still to be read.</summary>
    public bool IsUnderWay { get; private set; }

    public void Post(string path, string json)
    {
        Send(
            Encoding.UTF8.GetBytes(
                $"POST {path} HTTP/1.1\r\nHost: {_server}\r\nContent-Type: application/json\r\nContent-Length: "
                    + $"{Encoding.UTF8.GetByteCount(json)}\r\n\r\n{json}"
            )
        );
        IsUnderWay = true;
    }

    /// <summary>Waits for the answer, and gives its body.</summary>
    /// <exception cref="IOException">It was refused.</exception>
    public string Answer()
    {
        var status = ReadLine();
        var length = -1;
        for (var header = ReadLine(); header != ""; header = ReadLine())
        {
            if (header.StartsWith("Content-Length: ", StringComparison.OrdinalIgnoreCase))
            {
                length = int.Parse(header.AsSpan("Content-Length: ".Length), CultureInfo.InvariantCulture);
            }
        }

        IsUnderWay = false;
        var body = length >= 0 ? Encoding.UTF8.GetString(Read(length)) : ReadChunks();
        return status.StartsWith("HTTP/1.1 20", StringComparison.Ordinal)
            ? body
            : throw new IOException($"{status}: {body}");
    }

    private string ReadChunks()
    {
        var body = new StringBuilder();
        while (true)
        {
            var length = int.Parse(ReadLine(), NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            body.Append(Encoding.UTF8.GetString(Read(length)));
            ReadLine();
            if (length == 0)
            {
                return body.ToString();
            }
        }
    }
}
