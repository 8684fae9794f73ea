namespace Dmb.Tests.Clients;

/// <summary>
/// The NuGet package, packed and then installed in new console apps: the driver, and what its README shows.
/// </summary>
public sealed class DotNetPackage : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("dmb-client");

    /// <summary>The command line of the driver.</summary>
    public string[] Driver => ["dotnet", Path.Combine(_folder.FullName, "driver", "out", "driver.dll")];

    public async ValueTask InitializeAsync()
    {
        var source = Path.Combine(Repository.Root, "clients", "dotnet");

        // In a folder of its own: the package of an earlier run has the same version.
        await RunAsync(
            source,
            "pack",
            "Dmb.Client.csproj",
            "-c",
            "Release",
            "-o",
            _folder.FullName,
            $"-p:BaseOutputPath={_folder.FullName}/bin/"
        );
        await File.WriteAllTextAsync(
            Path.Combine(_folder.FullName, "Directory.Build.props"),
            $"""
            <Project>
              <PropertyGroup>
                <RestorePackagesPath>{_folder.FullName}/packages</RestorePackagesPath>
                <RestoreFallbackFolders>{Packages}</RestoreFallbackFolders>
                <RestoreAdditionalProjectSources>{_folder.FullName}</RestoreAdditionalProjectSources>
              </PropertyGroup>
            </Project>
            """
        );
        await BuildAsync("driver", await File.ReadAllTextAsync(Path.Combine(source, "conformance", "Program.cs")));
    }

    /// <summary>Makes a console app of this program, and gives what starts it.</summary>
    public async Task<string> BuildAsync(string name, string program)
    {
        var app = _folder.CreateSubdirectory(name).FullName;
        await File.WriteAllTextAsync(
            Path.Combine(app, name + ".csproj"),
            """
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                <IsAotCompatible>true</IsAotCompatible>
              </PropertyGroup>
            </Project>
            """
        );
        await File.WriteAllTextAsync(Path.Combine(app, "Program.cs"), program);
        await RunAsync(app, "add", "package", "Dmb.Client");
        await RunAsync(app, "build", "-c", "Release", "-o", "out");
        return Path.Combine(app, "out", name + ".dll");
    }

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    private static string Packages =>
        Environment.GetEnvironmentVariable("NUGET_PACKAGES")
        ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");

    private static async Task RunAsync(string folder, params string[] arguments)
    {
        await using var process = ChildProcess.Start("dotnet", arguments, folder, ("DOTNET_NOLOGO", "1"));
        var code = await process.EndAsync(TimeSpan.FromMinutes(5));
        Assert.True(code == 0, $"dotnet {string.Join(' ', arguments)}: {code}\n{string.Join('\n', process.Lines)}");
    }
}
