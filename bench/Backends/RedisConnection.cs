using System.Globalization;
using System.Net;
using System.Text;
using Dmb.Bench.Load;

namespace Dmb.Bench.Backends;

/// <summary>A bare connection to Redis: publishes, or listens.</summary>
internal sealed class RedisConnection(RedisProcess redis) : Connection(new IPEndPoint(IPAddress.Loopback, redis.Port))
{
    /// <summary>Listens to a channel from now on.</summary>
    public void Subscribe(string channel)
    {
        Command("SUBSCRIBE", channel);
        Next();
    }

    /// <summary>Publishes, and does not wait for the answer.</summary>
    public void Publish(string channel, string body)
    {
        while (IsReadable)
        {
            ReadLine();
        }

        Command("PUBLISH", channel, body);
    }

    /// <summary>The body of the message that comes next.</summary>
    public string Next()
    {
        var line = ReadLine();
        switch (line[0])
        {
            case '*':
                var last = "";
                for (var left = Number(line); left > 0; left--)
                {
                    last = Next();
                }

                return last;
            case '$':
                var body = Encoding.UTF8.GetString(Read(Number(line)));
                ReadLine();
                return body;
            case '-':
                throw new IOException(line);
            default:
                return line[1..];
        }
    }

    private void Command(params ReadOnlySpan<string> words)
    {
        var command = new StringBuilder($"*{words.Length}\r\n");
        foreach (var word in words)
        {
            command.Append(CultureInfo.InvariantCulture, $"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n");
        }

        Send(Encoding.UTF8.GetBytes(command.ToString()));
    }

    private static int Number(string line) => int.Parse(line.AsSpan(1), CultureInfo.InvariantCulture);
}
