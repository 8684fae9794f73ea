using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Dmb.Tests.Support;

/// <summary>
/// A client of Redis made of a bare socket, so that tests need not trust the library that the broker uses.
/// </summary>
public sealed class RedisClient : IDisposable
{
    private readonly TcpClient _tcp = new() { NoDelay = true };
    private NetworkStream _sent = null!;
    private StreamReader _received = null!;

    private RedisClient() { }

    public static async Task<RedisClient> ConnectAsync(int port, string? password = null)
    {
        var client = new RedisClient();
        await client._tcp.ConnectAsync("127.0.0.1", port).WaitAsync(Node.Patience);
        client._sent = client._tcp.GetStream();

        // A character for a byte: Redis counts bytes.
        client._received = new StreamReader(client._sent, Encoding.Latin1);
        if (password is not null)
        {
            await client.CommandAsync("AUTH", password);
        }

        return client;
    }

    /// <summary>Sends a command and gives its answer, an array's items on a line each.</summary>
    /// <exception cref="RedisErrorException">Redis refused it.</exception>
    public Task<string> CommandAsync(params string[] words) => CommandAsync([.. words.Select(Encoding.UTF8.GetBytes)]);

    /// <inheritdoc cref="CommandAsync(string[])"/>
    public async Task<string> CommandAsync(params byte[][] words)
    {
        await SendAsync(words);
        return await ReadAsync().WaitAsync(Node.Patience);
    }

    /// <summary>Subscribes to a channel: from here on this client only reads what comes on its channels.</summary>
    public async Task SubscribeAsync(string channel)
    {
        await SendAsync([.. new[] { "SUBSCRIBE", channel }.Select(Encoding.UTF8.GetBytes)]);
        Assert.StartsWith(
            $"subscribe\n{channel}\n",
            await ReadAsync().WaitAsync(Node.Patience),
            StringComparison.Ordinal
        );
    }

    /// <summary>The next message on one of its channels.</summary>
    public async Task<(string Channel, string Body)> ReadMessageAsync()
    {
        var parts = (await NextAsync()).Split('\n', 3);
        Assert.Equal("message", parts[0]);
        return (parts[1], parts[2]);
    }

    /// <summary>What comes next by itself, after a SUBSCRIBE: an array's items on a line each.</summary>
    public Task<string> NextAsync() => ReadAsync().WaitAsync(Node.Patience);

    /// <summary>Publishes these one after the other, without waiting in between.</summary>
    public async Task PublishAllAsync(string channel, IReadOnlyCollection<byte[]> bodies)
    {
        foreach (var body in bodies)
        {
            await SendAsync([.. new[] { "PUBLISH", channel }.Select(Encoding.UTF8.GetBytes), body]);
        }

        for (var i = 0; i < bodies.Count; i++)
        {
            await ReadAsync().WaitAsync(Node.Patience);
        }
    }

    public void Dispose()
    {
        _received?.Dispose();
        _tcp.Dispose();
    }

    private Task SendAsync(params byte[][] words)
    {
        var bytes = new List<byte>(Encoding.ASCII.GetBytes($"*{words.Length}\r\n"));
        foreach (var word in words)
        {
            bytes.AddRange([.. Encoding.ASCII.GetBytes($"${word.Length}\r\n"), .. word, .. "\r\n"u8]);
        }

        return _sent.WriteAsync(bytes.ToArray()).AsTask().WaitAsync(Node.Patience);
    }

    private async Task<string> ReadAsync()
    {
        var line = await _received.ReadLineAsync() ?? throw new EndOfStreamException("Redis closed the connection.");
        switch (line[0])
        {
            case '-':
                throw new RedisErrorException(line[1..]);
            case '$' when line != "$-1":
                var body = new char[Number(line) + 2];
                await _received.ReadBlockAsync(body);
                return Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(body[..^2]));
            case '*':
                var items = new List<string>();
                for (var left = Number(line); left > 0; left--)
                {
                    items.Add(await ReadAsync());
                }

                return string.Join('\n', items);
            case '$':
                return "";
            default:
                return line[1..];
        }
    }

    private static int Number(string line) => int.Parse(line.AsSpan(1), CultureInfo.InvariantCulture);
}

/// <summary>What Redis said no with.</summary>
public sealed class RedisErrorException(string message) : Exception(message);
