using System.Reflection;

namespace Dmb.Bench.Scale;

/// <summary><c>bench simulate</c>: prints the plan of a shape, or writes the tables of docs/scale.md anew.</summary>
internal static class Simulation
{
    private static readonly string Bench = typeof(Simulation)
        .Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
        .Single(data => data.Key == "BenchFolder")
        .Value!;

    /// <exception cref="FormatException">An option is not accepted, or no number of machines is enough.</exception>
    public static bool Run(ReadOnlySpan<string> args)
    {
        var (shape, file) = Shape.Parse(args);
        var costs = Costs.Parse(File.ReadAllText(file ?? Path.Combine(Bench, "Scale/costs.json")));
        if (args.Length > 0)
        {
            Console.Write(ScaleTables.PlansOf(costs, [shape with { Title = "the plan" }]));
            return true;
        }

        var page = Path.Combine(Bench, "../docs/scale.md");
        File.WriteAllText(page, ScaleTables.InPage(File.ReadAllText(page), costs));
        return true;
    }
}
