using System.Text.Json.Nodes;

namespace Dmb.Tests.Clients;

/// <summary>Each client goes through each scenario of clients/conformance.</summary>
[Collection<ClientPackages>]
public sealed class ConformanceTests(JavaScriptPackage javaScript, DotNetPackage dotNet)
{
    private static readonly string Folder = Path.Combine(Repository.Root, "clients", "conformance");

    /// <summary>A client that is not of this repository: the command line of its driver.</summary>
    private static readonly string[] Other = Environment
        .GetEnvironmentVariable("DMB_CLIENT_DRIVER")
        ?.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        ?? [];

    private static readonly string[] OtherLacks = Environment.GetEnvironmentVariable("DMB_CLIENT_LACKS")?.Split(',')
        ?? [];

    public static TheoryData<string> Scenarios => [.. WithoutNeeds()];

    public static TheoryData<string> ScenariosOfOther => Other.Length == 0 ? ["none"] : [.. WithoutNeeds(OtherLacks)];

    [Theory]
    [MemberData(nameof(Scenarios))]
    public Task The_JavaScript_client_passes(string scenario) =>
        RunAsync(scenario, javaScript.Folder, ["node", "conformance.mjs"]);

    [Theory]
    [InlineData("resume")]
    [InlineData("stream")]
    [InlineData("tokens")]
    [InlineData("backend")]
    public Task The_JavaScript_client_passes_with_Node_18(string scenario) =>
        RunAsync(scenario, javaScript.Folder, [javaScript.OldNode, "conformance.mjs"]);

    [Theory]
    [MemberData(nameof(Scenarios))]
    public Task The_dotnet_client_passes(string scenario) => RunAsync(scenario, Repository.Root, dotNet.Driver);

    [Theory]
    [MemberData(nameof(ScenariosOfOther))]
    public Task The_client_of_DMB_CLIENT_DRIVER_passes(string scenario) =>
        Other.Length == 0 ? Task.CompletedTask : RunAsync(scenario, Repository.Root, Other);

    private static Task RunAsync(string scenario, string folder, string[] driver) =>
        Scenario.RunAsync(Path.Combine(Folder, scenario + ".json"), () =>
            ChildProcess.StartWithInput(driver[0], driver[1..], folder)
        );

    /// <summary>The scenarios that need none of these.</summary>
    private static IEnumerable<string> WithoutNeeds(params string[] lacks) =>
        from file in Directory.GetFiles(Folder, "*.json").Order()
        let needs = JsonNode.Parse(File.ReadAllText(file))!["needs"]?.AsArray().Select(need => (string)need!) ?? []
        where !needs.Intersect(lacks).Any()
        select Path.GetFileNameWithoutExtension(file);
}
