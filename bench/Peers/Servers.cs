using System.Diagnostics;
using Dmb.Bench.Load;

namespace Dmb.Bench.Peers;

/// <summary>All servers that can be measured: ours, the peers, and the limit that none of them can pass.</summary>
internal static class Servers
{
    private static readonly string[] Deployed = ["nobody", "rooms", "rate500", "fanout1000"];
    private static readonly string[] Native = ["start", "idle", .. Deployed, "fanout1000x8", "fanout5000", "storm"];
    private static readonly string[] SocketIo = ["idle", "rooms", "rate500", "fanout1000", "fanout1000x8", "storm"];
    private static readonly string[] Polling = ["rooms", "rate500", "fanout1000"];

    /// <summary>A Redis Cluster: found out by asking one server, and names with a hash tag.</summary>
    private static readonly (string, string)[] Cluster =
    [
        ("REDIS_URL", "redis://127.0.0.1:REDIS?cluster=true"),
        ("DMB_PREFIX", "{dmb}:"),
        ("DMB_GROUPS", "64"),
    ];

    public static IReadOnlyList<Server> All { get; } =
    [
        Ours("dmb", "DMB"),
        Ours("dmb-aot", "DMB, AOT", Build.Folder("dmb-aot", "Dmb")) with
        {
            Prepare = Build.Native,
            Works = Native,
        },
        Ours("dmb-otlp", "DMB, OTLP", settings: Otlp("always_on")) with
        {
            Works = ["start", .. Deployed],
        },
        Ours("dmb-otlp-100", "DMB, OTLP 1 in 100", settings: Otlp("traceidratio")) with
        {
            Works = Deployed,
        },
        Ours("dmb-nginx", "DMB behind nginx", settings: [("DMB_TRUSTED_PROXIES", "127.0.0.1")]) with
        {
            Prepare = Build.Nginx,
            Proxy = Build.NginxCommand,
            Works = Deployed,
        },
        Ours("dmb-kestrel", "DMB, Kestrel alone", settings: [("DMB_FAST_PATH", "off")]) with
        {
            Works = Deployed,
        },
        Ours("dmb-bare", "DMB without history", settings: [("DMB_HISTORY_SIZE", "0")]) with
        {
            Works = Native,
        },
        Limit("limit", "limit"),
        Limit("limit-batch", "limit, batch", "--batch"),
        Nchan("nchan", "nchan", Dialect.Plain),
        Node("ws", "ws", Dialect.Plain),
        AspNet("naive", "naive Kestrel", Dialect.Plain),
        AspNet("signalr", "SignalR", Dialect.SignalR),
        Node("socketio", "Socket.IO", Dialect.SocketIo),
        AspNet("bare", "bare ASP.NET Core", Dialect.Plain) with
        {
            Bare = true,
        },
        Ours("dmb-redis", "DMB + Redis") with
        {
            Redis = true,
        },
        Ours("dmb-2", "DMB, two nodes + Redis") with
        {
            Redis = true,
            Nodes = 2,
        },
        Ours("dmb-aot-redis", "DMB, AOT + Redis", Build.Folder("dmb-aot", "Dmb")) with
        {
            Prepare = Build.Native,
            Redis = true,
            Works = ["start", .. Deployed],
        },
        Nchan("nchan-redis", "nchan + Redis", Dialect.Plain) with
        {
            Redis = true,
        },
        Node("socketio-redis", "Socket.IO + Redis", Dialect.SocketIo) with
        {
            Redis = true,
        },
        DmbSocketIo("dmb-socketio", "DMB, Socket.IO", Dialect.SocketIo) with
        {
            Works = SocketIo,
        },
        DmbSocketIo("dmb-recovery", "DMB, Socket.IO with recovery", Dialect.SocketIo) with
        {
            Dialect = Dialect.SocketIo.ToDmb() with
            {
                Subscribe = _ => "/socket.io/?EIO=4&transport=websocket&recovery=1",
            },
            Works = SocketIo,
        },
        DmbSocketIo("dmb-polling", "DMB, Socket.IO polling", Dialect.SocketIoPolling) with
        {
            Works = Polling,
        },
        Node("socketio-polling", "Socket.IO, polling", Dialect.SocketIoPolling) with
        {
            Works = Polling,
        },
        DmbSocketIo("dmb-socketio-redis", "DMB, Socket.IO + Redis", Dialect.SocketIo) with
        {
            Redis = true,
            Works = Polling,
        },
        DmbSocketIo("dmb-polling-redis", "DMB, Socket.IO polling + Redis", Dialect.SocketIoPolling) with
        {
            Redis = true,
            Works = Polling,
        },
        Node("socketio-polling-redis", "Socket.IO, polling + Redis", Dialect.SocketIoPolling) with
        {
            Redis = true,
            Works = Polling,
        },
        Ours("built", "DMB, as built", Path.Combine(AppContext.BaseDirectory, "Dmb.dll")) with
        {
            Prepare = () => { },
            ByDefault = false,
        },
        Ours("dmb-groups", "DMB, 8 groups + Redis", settings: [("DMB_GROUPS", "8")]) with
        {
            Redis = true,
            ByDefault = false,
        },
        Ours("dmb-shards", "DMB, 64 groups + 3 shards", settings: Cluster) with
        {
            Redis = true,
            Shards = 3,
            ByDefault = false,
        },
        Ours("dmb-sse", "DMB, events") with
        {
            Dialect = Dialect.DmbEvents,
            ByDefault = false,
        },
        Nchan("nchan-sse", "nchan, events", Dialect.PlainEvents) with
        {
            ByDefault = false,
        },
    ];

