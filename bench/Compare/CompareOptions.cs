using System.Globalization;
using System.Text.RegularExpressions;
using Dmb.Bench.Peers;

namespace Dmb.Bench.Compare;

/// <summary>What is compared, how often, and where it is written.</summary>
internal sealed partial record CompareOptions
{
    public static string Usage { get; } =
        $"""
            --rounds 3         1 to 20; each server does each work once a round, in turn
            --quick            one round of the most telling works, in shorter time
            --servers a,b      {string.Join(
                ' ',
                Peers.Servers.All.Where(server => server.ByDefault).Select(server => server.Name)
            )}
                               or {string.Join(
                ' ',
                Peers.Servers.All.Where(server => !server.ByDefault).Select(server => server.Name)
            )}
                               or name=path, another build of ours: its Dmb.dll, or the Dmb that was published;
                               over Redis as name-redis=path, on two nodes as name-2=path, events as name-sse=path
                               exporting as name-otlp=path or name-otlp-100=path, behind nginx as name-nginx=path
            --work a,b         {string.Join(' ', Work.All.Select(work => work.Name))}
            --name full        keeps the raw lines in bench/results/NAME.txt

            Without --quick, --servers and --work the tables go into docs/performance.md and the lines into full.txt;
            with one of them they are only printed, and kept if they are given a name.
            """;

    public int Rounds { get; private init; } = 3;
    public bool Quick { get; private init; }
    public IReadOnlyList<Server> Servers { get; private init; } =
    [.. Peers.Servers.All.Where(server => server.ByDefault)];
    public IReadOnlyList<Work> Works { get; private init; } = Work.All;
    public string? Name { get; private init; }

    /// <summary>Whether nothing was left out.</summary>
    public bool Full { get; private init; } = true;

    /// <summary>How long it publishes: before it is measured, and measured in a closed loop and at a rate.</summary>
    public (TimeSpan WarmUp, TimeSpan Closed, TimeSpan Rated) Times =>
        Quick
            ? (TimeSpan.FromSeconds(0.1), TimeSpan.FromSeconds(0.25), TimeSpan.FromSeconds(1))
            : (TimeSpan.FromSeconds(0.1), TimeSpan.FromSeconds(0.4), TimeSpan.FromSeconds(1.5));

    /// <exception cref="FormatException">Says in one line which option is not accepted, and why.</exception>
    public static CompareOptions Parse(ReadOnlySpan<string> args)
    {
        var options = new CompareOptions();
        for (var i = 0; i < args.Length; i++)
        {
            var name = args[i];
            if (name is "--quick")
            {
                options = options with
                {
                    Quick = true,
                    Full = false,
                    Rounds = 1,
                    Works = [.. options.Works.Where(w => w.Quick)],
                };
                continue;
            }

            var value = ++i < args.Length ? args[i] : throw new FormatException($"{name} needs a value.\n{Usage}");
            options = name switch
            {
                "--rounds" => options with { Rounds = Number(name, value) },
                "--servers" => options with
                {
                    Full = false,
                    Servers = [.. value.Split(',').Select(Peers.Servers.Find)],
                },
                "--work" => options with { Full = false, Works = [.. value.Split(',').SelectMany(Find)] },
                "--name" => options with
                {
                    Name = FileName().IsMatch(value) ? value : throw NotAccepted(name, value, $"{FileName()}"),
                },
                _ => throw new FormatException($"{name} is not an option.\n{Usage}"),
            };
        }

        return options.Full ? options with { Name = options.Name ?? "full" } : options;
    }

    private static Work[] Find(string name)
    {
        return Work.All.Where(work => work.Name == name).ToArray() is { Length: 1 } found
            ? found
            : throw NotAccepted("--work", name, string.Join(' ', Work.All.Select(work => work.Name)));
    }

    private static int Number(string name, string value)
    {
        return
            int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            && number is >= 1 and <= 20
            ? number
            : throw NotAccepted(name, value, "1 to 20");
    }

    private static FormatException NotAccepted(string name, string value, string accepted) =>
        new($"{name}: '{value}' is not accepted; {accepted}.");

    [GeneratedRegex("^[A-Za-z0-9_.-]{1,64}$")]
    private static partial Regex FileName();
}
