using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using Dmb.Endpoints;
using Dmb.Redis;
using Dmb.Transport;

namespace Dmb.Commands;

/// <summary>
/// <c>dmb check</c>: checks that a node can start and work with the settings of this environment and, with
/// <c>--through</c>, that the proxy in front passes streams and sockets.
/// </summary>
internal static class CheckCommand
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    public static Command Create()
    {
        var through = new Option<string?>("--through")
        {
            Description = "The URL at which clients reach the broker, such as https://dmb.example.com.",
        };
        var command = new Command(
            "check",
            "Check settings, files, the port, Redis and its rights: a line each, with how to mend what is wrong. Exit "
                + "code 1 if something is."
        )
        {
            through,
        };
        command.SetAction((parsed, token) => RunAsync(parsed.GetValue(through), token));
        return command;
    }

    private static async Task<int> RunAsync(string? through, CancellationToken token)
    {
        var report = new Report();
        if (ReadSettings(report) is { } options)
        {
            CheckFiles(report, options);
            CheckOpenFiles(report, options);
            await CheckPortAsync(report, options.Http, token);
            await CheckRedisAsync(report, options.Redis);
        }

        if (through is not null)
        {
            await CheckProxyAsync(report, through, token);
        }

        return report.HasFaults ? CommandLine.Failed : 0;
    }

    private static NodeOptions? ReadSettings(Report report)
    {
        try
        {
            var builder = Settings.CreateBuilder([]);
            var options = Settings.Read(builder.Configuration, []);
            foreach (var (name, meant) in Settings.Unknown(builder.Configuration).Where(one => one.Name != "DMB_KEY"))
            {
                report.Bad(
                    $"There is no setting {name}"
                        + (meant is null ? "; `dmb --help` prints those there are" : $": set {meant}, or take it away")
                );
            }

            report.Ok($"settings: a node listens on {options.Http.Host}, port {options.Http.Port}");
            if (options.Access.Auth == "none")
            {
                report.Ok("DMB_AUTH=none: every caller that reaches the port may do everything");
            }

            return options;
        }
        catch (Settings.BadSettingException bad)
        {
            report.Bad($"{bad.Message} Mend it, and check again: the rest is not checked");
            return null;
        }
    }

    /// <summary>
    /// Reports secrets that other users of this machine can read. The files' contents are checked with the settings.
    /// </summary>
    private static void CheckFiles(Report report, NodeOptions options)
    {
        (string Setting, string Path)[] files =
        [
            ("DMB_KEYS_FILE", options.Access.KeysFile),
            ("DMB_JWT_SECRET_FILE", options.Access.JwtSecretFile),
            ("REDIS_PASSWORD_FILE", options.Redis.RedisPasswordFile),
            ("REDIS_SENTINEL_PASSWORD_FILE", options.Redis.RedisSentinelPasswordFile),
        ];
        foreach (var (setting, path) in files.Where(file => file.Path.Length > 0))
        {
            const UnixFileMode Others = UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
            if (!File.Exists(path))
            {
                report.Bad($"{setting}: there is no file {path}; make it, or mend the path");
            }
            else if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & Others) != 0)
            {
                report.Bad($"{setting}: every user of this machine can read or change {path}; chmod 600 {path}");
            }
            else
            {
                report.Ok($"{setting}: {path} is there, and not for others");
            }
        }
    }

    private static void CheckOpenFiles(Report report, NodeOptions options)
    {
        var max = ConnectionGate.ReadFilesMax();
        if (options.Sockets.MaxSessions > max && options.Sockets.MaxSessions != new Sockets.SocketOptions().MaxSessions)
        {
            report.Bad(
                $"DMB_MAX_SESSIONS is {options.Sockets.MaxSessions}, and a process may have {max} files open; raise "
                    + "ulimit -n or LimitNOFILE="
            );
        }
    }

    private static async Task CheckPortAsync(Report report, HttpOptions http, CancellationToken token)
    {
        var address = http.Address ?? IPAddress.Any;
        try
        {
            using var listener = new TcpListener(address, http.Port);
            listener.Start();
            report.Ok($"port: {http.Port} of {http.Host} is free");
        }
        catch (SocketException taken) when (taken.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            if (await IsBrokerAsync(new Uri($"http://{Reached(address, http.Port)}/healthz"), token))
            {
                report.Ok($"port: a broker answers on {http.Port}");
            }
            else
            {
                report.Bad(
                    $"DMB_PORT: another program listens on port {http.Port} of {http.Host}; stop it, or set another "
                        + "port"
                );
            }
        }
        catch (SocketException refused) when (refused.SocketErrorCode == SocketError.AddressNotAvailable)
        {
            report.Bad($"DMB_HOST: {http.Host} is no address of this machine; set one that is, or * for all");
        }
        catch (SocketException refused)
        {
            report.Bad(
                $"DMB_PORT: this user can't listen on port {http.Port} of {http.Host} ({refused.Message}); take a port "
                    + "from 1024 on"
            );
        }
    }

    private static async Task CheckRedisAsync(Report report, RedisOptions options)
    {
        if (await RedisEndpoint.FindAsync(options) is not { } redis)
        {
            report.Ok(
                options.RedisHost == "none"
                    ? "Redis: REDIS_HOST is none, so that one node runs alone"
                    : $"Redis: there is none at localhost:{options.RedisPort}, so that one node runs alone"
            );
            return;
        }

        options.Groups = options.Groups > 0 ? options.Groups : await RedisLayout.FindGroupsAsync(redis, options);
        var faults = await RedisRights.FindFaultsAsync(redis, options);
        foreach (var fault in faults)
        {
            report.Bad(fault);
        }

        if (faults.Count == 0)
        {
            report.Ok($"Redis at {redis} allows what a node needs");
        }
    }

    private static async Task CheckProxyAsync(Report report, string through, CancellationToken token)
    {
        if (
            !Uri.TryCreate(through.TrimEnd('/') + "/", UriKind.Absolute, out var url)
            || url.Scheme is not ("http" or "https")
        )
        {
            report.Bad($"--through: '{through}' is no URL such as https://dmb.example.com");
            return;
        }

        if (!await IsBrokerAsync(new Uri(url, "healthz"), token))
        {
            report.Bad($"{url}: no broker answers there; the proxy's upstream has to be the broker's address");
            return;
        }

        report.Ok($"proxy: a broker answers at {url}");
        if (await IsStreamAsync(new Uri(url, "events?room=public"), token))
        {
            report.Ok("proxy: a stream of events comes through");
        }
        else
        {
            report.Bad(
                $"{url}events: the stream does not come through; turn buffering off (nginx: proxy_buffering off)"
            );
        }

        if (
            await IsSocketAsync(
                new UriBuilder(url)
                {
                    Scheme = url.Scheme == "https" ? "wss" : "ws",
                    Path = url.AbsolutePath + "ws",
                }.Uri,
                token
            )
        )
        {
            report.Ok("proxy: a WebSocket comes through");
        }
        else
        {
            report.Bad(
                $"{url}ws: a WebSocket does not come through; pass Upgrade and Connection on, and set "
                    + "DMB_TRUSTED_PROXIES and DMB_ALLOWED_ORIGINS (`dmb config nginx`)"
            );
        }
    }

    private static async Task<bool> IsBrokerAsync(Uri url, CancellationToken token)
    {
        try
        {
            using var http = new HttpClient { Timeout = Patience };
            return (await http.GetStringAsync(url, token)).Contains("\"alive\"", StringComparison.Ordinal);
        }
        catch (Exception e) when (BrokerClient.IsNoAnswer(e, token))
        {
            return false;
        }
    }

    private static async Task<bool> IsStreamAsync(Uri url, CancellationToken token)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(token);
        patience.CancelAfter(Patience);
        try
        {
            using var http = new HttpClient();
            using var request = new HttpRequestMessage(HttpMethod.Get, url);
            using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, patience.Token);
            using var lines = new StreamReader(await answer.Content.ReadAsStreamAsync(patience.Token));
            return answer.IsSuccessStatusCode && await lines.ReadLineAsync(patience.Token) is not null;
        }
        catch (Exception e) when (BrokerClient.IsNoAnswer(e, token))
        {
            return false;
        }
    }

    private static async Task<bool> IsSocketAsync(Uri url, CancellationToken token)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(token);
        patience.CancelAfter(Patience);
        try
        {
            using var socket = new ClientWebSocket();
            await socket.ConnectAsync(url, patience.Token);
            var received = await socket.ReceiveAsync(new byte[4_096], patience.Token);
            return received.MessageType == WebSocketMessageType.Text;
        }
        catch (Exception e) when (e is WebSocketException || BrokerClient.IsNoAnswer(e, token))
        {
            return false;
        }
    }

    private static IPEndPoint Reached(IPAddress address, int port) =>
        new(address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any) ? IPAddress.Loopback : address, port);

    /// <summary>Prints the findings, one per line on stdout.</summary>
    private sealed class Report
    {
        private readonly TextWriter _output = Console.Out;

        public bool HasFaults { get; private set; }

        public void Ok(string what) => _output.WriteLine($"ok   {what}.");

        public void Bad(string what)
        {
            HasFaults = true;
            _output.WriteLine($"bad  {what}.");
        }
    }
}
