using System.Globalization;
using System.Text;

namespace Dmb.Redis;

/// <summary>
/// A connection for a few commands, each answered before the next: of a check, or to a sentinel (RESP2).
/// </summary>
internal sealed class RedisConversation : IAsyncDisposable
{
    private readonly Stream _stream;
    private readonly StreamReader _reader;
    private readonly CancellationToken _cancellationToken;

    private RedisConversation(Stream stream, CancellationToken cancellationToken)
    {
        // A character for a byte: lengths are in bytes.
        (_stream, _reader, _cancellationToken) = (
            stream,
            new StreamReader(stream, Encoding.Latin1, leaveOpen: true),
            cancellationToken
        );
    }

    /// <summary>Connects, over TLS where that is set; does not log in.</summary>
    /// <param name="redis">Where.</param>
    /// <param name="cancellationToken">Ends the conversation.</param>
    public static async Task<RedisConversation> ConnectAsync(RedisEndpoint redis, CancellationToken cancellationToken)
    {
        var (stream, _) = await RedisGreeting.OpenAsync(redis, cancellationToken);
        return new RedisConversation(stream, cancellationToken);
    }

    /// <summary>
    /// Sends a command; gives its answer, an array's items one after the other, none of a null. An error begins with
    /// <c>-</c>.
    /// </summary>
    public async Task<string[]> AskAsync(params string[] words)
    {
        await _stream.WriteAsync(Encoding.UTF8.GetBytes(RedisGreeting.Command(words)), _cancellationToken);
        var answer = new List<string>();
        await ReadAsync(answer);
        return [.. answer];
    }

    public async ValueTask DisposeAsync()
    {
        _reader.Dispose();
        await _stream.DisposeAsync();
    }

    private async Task ReadAsync(List<string> answer)
    {
        var line = await _reader.ReadLineAsync(_cancellationToken)
            ?? throw new EndOfStreamException("the connection was closed");
        switch (line)
        {
            case ['*', .. var count]:
                for (var left = int.Parse(count, CultureInfo.InvariantCulture); left > 0; left--)
                {
                    await ReadAsync(answer);
                }

                break;
            case ['$', '-', ..]:
                break;
            case ['$', .. var length]:
                var text = new char[int.Parse(length, CultureInfo.InvariantCulture) + 2];
                await _reader.ReadBlockAsync(text, _cancellationToken);
                answer.Add(new string(text.AsSpan(..^2)));
                break;
            default:
                answer.Add(line is ['-', ..] ? line : line[1..]);
                break;
        }
    }
}
