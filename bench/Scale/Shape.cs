using System.Globalization;

namespace Dmb.Bench.Scale;

/// <summary>Who is connected, what is published, and what machines there are.</summary>
internal sealed record Shape
{
    public const string Usage = """
        bench simulate [options]: how many nodes, shards and groups a use needs by the measured costs
        (bench/Scale/costs.json), with what memory and network, and what is full first; without options the tables of
        docs/scale.md are written anew
          --sessions N       sockets (100,000)
          --rooms N          rooms (100,000)
          --members N        members of a room (1)
          --publishes N      publishes a second, of all nodes together (1,000)
          --rooms-each N     rooms that a publish names (1)
          --bytes N          bytes of a message (200)
          --kept N           messages that a room's history keeps (100)
          --kept-seconds N   for so long (60)
          --cores N          of a node (8)
          --memory N         GB of a node, and of a shard of Redis (32)
          --gbit N           Gbit/s of a node, and of a shard (10)
          --node-sessions N  sessions that a node takes, DMB_MAX_SESSIONS (100,000)
          --return N         seconds within which the sessions of a node that died are back (60)
          --costs FILE       measured elsewhere
        """;

    public string Title { get; init; } = "";
    public double Sessions { get; init; } = 100_000;
    public double Rooms { get; init; } = 100_000;
    public double Members { get; init; } = 1;

    /// <summary>A second, of all nodes together.</summary>
    public double Publishes { get; init; } = 1_000;
    public double RoomsEach { get; init; } = 1;
    public double Bytes { get; init; } = 200;
    public double Kept { get; init; } = 100;
    public double KeptSeconds { get; init; } = 60;
    public double Cores { get; init; } = 8;
    public double MemoryGB { get; init; } = 32;
    public double Gbit { get; init; } = 10;
    public double NodeSessions { get; init; } = 100_000;
    public double ReturnSeconds { get; init; } = 60;

    /// <summary>Messages to sessions a second.</summary>
    public double Deliveries => Publishes * RoomsEach * Members;

    /// <exception cref="FormatException">There is no such option, or its value is not accepted.</exception>
    public static (Shape Shape, string? CostsFile) Parse(ReadOnlySpan<string> args)
    {
        var shape = new Shape();
        string? costs = null;
        for (var i = 0; i < args.Length; i++)
        {
            var name = args[i];
            var value = ++i < args.Length ? args[i] : throw new FormatException($"{name} needs a value.\n{Usage}");
            if (name == "--costs")
            {
                costs = value;
                continue;
            }

            var number = Number(name, value);
            shape = name switch
            {
                "--sessions" => shape with { Sessions = number },
                "--rooms" => shape with { Rooms = number },
                "--members" => shape with { Members = number },
                "--publishes" => shape with { Publishes = number },
                "--rooms-each" => shape with { RoomsEach = number },
                "--bytes" => shape with { Bytes = number },
                "--kept" => shape with { Kept = number },
                "--kept-seconds" => shape with { KeptSeconds = number },
                "--cores" => shape with { Cores = number },
                "--memory" => shape with { MemoryGB = number },
                "--gbit" => shape with { Gbit = number },
                "--node-sessions" => shape with { NodeSessions = number },
                "--return" => shape with { ReturnSeconds = number },
                _ => throw new FormatException($"{name} is not an option.\n{Usage}"),
            };
        }

        return (shape, costs);
    }

    private static double Number(string name, string value) =>
        double.TryParse(
            value,
            NumberStyles.AllowThousands | NumberStyles.AllowDecimalPoint,
            CultureInfo.InvariantCulture,
            out var number
        ) && number is > 0 and <= 1e9
            ? number
            : throw new FormatException($"{name}: '{value}' is not accepted; above 0, up to 1,000,000,000.");
}
