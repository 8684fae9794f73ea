namespace Dmb.Tests.Clients;

/// <summary>
/// The npm package, packed and then installed in an empty folder, with <c>ws</c> and the driver beside it.
/// </summary>
public sealed class JavaScriptPackage : IAsyncLifetime
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("dmb-client");

    /// <summary>Where the package is developed.</summary>
    public NpmFolder Source { get; private set; } = null!;

    /// <summary>The program of the oldest Node.js that it supports.</summary>
    public string OldNode { get; private set; } = "";

    /// <summary>Where it is installed.</summary>
    public string Folder => _folder.FullName;

    public async ValueTask InitializeAsync()
    {
        Source = await NpmFolder.OpenAsync("clients/js");
        OldNode = $"{(await NpmFolder.OpenAsync("tests/Clients/node18")).Path}/node_modules/.bin/node";
        var packed = await Source.RunAsync("npm", "pack", "--silent", "--pack-destination", Folder);
        await RunAsync("npm", "init", "--yes");
        await RunAsync(
            "npm",
            ["install", "--no-audit", "--no-fund", "--offline", $"./{packed}", $"{Source.Path}/node_modules/ws"]
        );
        File.Copy(Path.Combine(Source.Path, "conformance.mjs"), Path.Combine(Folder, "conformance.mjs"));
    }

    /// <summary>Runs a program in the folder of the installed package; it must succeed.</summary>
    public async Task<string[]> RunAsync(string program, params string[] arguments)
    {
        await using var process = ChildProcess.Start(program, arguments, Folder);
        var code = await process.EndAsync();
        Assert.True(code == 0, $"{program} {string.Join(' ', arguments)}: {code}\n{string.Join('\n', process.Lines)}");
        return process.Lines;
    }

    public ValueTask DisposeAsync()
    {
        _folder.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }
}
