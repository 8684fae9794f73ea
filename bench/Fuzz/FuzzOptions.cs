using System.Globalization;

namespace Dmb.Bench.Fuzz;

/// <summary>Which cases are sent, and for how long.</summary>
internal sealed record FuzzOptions
{
    public const string Usage = """
        bench fuzz [options]: requests and frames to a node of its own, which has to stay as it is: first those that once
        failed (bench/Fuzz/Corpus), then random ones; a new one that fails is added to them
          --seconds N     for so long (60)
          --seed N        which cases, 0 to 1,000,000,000 (1)
          --only N[-M]    only the case of this number, or those from one to another
          --kind NAME     only cases of a kind: http publish batch register backend events handshake frames deflate
                          polling socketio
          --redis         the node runs over a Redis of its own
          --show          print what is sent; for --only
        """;

    public TimeSpan Time { get; init; } = TimeSpan.FromSeconds(60);
    public int Seed { get; init; } = 1;
    public int First { get; init; }
    public int Last { get; init; } = int.MaxValue;
    public string? Kind { get; init; }
    public bool Redis { get; init; }
    public bool Show { get; init; }

    /// <summary>Whether cases of all kinds and numbers are sent; then the corpus comes first.</summary>
    public bool IsWhole => Kind is null && First == 0 && Last == int.MaxValue;

    /// <exception cref="FormatException">There is no such option, or its value is not accepted.</exception>
    public static FuzzOptions Parse(ReadOnlySpan<string> args)
    {
        var options = new FuzzOptions();
        for (var i = 0; i < args.Length; i++)
        {
            var name = args[i];
            if (name is "--redis" or "--show")
            {
                options = name == "--redis" ? options with { Redis = true } : options with { Show = true };
                continue;
            }

            var value = ++i < args.Length ? args[i] : throw new FormatException($"{name} needs a value.\n{Usage}");
            options = name switch
            {
                "--seconds" => options with { Time = TimeSpan.FromSeconds(Number(name, value)) },
                "--seed" => options with { Seed = Number(name, value) },
                "--only" when value.Split('-') is [var one] => options with
                {
                    First = Number(name, one),
                    Last = Number(name, one),
                },
                "--only" when value.Split('-') is [var from, var to] => options with
                {
                    First = Number(name, from),
                    Last = Number(name, to),
                },
                "--kind" when FuzzCase.Kinds.Contains(value) => options with { Kind = value },
                _ => throw new FormatException($"{name} {value} is not accepted.\n{Usage}"),
            };
        }

        return options;
    }

    private static int Number(string name, string value) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number <= 1_000_000_000
            ? number
            : throw new FormatException($"{name}: '{value}' is not accepted; 0 to 1,000,000,000.");
}
