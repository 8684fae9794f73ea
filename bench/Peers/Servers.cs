using System.Diagnostics;
using Dmb.Bench.Load;

namespace Dmb.Bench.Peers;

/// <summary>All servers that can be measured: ours, the peers, and the limit that none of them can pass.</summary>
internal static class Servers
{
    /// <summary>
    /// As most of the peers: what history costs is measured by itself (<see cref="Redis.HistoryBench"/>).
    /// </summary>
    private const string WithoutHistory = "0";

    public static IReadOnlyList<Server> All { get; } =
    [
        Ours("dmb", "DMB", Build.Folder("dmb", "Dmb"), WithoutHistory),
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
        Ours("dmb-redis", "DMB + Redis", Build.Folder("dmb", "Dmb"), WithoutHistory) with
        {
            Redis = true,
        },
        Ours("dmb-2", "DMB, two nodes + Redis", Build.Folder("dmb", "Dmb"), WithoutHistory) with
        {
            Redis = true,
            Nodes = 2,
        },
        Nchan("nchan-redis", "nchan + Redis", Dialect.Plain) with
        {
            Redis = true,
        },
        Node("socketio-redis", "Socket.IO + Redis", Dialect.SocketIo) with
        {
            Redis = true,
        },
        Ours("built", "DMB, as built", Path.Combine(AppContext.BaseDirectory, "Dmb.dll")) with
        {
            Prepare = () => { },
            ByDefault = false,
        },
        DmbSocketIo("dmb-socketio", "DMB, Socket.IO", Dialect.SocketIo),
        DmbSocketIo("dmb-recovery", "DMB, Socket.IO with recovery", Dialect.SocketIo, historySize: null) with
        {
            Dialect = Dialect.SocketIo.ToDmb() with
            {
                Subscribe = _ => "/socket.io/?EIO=4&transport=websocket&recovery=1",
            },
        },
        DmbSocketIo("dmb-polling", "DMB, Socket.IO polling", Dialect.SocketIoPolling),
        DmbSocketIo("dmb-socketio-redis", "DMB, Socket.IO + Redis", Dialect.SocketIo) with
        {
            Redis = true,
        },
        DmbSocketIo("dmb-polling-redis", "DMB, Socket.IO polling + Redis", Dialect.SocketIoPolling) with
        {
            Redis = true,
        },
        Node("socketio-polling", "Socket.IO, polling", Dialect.SocketIoPolling) with
        {
            ByDefault = false,
        },
        Node("socketio-polling-redis", "Socket.IO, polling + Redis", Dialect.SocketIoPolling) with
        {
            Redis = true,
            ByDefault = false,
        },
        Ours("dmb-sse", "DMB, events", Build.Folder("dmb", "Dmb")) with
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
    /// <c>-redis</c> or <c>-2</c> runs it over Redis, on one node or two.
    /// </summary>
    /// <exception cref="FormatException">There is no such server.</exception>
    public static Server Find(string text)
    {
        return text.Split('=', 2) is [var name, var path]
            ? Ours(name, name, Path.GetFullPath(path)) with
            {
                Prepare = () => Build.Nothing(path),
                Redis =
                    name.EndsWith("-redis", StringComparison.Ordinal) || name.EndsWith("-2", StringComparison.Ordinal),
                Nodes = name.EndsWith("-2", StringComparison.Ordinal) ? 2 : 1,
            }
            : All.FirstOrDefault(server => server.Name == text)
                ?? throw new FormatException(
                    $"'{text}' is no server: {string.Join(' ', All.Select(server => server.Name))}."
                );
    }

    private static Server Ours(string name, string title, string program, string? historySize = null) =>
        new(name, title, Dialect.Dmb)
        {
            Prepare = Build.Dmb,
            SaysReady = true,
            Command = (port, redis) =>
                Run(
                    Build.Program(program),
                    new()
                    {
                        ["DMB_HISTORY_SIZE"] = historySize
                            ?? Environment.GetEnvironmentVariable("DMB_HISTORY_SIZE")
                            ?? "100",
                        ["DMB_HOST"] = "127.0.0.1",
                        ["DMB_PORT"] = $"{port}",
                        ["REDIS_HOST"] = redis == 0 ? "none" : "127.0.0.1",
                        ["REDIS_PORT"] = $"{(redis == 0 ? 6379 : redis)}",
                    }
                ),
        };

    /// <summary>Ours, heard by clients of Socket.IO.</summary>
    private static Server DmbSocketIo(
        string name,
        string title,
        Dialect dialect,
        string? historySize = WithoutHistory
    ) =>
        Ours(name, title, Build.Folder("dmb", "Dmb"), historySize) with
        {
            Dialect = dialect.ToDmb(),
            ByDefault = false,
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

    private static ProcessStartInfo Run(ProcessStartInfo start, Dictionary<string, string> environment)
    {
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        return start;
    }
}
