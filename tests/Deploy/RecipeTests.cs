using System.Text.RegularExpressions;
using YamlDotNet.RepresentationModel;

namespace Dmb.Tests.Deploy;

/// <summary>What deploy/ and the Containerfile say is so.</summary>
public sealed partial class RecipeTests
{
    private static readonly string Deploy = Path.Combine(Repository.Root, "deploy");

    /// <summary>Files of deploy/ that start no node, and have no settings.</summary>
    private static readonly string[] Others =
    [
        "alerts.yaml",
        "clients.sh",
        "dmb_publisher.py",
        "grafana.json",
        "release.sh",
        "sbom.sh",
    ];

    public static TheoryData<string> Recipes =>
        [
            .. Directory.GetFiles(Deploy).Where(file => !Others.Contains(Path.GetFileName(file))),
            Path.Combine(Repository.Root, "Containerfile"),
            Path.Combine(Repository.Root, "Dmb.csproj"),
        ];

    [Theory]
    [MemberData(nameof(Recipes))]
    public async Task Each_setting_that_a_recipe_names_exists(string recipe)
    {
        var table = Settings.Table();
        var names = Name()
            .Matches(await File.ReadAllTextAsync(recipe))
            .Select(match => match.Value)
            .Distinct()
            .ToArray();
        Assert.NotEmpty(names);
        Assert.All(names, name => Assert.Contains($"| `{name}` |", table, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("kubernetes.yaml", "Deployment Service PodDisruptionBudget")]
    [InlineData("cloud-run.yaml", "Service")]
    [InlineData("cloud-run-publish.yaml", "Service")]
    [InlineData("knative.yaml", "Service Service")]
    public void Manifests_are_yaml(string file, string kinds)
    {
        Assert.Equal(kinds, string.Join(' ', Documents(file).Select(document => (string)document["kind"]!)));
    }

    [Fact]
    public void Kubernetes_waits_for_a_drain()
    {
        var pod = Documents("kubernetes.yaml")[0]["spec"]["template"]["spec"];
        var settings = ((YamlSequenceNode)pod["containers"][0]["env"]).ToDictionary(
            one => (string)one["name"]!,
            one => (string)one["value"]!
        );
        var seconds = int.Parse(settings["DMB_DRAIN_DELAY"]) + int.Parse(settings["DMB_DRAIN_WINDOW"]);
        Assert.InRange(int.Parse((string)pod["terminationGracePeriodSeconds"]!), seconds + 21, 3600);
    }

    [Fact]
    public async Task Systemd_accepts_the_unit_and_rates_its_sandbox_well()
    {
        var directory = Directory.CreateTempSubdirectory("dmb-systemd");
        try
        {
            var unit = Path.Combine(directory.FullName, "dmb.service");
            var text = await File.ReadAllTextAsync(Path.Combine(Deploy, "dmb.service"));
            await File.WriteAllTextAsync(
                unit,
                text.Replace("/opt/dmb/Dmb", "/bin/true", StringComparison.Ordinal)
                    .Replace("/opt/dmb", "/tmp", StringComparison.Ordinal)
            );

            await using var verify = ChildProcess.Start(
                "systemd-analyze",
                ["verify", "--man=no", unit],
                directory.FullName
            );
            Assert.True(await verify.EndAsync() == 0, string.Join('\n', verify.Lines));
            Assert.DoesNotContain(verify.Lines, line => line.Contains("dmb.service:", StringComparison.Ordinal));

            // Of 0 to 100, in tenths: 20 is "OK" by a good margin; a unit without any of it has 96.
            await using var security = ChildProcess.Start(
                "systemd-analyze",
                ["security", "--offline=true", "--threshold=20", "--no-pager", unit],
                directory.FullName
            );
            Assert.True(await security.EndAsync() == 0, string.Join('\n', security.Lines.TakeLast(3)));
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    [GeneratedRegex(@"\b(DMB|REDIS)_[A-Z_]+[A-Z]\b")]
    private static partial Regex Name();

    private static YamlNode[] Documents(string file)
    {
        using var reader = new StreamReader(Path.Combine(Deploy, file));
        var yaml = new YamlStream();
        yaml.Load(reader);
        return [.. yaml.Documents.Select(document => document.RootNode)];
    }
}