    /// <summary>
    /// By its name; <c>name=path</c> is ours, built elsewhere: the path is its Dmb.dll or its Dmb. A name that ends in
    /// <c>-redis</c> or <c>-2</c> runs it over Redis, on one node or two; one that ends in <c>-sse</c> is heard over
    /// Server-Sent Events; <c>-otlp</c>, <c>-otlp-100</c> and <c>-nginx</c> deploy it as the servers of these names.
    /// </summary>
    /// <exception cref="FormatException">There is no such server.</exception>
    public static Server Find(string text)
    {
        if (text.Split('=', 2) is not [var name, var path])
        {
            return All.FirstOrDefault(server => server.Name == text)
                ?? throw new FormatException(
                    $"'{text}' is no server: {string.Join(' ', All.Select(server => server.Name))}."
                );
        }

        var server = Ours(name, name, Path.GetFullPath(path), SettingsOf(name)) with
        {
            Prepare = () => Build.Nothing(path),
            Redis = Ends("-redis") || Ends("-2"),
            Nodes = Ends("-2") ? 2 : 1,
            Dialect = Ends("-sse") ? Dialect.DmbEvents : Dialect.Dmb,
        };
        return Ends("-nginx") ? server with { Proxy = Build.NginxCommand } : server;

        bool Ends(string end) => name.EndsWith(end, StringComparison.Ordinal);
    }

    private static (string Name, string Value)[] SettingsOf(string name) =>
        name.Split('-') switch
        {
            [.., "otlp"] => Otlp("always_on"),
            [.., "otlp", "100"] => Otlp("traceidratio"),
            [.., "nginx"] => [("DMB_TRUSTED_PROXIES", "127.0.0.1")],
            _ => [],
        };

    /// <summary>Ours, with its default settings but for those given.</summary>
    private static Server Ours(
        string name,
        string title,
        string? program = null,
        params (string Name, string Value)[] settings
    ) =>
        new(name, title, Dialect.Dmb)
        {
            Prepare = Build.Dmb,
            SaysReady = true,
            Command = (port, redis) =>
            {
                var start = Build.Program(program ?? Build.Folder("dmb", "Dmb"));
                start.Environment["DMB_HOST"] = "127.0.0.1";
                start.Environment["DMB_PORT"] = $"{port}";
                start.Environment["REDIS_HOST"] = redis == 0 ? "none" : "127.0.0.1";
                start.Environment["REDIS_PORT"] = $"{(redis == 0 ? 6379 : redis)}";
                foreach (var (setting, value) in settings)
                {
                    start.Environment[setting] = value
                        .Replace("OTLP", $"{OtlpSink.Port}", StringComparison.Ordinal)
                        .Replace("REDIS", $"{redis}", StringComparison.Ordinal);
                }

                return start;
            },
        };

    /// <summary>Settings that export to <see cref="OtlpSink"/>.</summary>
    private static (string Name, string Value)[] Otlp(string sampler) =>
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:OTLP"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_TRACES_SAMPLER", sampler),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ];

    /// <summary>Ours, heard by clients of Socket.IO.</summary>
    private static Server DmbSocketIo(string name, string title, Dialect dialect) =>
        Ours(name, title) with
        {
            Dialect = dialect.ToDmb(),
        };

    private static Server Limit(string name, string title, params string[] options) =>
        new(name, title, Dialect.Dmb)
        {
            Prepare = Build.Limit,
            Command = (port, _) => new ProcessStartInfo(Build.Folder("limit", "limit"), [$"{port}", .. options]),
        };

    private static Server Nchan(string name, string title, Dialect dialect) =>
        new(name, title, dialect) { Prepare = Build.Nchan, Command = Build.NchanCommand };

    private static Server Node(string name, string title, Dialect dialect)
    {
        var folder = name.Split('-')[0];
        return new Server(name, title, dialect)
        {
            Prepare = () => Build.Node(folder),
            Command = (port, redis) =>
                new ProcessStartInfo("node", [Build.Folder(folder, "server.js"), $"{port}", $"{redis}"]),
        };
    }

    private static Server AspNet(string name, string title, Dialect dialect) =>
        new(name, title, dialect)
        {
            Prepare = Build.AspNet,
            Command = (port, _) => new ProcessStartInfo(Build.Folder("aspnet", "aspnet"), [name, $"{port}"]),
        };
}
