using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;

namespace Dmb.Redis;

/// <summary>
/// Connects to Redis on a socket of its own before the client library does, and reads its answers to AUTH, PING and
/// INFO: the library takes seconds to find out that a port is closed, and does not say what Redis answered.
/// </summary>
internal static class RedisGreeting
{
    /// <summary>Gives the address that answered.</summary>
    /// <exception cref="SocketException">There is no such host, or it refuses the connection.</exception>
    /// <exception cref="RedisAnswerException">Redis does not let this node in, or is none that it can use.</exception>
    public static async Task<IPEndPoint> AskAsync(
        RedisEndpoint redis,
        string? password,
        CancellationToken cancellationToken
    )
    {
        using var socket = await ConnectAsync(redis, cancellationToken);
        await using Stream stream = redis.IsTls ? new SslStream(new NetworkStream(socket)) : new NetworkStream(socket);
        if (stream is SslStream tls)
        {
            await tls.AuthenticateAsClientAsync(
                new SslClientAuthenticationOptions { TargetHost = redis.Host },
                cancellationToken
            );
        }

        await stream.WriteAsync(
            Encoding.UTF8.GetBytes(
                (password is null ? "" : Command("AUTH", password))
                    + Command("PING")
                    + Command("INFO", "replication")
                    + Command("INFO", "cluster")
            ),
            cancellationToken
        );
        using var reader = new StreamReader(stream, Encoding.UTF8);

        // A password where none is needed does no harm.
        var login = password is null ? "+OK" : await LineAsync();
        var answer = await LineAsync();
        if (answer is not ['+', ..])
        {
            throw new RedisAnswerException(login is ['-', ..] ? login[1..] : answer.TrimStart('-'));
        }

        if ((await SectionAsync()).Contains("role:slave"))
        {
            throw new RedisAnswerException("READONLY role:slave, it is a replica");
        }

        if ((await SectionAsync()).Contains("cluster_enabled:1"))
        {
            throw new RedisAnswerException(
                "CLUSTER cluster_enabled:1, it is a node of a Redis Cluster, which this broker can't use"
            );
        }

        return (IPEndPoint)socket.RemoteEndPoint!;

        // A user that may not ask has none.
        async Task<List<string>> SectionAsync()
        {
            var lines = new List<string>();
            for (
                var left = await LineAsync() is ['$', .. var length]
                    ? int.Parse(length, CultureInfo.InvariantCulture) + 2
                    : 0;
                left > 0;

            )
            {
                lines.Add(await LineAsync());
                left -= lines[^1].Length + 2;
            }

            return lines;
        }

        async Task<string> LineAsync() =>
            await reader.ReadLineAsync(cancellationToken)
            ?? throw new EndOfStreamException("the connection was closed");
    }

    /// <summary>Tries the addresses of the host one after the other.</summary>
    internal static async Task<Socket> ConnectAsync(RedisEndpoint redis, CancellationToken cancellationToken)
    {
        var addresses = await Dns.GetHostAddressesAsync(redis.Host, cancellationToken);
        for (var i = 0; ; i++)
        {
            var socket = new Socket(addresses[i].AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            try
            {
                await socket.ConnectAsync(addresses[i], redis.Port, cancellationToken);
                return socket;
            }
            catch (SocketException) when (i < addresses.Length - 1)
            {
                socket.Dispose();
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
    }

    /// <summary>A command in the protocol of Redis (RESP2).</summary>
    internal static string Command(params string[] words) =>
        string.Concat(
            words.Select(word => $"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n").Prepend($"*{words.Length}\r\n")
        );
}

/// <summary>Redis answered with an error.</summary>
internal sealed class RedisAnswerException(string answer) : Exception(answer);
