using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Load;

/// <summary>What to load, how hard, and for how long at most. Every number is bounded.</summary>
internal sealed partial record LoadOptions
{
    internal const string Usage = """
        --url http://127.0.0.1:8082  a server that runs already, on loopback; without it one is started and ended
        --redis                      starts a redis-server too, and the server with it
        --server built               what is started, or what the URL speaks; `bench compare --help` lists them
        --subscribers 1000           WebSocket clients, 0 to 100000
        --room support               the room that they join; one like `type:key` is addressed by `_in`
        --rooms-of-one               instead of --room: each in an `endpoint:` room of its own, addressed in turn
        --in-flight 1                keep-alive connections that publish, 1 to 256, one publish each at a time;
                                     without --rate each waits for the answer and for all deliveries
        --publishes 10000            0 to 10000000
        --rate 500                   publishes a second, due at fixed times whatever the server does; 0 = closed loop
        --payload 200                bytes of data, 64 to 65536
        --warmup 1000                publishes of one round; rounds go on until two seconds have passed; 0 = none
        --time-limit 60              seconds, for each of connecting, warming up and measuring
        --json                       the report as one line of JSON
        """;

    public Uri? Url { get; init; }
    public Server Server { get; init; } = Servers.Find("built");
    public int Subscribers { get; init; } = 1_000;
    public string Room { get; init; } = "support";
    public bool RoomsOfOne { get; init; }
    public int InFlight { get; init; } = 1;
    public int Publishes { get; init; } = 10_000;
    public int Rate { get; init; }
    public int PayloadBytes { get; init; } = 200;
    public int Warmup { get; init; } = 1_000;
    public TimeSpan TimeLimit { get; init; } = TimeSpan.FromSeconds(60);
    public bool Json { get; init; }

    /// <exception cref="FormatException">Says in one line which option is not accepted, and why.</exception>
    public static LoadOptions Parse(ReadOnlySpan<string> args)
    {
        var options = new LoadOptions();
        for (var i = 0; i < args.Length; i++)
        {
            var name = args[i];
            if (name is "--json")
            {
                options = options with { Json = true };
                continue;
            }

            if (name is "--redis")
            {
                options = options with { Server = options.Server with { Redis = true } };
                continue;
            }

            if (name is "--rooms-of-one")
            {
                options = options with { RoomsOfOne = true };
                continue;
            }

            var value = ++i < args.Length ? args[i] : throw new FormatException($"{name} needs a value.\n{Usage}");
            options = name switch
            {
                "--server" => options with { Server = Servers.Find(value) },
                "--url" => options with { Url = Loopback(value) },
                "--subscribers" => options with { Subscribers = Number(name, value, 0, 100_000) },
                "--room" => options with { Room = Name(name, value, RoomName()) },
                "--in-flight" => options with { InFlight = Number(name, value, 1, 256) },
                "--publishes" => options with { Publishes = Number(name, value, 0, 10_000_000) },
                "--rate" => options with { Rate = Number(name, value, 0, 100_000) },
                "--payload" => options with { PayloadBytes = Number(name, value, 64, 65_536) },
                "--warmup" => options with { Warmup = Number(name, value, 0, 1_000_000) },
                "--time-limit" => options with { TimeLimit = TimeSpan.FromSeconds(Number(name, value, 1, 3_600)) },
                _ => throw new FormatException($"{name} is not an option.\n{Usage}"),
            };
        }

        return options.Deliveries <= 4_000_000_000
            ? options
            : throw new FormatException("--publishes times --subscribers: at most 4,000,000,000 are kept count of.");
    }

    private long Deliveries => RoomsOfOne ? Publishes : (long)Publishes * Subscribers;

    private static int Number(string name, string value, int min, int max)
    {
        return
            int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            && number >= min
            && number <= max
            ? number
            : throw new FormatException($"{name}: '{value}' is not accepted; {min} to {max}.");
    }

    private static string Name(string name, string value, Regex form) =>
        form.IsMatch(value) ? value : throw new FormatException($"{name}: '{value}' is not accepted; {form}.");

    private static Uri Loopback(string value)
    {
        return
            Uri.TryCreate(value, UriKind.Absolute, out var url)
            && url.Scheme == "http"
            && IPAddress.TryParse(url.DnsSafeHost, out var address)
            && IPAddress.IsLoopback(address)
            && address.AddressFamily == AddressFamily.InterNetwork
            ? url
            : throw new FormatException($"--url: '{value}' is not accepted; only http:// and an address 127.*.");
    }

    [GeneratedRegex("^[A-Za-z0-9_.:-]{1,200}$")]
    private static partial Regex RoomName();
}
