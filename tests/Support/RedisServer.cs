using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Dmb.Tests.Support;

/// <summary>A redis-server of this test's own, on a port that stays its own while it is down.</summary>
public sealed class RedisServer : IAsyncDisposable
{
    // Below the ports that outgoing connections take: one of these could be taken while the server is down, and a
    // client that tries again and again to reach one of those ends up connected to itself.
    private const int FirstPort = 10_000;
    private const int LastPort = 32_000;

    private static readonly ConcurrentDictionary<int, bool> Given = [];

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("dmb-redis");
    private readonly string[] _options;
    private ChildProcess? _process;

    /// <summary>A server that is not running yet; options as on redis-server's command line.</summary>
    public RedisServer(params string[] options)
    {
        _options = options;
        var password = Array.IndexOf(options, "--requirepass");
        Password = password < 0 ? null : options[password + 1];
    }

    public int Port { get; } = FreePort();

    /// <summary>What this class itself logs in with.</summary>
    public string? Password { get; set; }

    /// <summary>Its log: that of its life now, or of its last one.</summary>
    public string[] Log => _process!.Lines;

    /// <summary>Starts one that keeps nothing on disk, unless the options say otherwise.</summary>
    public static async Task<RedisServer> StartAsync(params string[] options)
    {
        var redis = new RedisServer(options);
        try
        {
            await redis.StartAsync();
            return redis;
        }
        catch
        {
            await redis.DisposeAsync();
            throw;
        }
    }

    /// <summary>A free port that no outgoing connection takes, and that nobody else is given.</summary>
    public static int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(FirstPort, LastPort);
            try
            {
                using var probe = new TcpListener(IPAddress.Loopback, port);
                probe.Start();
                if (Given.TryAdd(port, true))
                {
                    return port;
                }
            }
            catch (SocketException)
            {
                // Taken: the next one.
            }
        }
    }

    /// <summary>Starts it, for the first time or again, on the same port and directory.</summary>
    public async Task StartAsync()
    {
        if (_process is not null)
        {
            await _process.DisposeAsync();
        }

        string[] arguments =
        [
            "--port",
            $"{Port}",
            "--bind",
            "127.0.0.1",
            "--dir",
            _directory.FullName,
            "--save",
            "",
            .. _options,
        ];
        _process = ChildProcess.Start("redis-server", arguments, _directory.FullName);
        await _process.LineAsync("Ready to accept connections");
    }

    /// <summary>Its first line that has this in it, printed already or to come.</summary>
    public Task<string> LineAsync(string part) => _process!.LineAsync(part);

    /// <summary>Kills it: what isn't on disk is gone.</summary>
    public Task KillAsync() => _process!.KillAsync();

    /// <summary>Freezes it: it keeps its connections, takes new ones (the kernel does), and answers nothing.</summary>
    public void Stop() => _process!.Stop();

    /// <summary>Lets it go on after <see cref="Stop"/>.</summary>
    public void Continue() => _process!.Continue();

    /// <summary>One command on a connection of its own. Gives the answer, an array's items on a line each.</summary>
    public async Task<string> CommandAsync(params string[] words)
    {
        using var client = await OpenAsync();
        return await client.CommandAsync(words);
    }

    /// <summary>A connection for many commands.</summary>
    public Task<RedisClient> OpenAsync() => RedisClient.ConnectAsync(Port, Password);

    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
        {
            await _process.DisposeAsync();
        }

        _directory.Delete(recursive: true);
    }
}
