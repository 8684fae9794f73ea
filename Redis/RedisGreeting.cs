using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;

namespace Dmb.Redis;

/// <summary>
/// Connects to Redis before the client library does, and reads the replies to AUTH, PING and INFO, which the library
/// hides. The connection then serves the subscriptions (<see cref="RedisSubscriber"/>).
/// </summary>
internal static class RedisGreeting
{
    /// <summary>Returns the idle connection and the address that answered.</summary>
    /// <exception cref="SocketException">The host is unknown or refuses the connection.</exception>
    /// <exception cref="RedisAnswerException">Redis denies access or has an unsupported role.</exception>
    public static async Task<(Stream Stream, IPEndPoint Address)> AskAsync(
        RedisEndpoint redis,
        string? password,
        CancellationToken cancellationToken
    )
    {
        var (stream, address) = await OpenAsync(redis, cancellationToken);
        try
        {
            await AskAsync(stream, redis, password, cancellationToken);
            return (stream, address);
        }
        catch
        {
            await stream.DisposeAsync();
            throw;
        }
    }

    private static async Task AskAsync(
        Stream stream,
        RedisEndpoint redis,
        string? password,
        CancellationToken cancellationToken
    )
    {
        await stream.WriteAsync(
            Encoding.UTF8.GetBytes(
                Login() + Command("PING") + Command("INFO", "replication") + Command("INFO", "cluster")
            ),
            cancellationToken
        );
        using var reader = new StreamReader(stream, Encoding.UTF8, leaveOpen: true);

        // A needless password is harmless. A rejected user would otherwise continue as the default user.
        var login = Login().Length == 0 ? "+OK" : await LineAsync();
        var answer = await LineAsync();
        if (answer is not ['+', ..] || (redis.User is not null && login is ['-', ..]))
        {
            throw new RedisAnswerException(login is ['-', ..] ? login[1..] : answer.TrimStart('-'));
        }

        if ((await SectionAsync()).Contains("role:slave"))
        {
            throw new RedisAnswerException("READONLY role:slave, it is a replica");
        }

        if ((await SectionAsync()).Contains("cluster_enabled:1") && !redis.IsClustered)
        {
            throw new RedisAnswerException(
                "CLUSTER cluster_enabled:1, it is a server of a Redis Cluster: add ?cluster=true to REDIS_URL"
            );
        }

        return;

        string Login() => redis.Login(password) is { Length: > 0 } words ? Command(words) : "";

        // A user without permission for INFO gets no answer.
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

    /// <summary>
    /// Connects, over TLS where that is set; does not log in. Also returns the address that answered.
    /// </summary>
    /// <exception cref="SocketException">The host is unknown or refuses the connection.</exception>
    /// <exception cref="RedisUnavailableException">The server does not answer the TLS handshake.</exception>
    internal static async Task<(Stream Stream, IPEndPoint Address)> OpenAsync(
        RedisEndpoint redis,
        CancellationToken cancellationToken
    )
    {
        var socket = await ConnectAsync(redis, cancellationToken);
        var network = new NetworkStream(socket, ownsSocket: true);
        if (!redis.IsTls)
        {
            return (network, (IPEndPoint)socket.RemoteEndPoint!);
        }

        var tls = new SslStream(network);
        try
        {
            await tls.AuthenticateAsClientAsync(
                new SslClientAuthenticationOptions { TargetHost = redis.Host },
                cancellationToken
            );
            return (tls, (IPEndPoint)socket.RemoteEndPoint!);
        }
        catch (OperationCanceledException e)
        {
            await tls.DisposeAsync();
            throw new RedisUnavailableException("no answer to the TLS handshake; without TLS it is redis://", e);
        }
        catch
        {
            await tls.DisposeAsync();
            throw;
        }
    }

    /// <summary>Tries the host's addresses in sequence.</summary>
    private static async Task<Socket> ConnectAsync(RedisEndpoint redis, CancellationToken cancellationToken)
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

    /// <summary>Encodes a command (RESP2).</summary>
    internal static string Command(params string[] words) =>
        string.Concat(
            words.Select(word => $"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n").Prepend($"*{words.Length}\r\n")
        );
}

/// <summary>An error reply of Redis.</summary>
internal sealed class RedisAnswerException(string answer) : Exception(answer);
