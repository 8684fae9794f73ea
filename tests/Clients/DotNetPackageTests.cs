namespace Dmb.Tests.Clients;

/// <summary>The NuGet package as those who install it get it.</summary>
[Collection<ClientPackages>]
public sealed class DotNetPackageTests(DotNetPackage package)
{
    [Fact]
    public async Task The_readme_runs_with_the_installed_package()
    {
        await using var node = await Node.StartAsync(("HistorySize", "100"));
        var program = (await DocumentPage.ReadAsync("clients/dotnet/README.md")).Blocks("csharp")[0];
        var app = await package.BuildAsync(
            "readme",
            program.Replace("http://localhost:8082", $"http://127.0.0.1:{node.Port}", StringComparison.Ordinal)
        );

        await using var process = ChildProcess.Start("dotnet", [app], Path.GetDirectoryName(app)!);
        await process.LineAsync("""report_csr {"text":"The printer is on fire"}""");
    }
}
